"""The loggers `cno`, `cno.error` and `cno.access`, and the default form of their lines."""

from __future__ import annotations

import logging
import logging.config
from http import HTTPStatus
from typing import Any

TRACE = 5  # the level below DEBUG

error = logging.getLogger("cno.error")
access = logging.getLogger("cno.access")

# The format of a line of `cno.access`: peer, method, target, HTTP version, status.
ACCESS = '%s - "%s %s HTTP/%s" %d'


class LevelFormatter(logging.Formatter):
    """Writes the level in front of the message, padded so that all messages begin in one column."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Returns the line, without a traceback."""
        return f"{record.levelname + ':':<10}{record.message}"


class AccessFormatter(LevelFormatter):
    """Writes lines of `cno.access`, with the reason phrase behind the status ("200 OK")."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Returns the line. A status that http.HTTPStatus does not know has no phrase."""
        line = super().formatMessage(record)
        if record.msg != ACCESS or not isinstance(record.args, tuple):
            return line
        try:
            return f"{line} {HTTPStatus(record.args[-1]).phrase}"  # type: ignore[arg-type]
        except ValueError:
            return line


def settings(level: str, *, access_log: bool) -> dict[str, Any]:
    """Returns the default configuration, for logging.config.dictConfig().

    `level` is the name of a logging level, or `trace`. Messages go to standard error, the access
    log goes to standard output.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "level": {"()": "cno.observe.logs.LevelFormatter"},
            "access": {"()": "cno.observe.logs.AccessFormatter"},
        },
        "handlers": {
            "messages": {
                "class": "logging.StreamHandler",
                "formatter": "level",
                "stream": "ext://sys.stderr",
            },
            "requests": {
                "class": "logging.StreamHandler",
                "formatter": "access",
                "stream": "ext://sys.stdout",
            },
        },
        "loggers": {
            "cno": {"handlers": ["messages"], "level": level.upper(), "propagate": False},
            "cno.error": {"level": level.upper()},
            "cno.access": {
                "handlers": ["requests"] if access_log else [],
                "level": level.upper(),
                "propagate": False,
            },
        },
    }


def configure(level: str = "info", *, access_log: bool = True) -> None:
    """Sets up the three loggers, and no others."""
    logging.addLevelName(TRACE, "TRACE")
    logging.config.dictConfig(settings(level, access_log=access_log))
