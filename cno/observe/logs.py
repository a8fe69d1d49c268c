"""The loggers `cno`, `cno.error` and `cno.access`, and the default form of their lines."""

from __future__ import annotations

import logging
import logging.config
from http import HTTPStatus
from typing import Any

TRACE = 5  # the level below DEBUG

error = logging.getLogger("cno.error")
access = logging.getLogger("cno.access")

# The format of a line of `cno.access`: peer, method, target, HTTP version, status; bytes of the
# body, milliseconds, and " cut" for a response that is not whole.
ACCESS = '%s - "%s %s HTTP/%s" %d %d %.1f ms%s'

# The format of a line about a refused request: peer, method, target, status, reason.
REFUSED = '%s - "%s %s" %d %s'


class LevelFormatter(logging.Formatter):
    """Writes the level in front of the message, padded so that all messages begin in one column."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Returns the line, without a traceback."""
        return f"{record.levelname + ':':<10}{record.message}"


class AccessFormatter(LevelFormatter):
    """Writes lines of `cno.access`, with the reason phrase behind the status ("200 OK")."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Returns the line. A status that http.HTTPStatus does not know has no phrase."""
        args: Any = record.args
        if record.msg == ACCESS and isinstance(args, tuple) and len(args) == 8:
            try:
                phrase = HTTPStatus(args[4]).phrase
            except ValueError:
                return super().formatMessage(record)
            head = '%s - "%s %s HTTP/%s" %d' % args[:5]  # noqa: UP031
            rest = " %d %.1f ms%s" % args[5:]  # noqa: UP031
            record.message = f"{head} {phrase}{rest}"
        return super().formatMessage(record)


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
