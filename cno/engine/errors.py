"""The exceptions that the engine raises."""

from __future__ import annotations


class Error(ConnectionError):
    """The base class: the engine has refused a call or its input.

    `reason` is a stable word of docs/engine.md. `wire` is the code that the peer was sent: of RFC
    9113 section 7, or an HTTP status, or 0 for none. `offset` is the number of bytes of input in
    front of the error.
    """

    def __init__(self, text: str, reason: str = "", wire: int = 0, offset: int = 0) -> None:
        super().__init__(text)
        self.reason = reason
        self.wire = wire
        self.offset = offset


class ProtocolError(Error):
    """The peer has violated the protocol. A call that raises this has ended the connection."""


class UsageError(Error):
    """The call violates the contract of the engine. Nothing was sent."""


class StreamGone(Error):
    """The stream has ended, or has never existed. Other streams are not affected."""


class WouldBlock(Error):
    """The call is not possible yet, and may be made again after the next event."""


class Disconnected(Error):
    """The connection has ended, or takes no new streams."""


class OutOfMemory(Error, MemoryError):
    """An allocation failed. The connection is over."""
