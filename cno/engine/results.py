"""Results of the C library: a negative one becomes an exception."""

from __future__ import annotations

from cno.engine._libcno import ffi, lib
from cno.engine.errors import (
    Disconnected,
    Error,
    OutOfMemory,
    ProtocolError,
    StreamGone,
    UsageError,
    WouldBlock,
)

_ERRORS: dict[int, type[Error]] = {
    lib.CNO_ERRNO_ASSERTION: UsageError,
    lib.CNO_ERRNO_NO_MEMORY: OutOfMemory,
    lib.CNO_ERRNO_PROTOCOL: ProtocolError,
    lib.CNO_ERRNO_INVALID_STREAM: StreamGone,
    lib.CNO_ERRNO_WOULD_BLOCK: WouldBlock,
    lib.CNO_ERRNO_DISCONNECT: Disconnected,
}


def last_error() -> Error:
    """Makes an exception of the last error of the engine in this thread."""
    error = lib.cno_error()
    reason = ffi.string(error.reason).decode()
    text = ffi.string(error.text).decode("utf-8", "replace")
    return _ERRORS.get(error.code, Error)(text, reason, error.wire, error.offset)


def check(result: int) -> int:
    """Returns the result of a call, or raises the error that a negative one stands for."""
    if result < 0:
        raise last_error()
    return result
