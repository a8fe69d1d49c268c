"""What may go wrong with a request that cno.Client makes. All are ConnectionErrors."""

from __future__ import annotations

from copy import copy
from typing import TypeVar

_Failure = TypeVar("_Failure", bound=Exception)


def fresh(error: _Failure) -> _Failure:
    """A copy to be raised: an error that was raised keeps, by its traceback, whatever keeps it."""
    new = copy(error)
    new.__cause__ = error.__cause__
    return new


class ConnectFailed(ConnectionError):
    """There is no connection: nobody listens there, or the name is unknown. `__cause__` has the
    operating system's word."""


class TLSFailed(ConnectFailed):
    """The other side does not speak TLS as it should, or it is not who it should be."""


class ConnectTimeout(ConnectFailed, TimeoutError):
    """The connection, or TLS on it, took longer than `timeout_connect`."""


class RequestFailed(ConnectionError):
    """There is no response, or it is not complete.

    With `unprocessed` the server has done nothing about the request: it may be made again on
    another connection, whatever its method is (RFC 9110 section 9.2.2). Otherwise only an
    idempotent one may.
    """

    unprocessed = False


class Unprocessed(RequestFailed):
    """The connection ended, or the server refused the stream, before it did anything about the
    request (RFC 9113 section 8.7)."""

    unprocessed = True


class ConnectionLost(RequestFailed):
    """The connection ended while the request was under way."""


class StreamReset(RequestFailed):
    """The server gave up on this request alone; `code` is of RFC 9113 section 7."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class BadResponse(RequestFailed):
    """The server broke the protocol; `reason` is a stable word for how (docs/engine.md)."""

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class RequestTimeout(RequestFailed, TimeoutError):
    """The server has said and taken nothing for `timeout` seconds."""
