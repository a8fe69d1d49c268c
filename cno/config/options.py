"""The one table of options.

The fields of `Config` are the rows of the table. The command line, the environment variables and
the keyword arguments of `cno.run` and `cno.serve` are derived from these rows; no other place lists
options.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from cno.config import checks
from cno.config.errors import ConfigError

# ---- a row of the table -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Option:
    """One row of the table."""

    check: checks.Check
    group: str
    help: str
    metavar: str | None = None  # the help's word for the value; None for a switch
    negatable: bool = True  # a switch has a --no- form
    multiple: bool = False  # the flag may be repeated
    argument: bool = False  # positional on the command line
    uvicorn: str | None = None  # uvicorn's name of the option, where the names differ
    name: str = ""
    default: Any = None

    @property
    def flag(self) -> str:
        """The option as typed on the command line."""
        return self.name.upper() if self.argument else "--" + self.name.replace("_", "-")

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables of the option. The first one that is set counts."""
        return f"CNO_{self.name.upper()}", f"UVICORN_{(self.uvicorn or self.name).upper()}"

    def accept(self, value: object, source: str) -> Any:
        """Returns the checked value. None means that the option is not set, if None is the default.

        Raises ConfigError, whose text begins with `source`: the flag, the variable or the keyword
        argument that holds the value.
        """
        if value is None and self.default is None:
            return None
        try:
            return self.check(value)
        except ValueError as problem:
            raise ConfigError(f"{source}: {value!r} {problem}") from None


def _row(default: Any, check: checks.Check, group: str, help: str, **more: Any) -> Any:  # noqa: A002
    row = {"option": Option(check=check, group=group, help=help, default=default, **more)}
    return field(default=default, metadata=row)


def _pick(default: str, names: tuple[str, ...], group: str, help: str) -> Any:  # noqa: A002
    return _row(default, checks.choice(*names), group, help, metavar=f"[{'|'.join(names)}]")


# ---- the table ----------------------------------------------------------------------------------

BIND, APP, PROTOCOL, TIMEOUTS = "Where to listen", "Application", "HTTP", "Timeouts"
LOGS, TLS, PROCESS = "Logs", "TLS", "Process"


