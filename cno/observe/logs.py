"""Loggers `cno`, `cno.error` and `cno.access`, and what their lines look like by default."""

from __future__ import annotations

import logging
import logging.config
from http import HTTPStatus
from typing import Any

TRACE = 5  # the level below DEBUG

error = logging.getLogger("cno.error")
access = logging.getLogger("cno.access")

# What a line of `cno.access` is made from: peer, method, target, HTTP version, status.
ACCESS = '%s - "%s %s HTTP/%s" %d'


class LevelFormatter(logging.Formatter):
    """Lines that start with the level, padded, so that the messages stand in one column."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line, without a traceback."""
        return f"{record.levelname + ':':<10}{record.message}"


class AccessFormatter(LevelFormatter):
    """The same for `cno.access`, with the usual words after the status."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line; a status that nobody defined stands alone."""
        line = super().formatMessage(record)
        if record.msg != ACCESS or not isinstance(record.args, tuple):
            return line
        try:
            return f"{line} {HTTPStatus(record.args[-1]).phrase}"  # type: ignore[arg-type]
        except ValueError:
            return line


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
