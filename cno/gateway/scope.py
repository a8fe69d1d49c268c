"""Makes the ASGI scope of a request (ASGI specification, www.rst, "HTTP Connection Scope")."""

from __future__ import annotations

from typing import Any

from cno.engine.events import (
    HEAD_FIELDS,
    HEAD_FLAGS,
    HEAD_METHOD,
    HEAD_PATH,
    HEAD_QUERY,
    HEAD_TARGET,
    MESSAGE_HTTP1_0,
    Event,
)
from cno.gateway.interface import Scope
from cno.server.connection import ServerConnection

# The value of scope["asgi"] for HTTP requests. In version 2.4 of the specification send() raises an
# OSError once the client has gone. cno does so, but must not announce version 2.4: Starlette then
# no longer listens for http.disconnect, and a response that waits for its next event would outlive
# the client.
ASGI = {"version": "3.0", "spec_version": "2.3"}


def scope_base(connection: ServerConnection, root_path: str) -> Scope:
    """Returns the keys that all scopes of a connection share; http_scope() copies them."""
    return {
        "type": "http",
        "asgi": None,
        "http_version": connection.http_version,
        "server": connection.server,
        "client": connection.peer,
        "scheme": connection.scheme,
        "method": "",
        "root_path": root_path,
        "path": "",
        "raw_path": b"",
        "query_string": b"",
        "headers": None,
        "extensions": None,
    }


def http_scope(base: Scope, event: Event, state: dict[str, Any] | None) -> Scope:
    """Returns the scope for a HEAD event of the engine.

    `raw_path` has the bytes of the request; `path` is decoded, with U+FFFD for bytes that are not
    UTF-8. `path` begins with `root_path`, which is put in front only where it is missing. `state`
    is the state of the lifespan, of which each request gets a shallow copy.
    """
    path = event[HEAD_PATH]
    if type(path) is not str:
        path = path.decode("utf-8", "replace")
    root_path = base["root_path"]
    if root_path and path != root_path and not path.startswith(root_path + "/") and path != "*":
        path = root_path + path
    scope = dict(base)
    scope["asgi"] = ASGI.copy()
    scope["method"] = event[HEAD_METHOD]
    scope["path"] = path
    scope["raw_path"] = event[HEAD_TARGET]
    scope["query_string"] = event[HEAD_QUERY]
    scope["headers"] = event[HEAD_FIELDS]
    scope["extensions"] = {}
    if state is not None:
        scope["state"] = state.copy()
    if event[HEAD_FLAGS] & MESSAGE_HTTP1_0:
        scope["http_version"] = "1.0"
    return scope
