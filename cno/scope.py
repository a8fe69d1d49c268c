"""A request head as an ASGI scope (www.rst, HTTP Connection Scope)."""

from __future__ import annotations

from typing import Any

from cno.connection import Connection
from cno.engine import CONSTANTS, Event

SPEC_VERSION = "2.5"

_HTTP1_0: int = CONSTANTS["CNO_MESSAGE_HTTP1_0"]


def http_scope(
    connection: Connection, event: Event, root_path: str, state: dict[str, Any] | None
) -> dict[str, Any]:
    """The scope for a HEAD event.

    A path that is not UTF-8 has U+FFFD where it is not; `raw_path` is what was on the wire. `path`
    begins with `root_path` exactly once.
    """
    path = event[6]
    if type(path) is not str:
        path = path.decode("utf-8", "replace")
    if root_path and path != root_path and not path.startswith(root_path + "/") and path != "*":
        path = root_path + path
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
        "http_version": connection.http_version,
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme,
        "method": event[4],
        "root_path": root_path,
        "path": path,
        "raw_path": event[5],
        "query_string": event[7],
        "headers": event[8],
        "extensions": {},
    }
    if state is not None:
        scope["state"] = state.copy()
    if event[2] & _HTTP1_0:
        scope["http_version"] = "1.0"
    return scope
