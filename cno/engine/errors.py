"""What the engine raises."""

from __future__ import annotations


class Error(ConnectionError):
    """What the engine refused.

    `reason` is a stable word; `wire` is what the peer was told (an RFC 9113 section 7 code or an
    HTTP status, 0 for nothing); `offset` counts octets of input.
    """

    def __init__(self, text: str, reason: str = "", wire: int = 0, offset: int = 0) -> None:
        super().__init__(text)
        self.reason = reason
        self.wire = wire
        self.offset = offset


class ProtocolError(Error):
    """The peer broke the protocol. Where this is raised, the connection is over."""


class UsageError(Error):
    """The caller did what the contract forbids. Nothing was sent."""


class StreamGone(Error):
    """The stream has ended, or never was. Only this call fails."""


class WouldBlock(Error):
    """Not now: try again after the next event."""


class Disconnected(Error):
    """The connection takes no more."""


class OutOfMemory(Error, MemoryError):
    """An allocation failed. The connection is over."""