@dataclass(frozen=True, init=False)
class Config:
    """The checked options of one server; immutable. The attributes have the names of the flags."""

    app: Any = _row(
        None,
        lambda value: value,
        APP,
        "Application to serve, as module:attribute.",
        metavar="APP",
        argument=True,
    )
    app_dir: str = _row(
        ".", checks.path, APP, "Directory to import APP from; added to sys.path.", metavar="PATH"
    )
    factory: bool = _row(
        False,
        checks.switch,
        APP,
        "APP is a function that returns the application.",
        negatable=False,
    )
    lifespan: str = _pick(
        "auto",
        ("auto", "on", "off"),
        APP,
        "Run APP's startup and shutdown; on: APP must have them.",
    )
    root_path: str = _row(
        "", checks.text, APP, "Path under which a proxy serves the application.", metavar="PATH"
    )

    host: str = _row(
        "127.0.0.1", checks.text, BIND, "Address or name to listen on.", metavar="HOST"
    )
    port: int = _row(
        8000, checks.integer(0, 65535), BIND, "TCP port; 0 picks a free one.", metavar="PORT"
    )
    uds: str | None = _row(
        None, checks.path, BIND, "Listen on a unix socket instead.", metavar="PATH"
    )
    fd: int | None = _row(
        None,
        checks.integer(0, 2**31 - 1),
        BIND,
        "Listen on this open socket instead.",
        metavar="NUMBER",
    )
    backlog: int = _row(
        2048,
        checks.integer(1, 2**31 - 1),
        BIND,
        "Connections that may wait to be accepted.",
        metavar="NUMBER",
    )

    http2: bool = _row(True, checks.switch, PROTOCOL, "Serve HTTP/2 too, on the same port.")
    h2_max_concurrent_streams: int = _row(
        100,
        checks.integer(1, 2**31 - 1),
        PROTOCOL,
        "Concurrent requests per HTTP/2 connection.",
        metavar="NUMBER",
    )
    server_header: bool = _row(True, checks.switch, PROTOCOL, "Add a Server field to responses.")
    date_header: bool = _row(True, checks.switch, PROTOCOL, "Add a Date field to responses.")
    header: tuple[tuple[bytes, bytes], ...] = _row(
        (),
        checks.headers,
        PROTOCOL,
        "Field to add to every response; may be repeated. In a variable: one per line.",
        metavar='"NAME: VALUE"',
        multiple=True,
        uvicorn="headers",
    )

    timeout_keep_alive: float = _row(
        5.0, checks.seconds, TIMEOUTS, "Close a connection idle for this long.", metavar="SECONDS"
    )
    timeout_request_head: float = _row(
        30.0,
        checks.seconds,
        TIMEOUTS,
        "Cut a client whose request head takes longer than this; 0: never.",
        metavar="SECONDS",
    )
    timeout_request_body: float = _row(
        30.0,
        checks.seconds,
        TIMEOUTS,
        "Answer 408 when the application waits this long for a part of the body; 0: never.",
        metavar="SECONDS",
    )
    timeout_response_write: float = _row(
        60.0,
        checks.seconds,
        TIMEOUTS,
        "Cut a client that reads nothing of a response for this long; 0: never.",
        metavar="SECONDS",
    )
    timeout_graceful_shutdown: float | None = _row(
        None,
        checks.seconds,
        TIMEOUTS,
        "Have applications end their responses this long after a signal; unset: wait.",
        metavar="SECONDS",
    )

    log_level: str = _pick(
        "info",
        ("critical", "error", "warning", "info", "debug", "trace"),
        LOGS,
        "Lowest level to log.",
    )
    access_log: bool = _row(True, checks.switch, LOGS, "Log one line per request.")

    ssl_keyfile: str | None = _row(
        None,
        checks.path,
        TLS,
        "Private key (PEM), if not in the certificate's file.",
        metavar="PATH",
    )
    ssl_certfile: str | None = _row(
        None, checks.path, TLS, "Certificate and its chain (PEM); switches TLS on.", metavar="PATH"
    )
    ssl_keyfile_password: str | None = _row(
        None, checks.text, TLS, "Password of the private key.", metavar="TEXT"
    )

    loop: str = _pick(
        "auto", ("auto", "asyncio", "uvloop"), PROCESS, "Event loop; auto: uvloop if installed."
    )

    def __init__(self, **options: Any) -> None:
        """Takes options by name; the others have their defaults.

        Raises TypeError for a name that is no option, ConfigError for a value that is not allowed.
        """
        self._fill({name: (value, name) for name, value in options.items()})

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], flags: Mapping[str, Any] | None = None
    ) -> Config:
        """Returns the options of a command: the flag, else CNO_*, else UVICORN_*, else the default.

        A flag of None and an empty variable count as absent. Raises the exceptions of Config().
        """
        given = {n: (v, _flag(n)) for n, v in (flags or {}).items() if v is not None}
        for option in OPTIONS:
            for variable in option.variables:
                if option.name not in given and environ.get(variable):
                    given[option.name] = environ[variable], f"${variable}"
        config = cls.__new__(cls)
        config._fill(given)
        return config

    def _fill(self, given: Mapping[str, tuple[Any, str]]) -> None:
        names = [option.name for option in OPTIONS]
        for name in given:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise TypeError(f"there is no option {name!r}{hint}")
        for option in OPTIONS:
            value = option.default
            if option.name in given:
                value = option.accept(*given[option.name])
            object.__setattr__(self, option.name, value)
        if self.uds is not None and self.fd is not None:
            raise ConfigError("uds, fd: the server can listen on only one of them")
        if self.ssl_certfile is None and self.ssl_keyfile is not None:
            raise ConfigError(f"ssl_keyfile: {self.ssl_keyfile!r} needs ssl_certfile as well")


def _rename(name: str, option: Option) -> Option:
    return Option(**{**option.__dict__, "name": name})


OPTIONS: tuple[Option, ...] = tuple(_rename(f.name, f.metadata["option"]) for f in fields(Config))


def _flag(name: str) -> str:
    return next((option.flag for option in OPTIONS if option.name == name), name)
