"""The exceptions of a client, all of which are ConnectionErrors, and the making of them."""

from __future__ import annotations

from copy import copy
from typing import TypeVar

from cno.engine.events import CONSTANTS, RST_REFUSED_STREAM

_CODES = {
    code: name.removeprefix("CNO_RST_")
    for name, code in CONSTANTS.items()
    if name.startswith("CNO_RST_")
}

_Failure = TypeVar("_Failure", bound=Exception)


class ConnectFailed(ConnectionError):
    """There is no connection: no server listens there, or the name is unknown. `__cause__` is the
    error of the operating system."""


class TLSFailed(ConnectFailed):
    """The server does not speak TLS, or its certificate is not trusted."""


class ConnectTimeout(ConnectFailed, TimeoutError):
    """The connection, or TLS on it, took longer than `timeout_connect`."""


class RequestFailed(ConnectionError):
    """There is no response, or the response is not complete.

    With `unprocessed` the server has done nothing about the request, which may be made again on
    another connection, whatever its method is (RFC 9110 section 9.2.2). Otherwise only an
    idempotent request may.
    """

    unprocessed = False


class Unprocessed(RequestFailed):
    """The connection had ended, or the server has refused the stream, before the server did
    anything about the request (RFC 9113 section 8.7). The `__cause__` may be why the connection has
    ended."""

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


# ---- the making of errors -----------------------------------------------------------------------


def fresh(error: _Failure) -> _Failure:
    """A copy to be raised. The traceback of a raised error keeps the frames that it has passed, and
    so whatever keeps the error."""
    new = copy(error)
    new.__cause__ = error.__cause__
    return new


def unprocessed(name: str, failure: RequestFailed | None) -> Unprocessed:
    """For a request that was not sent to the server of this name, because there is no connection
    any more: the cause is why."""
    if failure is None:
        return Unprocessed(f"{name} is not connected")
    error = Unprocessed(f"the connection to {name} has ended: the request was not sent")
    error.__cause__ = fresh(failure)
    return error


def cut_stream(name: str, code: int, *, remote: bool, answered: bool) -> RequestFailed:
    """For an incomplete exchange whose stream has ended: with a code that the remote side has sent,
    or with the connection. `answered` is whether the head of the response has come."""
    if not remote:
        when = "in the middle of" if answered else "before"
        return ConnectionLost(f"{name} has closed the connection {when} the response")
    if code == RST_REFUSED_STREAM and not answered:
        return Unprocessed(f"{name} has not processed the request")
    return StreamReset(f"{name} has reset the stream: {_CODES.get(code, str(code))}", code)
