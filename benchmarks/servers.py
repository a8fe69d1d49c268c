"""How each server is started, found ready, and ended. One worker, no access log, no TLS for all."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import proc
from load import Load, header_arguments, last_line, upload_file

HERE = Path(__file__).resolve().parent
START_SECONDS = 20.0
STOP_SECONDS = 5.0
PROBE_SECONDS = 5
FLOOR = "floor"


class UnavailableError(Exception):
    """This server cannot run this case; the text says why."""


@dataclass(frozen=True)
class Server:
    """One contender. `arguments` follow the interpreter; {port} and {path} in them are replaced."""

    name: str
    packages: tuple[str, ...]  # distributions its environment must have
    arguments: tuple[str, ...]
    peer: bool = True  # peers live in the peers' environment, others in the one of bench.py
    python: Path | None = None  # the interpreter of an environment of its own

    def command(self, python: Path, port: int, path: str = "/") -> list[str]:
        """The command line with `python` as its interpreter, for requests of `path`."""
        filled = (part.replace("{port}", str(port)) for part in self.arguments)
        return [str(python), *(part.replace("{path}", path) for part in filled)]


_BIND = ("--host", "127.0.0.1", "--port", "{port}")
_QUIET = ("--log-level", "warning", "--no-access-log")
_UVICORN = ("-m", "uvicorn", "app:app", *_BIND, *_QUIET)
_UVICORN_FAST = ("--workers", "1", "--loop", "uvloop", "--ws", "none", "--lifespan", "on")
_GRANIAN = ("-m", "granian", "app:app", *_BIND, *_QUIET, "--interface", "asgi", "--http", "auto")
_GRANIAN_FAST = ("--workers", "1", "--runtime-threads", "1", "--loop", "uvloop", "--no-ws")
_HYPERCORN = ("-m", "hypercorn", "app:app", "--bind", "127.0.0.1:{port}", "--workers", "1")
_HYPERCORN_FAST = ("--worker-class", "uvloop", "--config", "hypercorn.toml")
_ONE_WORKER = ("--workers", "1", "--protocol", "asgi", "--log-level", "warning")
_H2CORN_FAST = ("--runtime-threads", "1", "--loop", "uvloop", "--lifespan", "on")

CNO = Server(
    "cno",
    ("cno", "uvloop"),
    ("-m", "cno", "app:app", *_BIND, *_QUIET, "--lifespan", "on"),
    peer=False,
)

SERVERS = (
    CNO,
    # The Python API below ASGI, with the same answers.
    Server("cno.Server", ("cno", "uvloop"), ("seed_app.py", "{port}"), peer=False),
    Server(
        "uvicorn",
        ("uvicorn", "httptools", "uvloop"),
        (*_UVICORN, *_UVICORN_FAST, "--http", "httptools"),
    ),
    # As people run it, on uvloop: every request in an asyncio.Task, as in the others.
    Server("granian", ("granian", "uvloop"), (*_GRANIAN, "--workers", "1", "--loop", "uvloop")),
    # The settings that cost granian 2.8 the least CPU with one worker on one core, out of runtime
    # mode st and mt, loop uvloop, asyncio and auto, WebSockets on and off, task-impl asyncio and
    # rust: the multi-threaded runtime with one thread, uvloop, no WebSockets, its own Rust tasks.
    # Those are experimental, exist up to Python 3.11 (newer ones fall back to asyncio), and do not
    # give the application an asyncio.Task, which anyio and sniffio need.
    Server(
        "granian-rust",
        ("granian", "uvloop"),
        (*_GRANIAN, *_GRANIAN_FAST, "--runtime-mode", "mt", "--task-impl", "rust"),
    ),
    # HTTP/2 with prior knowledge is on by default, the access log off. hypercorn.toml lifts the
    # limit of requests per connection, which would otherwise end every round.
    Server(
        "hypercorn",
        ("hypercorn", "uvloop"),
        (*_HYPERCORN, *_HYPERCORN_FAST, "--log-level", "warning"),
    ),
    Server(
        "uvicorn-zttp",
        ("uvicorn", "zttp", "uvloop"),
        (*_UVICORN, *_UVICORN_FAST, "--http", "zttp", "--http2"),
    ),
    # It runs no event loop but its own; the access log is off by default, HTTP/2 on.
    Server(
        "weft",
        ("weft-server",),
        ("-m", "weft", "app:app", *_BIND, *_ONE_WORKER, "--lifespan", "on"),
    ),
    # With one thread of its runtime, where the default is two: on one core that costs a third less
    # on h2-hello and h2-upload, and is never worse.
    Server(
        "h2corn",
        ("h2corn", "uvloop"),
        ("-m", "h2corn", "app:app", *_BIND, "--no-access-log", "--workers", "1", *_H2CORN_FAST),
    ),
    # It takes uvloop where that is installed; the access log is off by default, HTTP/2 on.
    Server(
        "peregrine",
        ("peregrine-server", "uvloop"),
        ("-m", "peregrine", "app:app", *_BIND, *_ONE_WORKER),
    ),
    # HTTP/1.1 only.
    Server(FLOOR, ("uvloop",), ("floor.py", "{port}", "{path}"), peer=False),
)


@dataclass(frozen=True)
class Running:
    """A started server: its process id (also that of its process group) and its port."""

    pid: int
    port: int


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, core: int) -> Iterator[Running]:
    """Run a server pinned to CPU `core` until the block ends.

    Raises UnavailableError when it does not listen on `port` within START_SECONDS.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=HERE,
            start_new_session=True,
        )
        try:
            _wait_until_listening(process, port, log)
            yield Running(process.pid, port)
        finally:
            _stop(process)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: IO[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            raise UnavailableError(f"exit code {process.returncode}: {last_line(log.read())}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.05)
    raise UnavailableError(f"did not listen within {START_SECONDS:.0f} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the server, then SIGKILL, process by process, to what is left of its group."""
    members = proc.tree(process.pid)
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    # A process id may have been reused since, so only members of the server's own group are ended.
    for pid in {*members, *proc.tree(process.pid)}:
        stat = proc.read_stat(pid)
        if stat is not None and stat.group == process.pid and stat.state != "Z":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
    process.wait()


def probe(load: Load, port: int) -> None:
    """Fetch one response with curl; raises UnavailableError unless it is what `load` expects."""
    version = ["--http1.1"] if load.protocol == "h1" else ["--http2-prior-knowledge"]
    marker = "\n%{http_code} %{http_version} %{size_download}"
    command = ["curl", "-sS", "--max-time", str(PROBE_SECONDS), *version]
    command += [*header_arguments(load.headers), "-o", os.devnull, "-w", marker]
    if load.upload:
        command += ["-H", "Expect:", "--data-binary", f"@{upload_file(load.upload).name}"]
    command += [f"http://127.0.0.1:{port}{load.path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PROBE_SECONDS)
    if done.returncode != 0:
        raise UnavailableError(f"does not speak {load.protocol}: {last_line(done.stderr)}")
    wanted = f"200 {'1.1' if load.protocol == 'h1' else '2'} {load.body_size}"
    if last_line(done.stdout) != wanted:
        raise UnavailableError(f"answered '{last_line(done.stdout)}' where '{wanted}' was expected")
