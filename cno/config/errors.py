"""Why a server does not start."""

from __future__ import annotations


class ConfigError(ValueError):
    """A value that an option cannot have. The text says which option, whence the value, and why."""


class StartupFailed(Exception):
    """The server cannot start. The text is one line for a person; the process exits with code 3."""
