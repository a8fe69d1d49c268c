"""Loggers `cno`, `cno.error` and `cno.access`, and what their lines look like by default."""

from __future__ import annotations

import logging
import logging.config
from http import HTTPStatus
from typing import Any

TRACE = 5  # the level below DEBUG

error = logging.getLogger("cno.error")
access = logging.getLogger("cno.access")

# What a line of `cno.access` is made from: peer, method, target, HTTP version, status; bytes of
# body, milliseconds, and " cut" for a response that is not whole.
ACCESS = '%s - "%s %s HTTP/%s" %d %d %.1f ms%s'

# And one about a request that the engine refused: peer, method, target, status, reason.
REFUSED = '%s - "%s %s" %d %s'


class LevelFormatter(logging.Formatter):
    """Lines that start with the level, padded, so that the messages stand in one column."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line, without a traceback."""
        return f"{record.levelname + ':':<10}{record.message}"


class AccessFormatter(LevelFormatter):
    """The same for `cno.access`, with the usual words behind the status."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line; a status that nobody defined stands alone."""
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
    """The default configuration, for logging.config.dictConfig.

    `level` is a name of Python's or `trace`. Messages go to standard error, requests to standard
    output.
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
    """Sets up the three loggers; leaves every other one alone."""
    logging.addLevelName(TRACE, "TRACE")
    logging.config.dictConfig(settings(level, access_log=access_log))
