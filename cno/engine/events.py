"""Constants of the C headers: kinds of events, positions in a HEAD event, flags and codes.

An event is a tuple of its kind (EVENT_*), a stream id, and the items that csrc/batch.h lists.
"""

from __future__ import annotations

from typing import Any

from cno.engine._libcno import lib

Event = tuple[Any, ...]

# Every integer constant of the C headers, by its C name.
CONSTANTS: dict[str, int] = {
    name: value
    for name in dir(lib)
    if name.startswith("CNO_") and isinstance(value := getattr(lib, name), int)
}

# Kinds of events.
EVENT_START: int = CONSTANTS["CNO_EVENT_START"]
EVENT_HEAD: int = CONSTANTS["CNO_EVENT_HEAD"]
EVENT_DATA: int = CONSTANTS["CNO_EVENT_DATA"]
EVENT_TAIL: int = CONSTANTS["CNO_EVENT_TAIL"]
EVENT_END: int = CONSTANTS["CNO_EVENT_END"]
EVENT_FLOW: int = CONSTANTS["CNO_EVENT_FLOW"]
EVENT_PUSH: int = CONSTANTS["CNO_EVENT_PUSH"]
EVENT_SETTINGS: int = CONSTANTS["CNO_EVENT_SETTINGS"]
EVENT_PONG: int = CONSTANTS["CNO_EVENT_PONG"]
EVENT_FAULT: int = CONSTANTS["CNO_EVENT_FAULT"]
EVENT_CLOSE: int = CONSTANTS["CNO_EVENT_CLOSE"]
EVENT_PRIORITY: int = CONSTANTS["CNO_EVENT_PRIORITY"]

# Indexes of the items of an EVENT_HEAD.
HEAD_STREAM: int = CONSTANTS["CNO_HEAD_STREAM"]
HEAD_FLAGS: int = CONSTANTS["CNO_HEAD_FLAGS"]
HEAD_CODE: int = CONSTANTS["CNO_HEAD_CODE"]
HEAD_METHOD: int = CONSTANTS["CNO_HEAD_METHOD"]
HEAD_TARGET: int = CONSTANTS["CNO_HEAD_TARGET"]
HEAD_PATH: int = CONSTANTS["CNO_HEAD_PATH"]
HEAD_QUERY: int = CONSTANTS["CNO_HEAD_QUERY"]
HEAD_FIELDS: int = CONSTANTS["CNO_HEAD_FIELDS"]

# Flags of EVENT_HEAD.
MESSAGE_FINAL: int = CONSTANTS["CNO_MESSAGE_FINAL"]
MESSAGE_EXPECT: int = CONSTANTS["CNO_MESSAGE_EXPECT"]
MESSAGE_UPGRADE: int = CONSTANTS["CNO_MESSAGE_UPGRADE"]
MESSAGE_HTTP1_0: int = CONSTANTS["CNO_MESSAGE_HTTP1_0"]
BATCH_START: int = CONSTANTS["CNO_BATCH_START"]
BATCH_WEBSOCKET: int = CONSTANTS["CNO_BATCH_WEBSOCKET"]

# The side of an EVENT_END that the peer has caused.
REMOTE: int = CONSTANTS["CNO_REMOTE"]

# Codes of RST_STREAM and GOAWAY (RFC 9113 section 7).
RST_NO_ERROR: int = CONSTANTS["CNO_RST_NO_ERROR"]
RST_INTERNAL_ERROR: int = CONSTANTS["CNO_RST_INTERNAL_ERROR"]
RST_REFUSED_STREAM: int = CONSTANTS["CNO_RST_REFUSED_STREAM"]
RST_CANCEL: int = CONSTANTS["CNO_RST_CANCEL"]
