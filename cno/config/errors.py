"""The exceptions of a server that does not start."""

from __future__ import annotations


class ConfigError(ValueError):
    """An option has a value that is not allowed.

    The text names the option, the flag or variable that holds the value, and the reason.
    """


class StartupFailed(Exception):
    """The server cannot start. The text is one line for the log; the process exits with code 3."""
