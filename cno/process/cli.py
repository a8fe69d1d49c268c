"""The command `cno-asgi`. Its options come from the table in cno/config/options.py."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

import cno
from cno.config.errors import ConfigError
from cno.config.options import OPTIONS, Config, Option
from cno.process import compiled
from cno.process.supervisor import supervise


class _Command(click.Command):
    """A command whose help lists the options in the groups of the table."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups = {option.name: option.group for option in OPTIONS}
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None and isinstance(parameter, click.Option):
                sections.setdefault(groups.get(parameter.name or "", "Other"), []).append(row)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def _parameter(option: Option) -> click.Parameter:
    """Returns the click parameter for one row of the table.

    Click hands the values on as text, because the table has the checks that convert them.
    """
    if option.argument:
        return click.Argument([option.name], required=False, metavar=f"[{option.metavar}]")
    flag, text = option.flag, option.help + _default(option)
    if option.metavar is not None:
        return click.Option(
            [flag], help=text, metavar=option.metavar, multiple=option.multiple, default=None
        )
    if option.negatable:
        flag += "/--no-" + flag[2:]
    return click.Option([flag], is_flag=True, default=None, help=text)


def _default(option: Option) -> str:
    """Returns the default value as the help shows it behind the text of an option."""
    if option.default is None or option.default in ("", ()):
        return ""
    if option.metavar is None:
        return f"  [default: {'on' if option.default else 'off'}]"
    shown = f"{option.default:g}" if isinstance(option.default, float) else option.default
    return f"  [default: {shown}]"


def _serve(**flags: Any) -> None:
    """Serve the ASGI application APP, written as module:attribute, over HTTP/1.1 and HTTP/2.

    Environment variables can hold options too: $CNO_PORT stands for --port, $CNO_APP for APP. Where
    such a variable is not set, the variable of uvicorn ($UVICORN_PORT) counts.
    """
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    try:
        config = Config.from_environment(os.environ, given)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    if config.app is None:
        raise click.UsageError("no application: name one as module:attribute, or in $CNO_APP")
    sys.exit(supervise(config))


command = _Command(
    name="cno-asgi",
    callback=_serve,
    help=_serve.__doc__,
    params=[
        *(_parameter(option) for option in OPTIONS),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda ctx, _, asked: _version(ctx, asked=asked),
            help="Print the version, say whether the compiled classes serve, and exit.",
        ),
    ],
)


def _version(ctx: click.Context, *, asked: bool) -> None:
    if asked:
        python = f"Python {sys.version.split()[0]}"
        click.echo(f"cno {cno.__version__} with {python}, {compiled.describe()}")
        ctx.exit()


def main() -> None:
    """Runs the command. Exit codes: 0 after a signal, 2 for wrong usage, 3 for a failed start."""
    command(prog_name="cno-asgi")
