"""WebSocket framing (RFC 6455) without a connection: headers, close payloads, the handshake.

The messages of a stream are told and sent by Engine.websocket(), room() and send().
"""

from __future__ import annotations

from cno.engine._libcno import ffi, lib
from cno.engine.results import check


def frame_head(opcode: int, size: int) -> bytes:
    """Returns the header of a frame of a server with `size` bytes of payload.

    `opcode` is WS_TEXT, WS_BINARY and so on, with WS_RSV1 for a compressed message; FIN is set. Use
    it for a large payload, which Engine.lend() then writes without a copy. Raises UsageError for a
    frame that RFC 6455 section 5.2 does not allow.
    """
    out = ffi.new("char[14]")
    length = check(lib.cno_ws_head(out, opcode | lib.CNO_WS_FIN, size, ffi.NULL))
    head: bytes = ffi.buffer(out, length)[:]
    return head


def close_payload(code: int, reason: str = "") -> bytes:
    """Returns the payload of a CLOSE frame.

    The code 1005 stands for an empty payload. Raises UsageError for a code that may not be sent
    (RFC 6455 section 7.4) and for a reason of more than 123 bytes in UTF-8 or with surrogates.
    """
    out = ffi.new("char[125]")
    text = reason.encode("utf-8", "surrogatepass")
    if not 0 <= code <= 0xFFFF:
        code = 0  # may not be sent either
    length = check(lib.cno_ws_close(out, code, text, len(text)))
    payload: bytes = ffi.buffer(out, length)[:]
    return payload


def accept_key(key: bytes) -> bytes:
    """Returns the value of Sec-WebSocket-Accept for a value of Sec-WebSocket-Key.

    Raises ProtocolError, with the status 400 as `wire`, for a key that is not the base64 form of 16
    bytes (RFC 6455 section 4.2.1).
    """
    out = ffi.new("char[28]")
    check(lib.cno_ws_accept(key, len(key), out))
    accept: bytes = ffi.buffer(out)[:]
    return accept
