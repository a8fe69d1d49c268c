"""ASGI over HTTP: a version-blind request.

Framing is the engine's; sockets are somebody else's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from marshal import dumps
from typing import Any, NamedTuple

from cno.engine.errors import Disconnected, StreamGone, UsageError
from cno.engine.events import MESSAGE_EXPECT, MESSAGE_FINAL, Event
from cno.engine.fields import Fields
from cno.gateway.interface import App, Message, Scope
from cno.gateway.scope import http_scope
from cno.observe.logs import ACCESS
from cno.observe.logs import access as access_log
from cno.observe.logs import error as log
from cno.server.connection import FAILED, FAILED_FIELDS, ClientDisconnected, ServerConnection
from cno.transport.connection import QUANTUM, peer_name

# How far a response is.
_WAITING, _HELD, _BODY, _DONE = range(4)


class Site(NamedTuple):
    """What all requests of a gateway have in common."""

    app: App
    state: dict[str, Any] | None  # of the lifespan
    access_log: bool


class Request:
    """One HTTP request and its response: `receive` and `send` of the application."""

    # What most requests never change is kept in the class.
    _body: list[bytes] | None = None  # what came and was not received yet
    _buffered = 0  # octets of it
    _expect = False  # the client waits for 100
    _delivered = False  # the application has the end of the body
    _hung_up = False  # the client says no more
    _lost = False  # and does not listen either
    _shut = False  # nothing that is sent matters any more
    _state = _WAITING
    _status = 0
    _fields: Any = b""  # marshalled
    _waiters: Sequence[asyncio.Future[None]] = ()

    task: asyncio.Task[None]

    def __init__(self, site: Site, connection: ServerConnection, base: Scope, event: Event) -> None:
        """`base` is what cno.gateway.scope says of the connection, `event` a HEAD."""
        self.connection = connection
        self.id: int = event[1]
        self.body_done = event[2] & MESSAGE_FINAL != 0
        self.scope = http_scope(base, event, site.state)
        self._app = site.app
        self._access_log = site.access_log
        if event[2] & MESSAGE_EXPECT:
            self._expect = True

    # ---- what the connection does -------------------------------------------------------------

    def feed(self, data: bytes) -> int:
        """A part of the body; returns how many octets wait."""
        if self._body is None:
            self._body = [data]
        else:
            self._body.append(data)
        self._buffered += len(data)
        if self._waiters:
            self._wake()
        return self._buffered

    def feed_end(self, trailers: Fields | None) -> None:  # noqa: ARG002
        """The body is complete. ASGI has no event for trailers."""
        self.body_done = True
        if self._waiters:
            self._wake()

    def hang_up(self) -> None:
        """The client has closed its side: receive() says so, send() goes on."""
        self._hung_up = True
        self._wake()

    @property
    def unanswered(self) -> bool:
        """Whether nothing was answered yet."""
        return self._state in (_WAITING, _HELD)

    def awaited(self) -> object | None:
        """What waits for more of the body."""
        return self._waiters[-1] if self._waiters and not self.body_done else None

    def lost(self) -> None:
        """Nothing can be sent any more."""
        self._lost = self._shut = True
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # ---- receive ------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """http.request with what has come of the body, then http.disconnect. Cancelling it loses
        nothing."""
        if self._expect:
            self._continue()
        while True:
            if self._state == _DONE or (self._lost and not self.body_done):
                break
            if self._body or (self.body_done and not self._delivered):
                return self._request()
            if self._delivered and (self._lost or self._hung_up):
                break
            waiter = self.connection.loop.create_future()
            self._waiters = [*self._waiters, waiter]
            await waiter
        if self._hung_up:
            self._shut = True  # the application knows that nobody asks any more
        return {"type": "http.disconnect"}

    def _request(self) -> Message:
        chunks, size = self._body or (), self._buffered
        self._body, self._buffered, self._delivered = None, 0, self.body_done
        if not self.body_done:
            self.connection.consumed(self.id, size)
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return {"type": "http.request", "body": body, "more_body": not self.body_done}

    def _continue(self) -> None:
        """100 (RFC 9110 section 15.2.1), now that somebody wants the body."""
        self._expect = False
        if self._state in (_WAITING, _HELD) and not self._lost and not self._body:
            self.connection.engine.head(self.id, 100, b"", b"", b"", False)
            self.connection.flush_soon()

    # ---- send ---------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """Takes http.response.start and http.response.body; returns when there is room for more.

        Raises ClientDisconnected (an OSError) once nobody listens, and TypeError, ValueError,
        KeyError or RuntimeError for what ASGI does not allow. Whatever follows a complete response
        is ignored.
        """
        if self._shut:
            self._refuse()
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            if (
                self._state != _HELD
                or type(body) is not bytes
                or len(body) > QUANTUM
                or message.get("more_body")
            ):
                await self._send_part(_octets(body), not message.get("more_body"))
                return
            # Most responses are complete with this: one call.
            taken = self._write(body, len(body))
            if taken < len(body):
                await self._write_rest(body, taken, True)
            self._end()
        else:
            self._hold(message)

    async def _send_part(self, body: bytes, final: bool) -> None:
        """A part of the body; returns when the peer has room for more."""
        connection = self.connection
        size = len(body)
        if self._state == _HELD and not connection.writable:
            await connection.take_turns(self, 0)  # one more writer would only add to what waits
        taken = self._write(body[:QUANTUM], size if final else -1)
        if taken < size:
            await self._write_rest(body, taken, final)
        if final:
            self._end()
            return
        connection.flush_soon()
        await connection.take_turns(self, size)

    async def _write_rest(self, body: bytes, taken: int, final: bool) -> None:
        try:
            await self.connection.write_rest(self, body, taken, final)
        except UsageError as error:
            raise RuntimeError(f"the response cannot be sent: {error}") from None

    def _hold(self, message: Message) -> None:
        """Keeps the head until the first part of the body: a failure in between can still be a
        500."""
        if message["type"] != "http.response.start":
            raise ValueError(f"an HTTP application cannot send {message['type']!r}")
        if self._state != _WAITING:
            raise RuntimeError("http.response.start was sent already")
        status, headers = message["status"], message.get("headers", ())
        if type(status) is not int or not 200 <= status <= 599:
            raise ValueError(f"status must be an int from 200 to 599, not {status!r}")
        self._fields = dumps(headers if type(headers) is list else list(headers), 2)
        self._status = status
        self._state = _HELD

    def _refuse(self) -> None:
        if self._state != _DONE:
            raise ClientDisconnected(f"{peer_name(self.connection)} has gone")

    def _write(self, body: bytes, total: int) -> int:
        """The head, if it was held back, and as much of the body as the peer allows. `total` is the
        size of the whole body, -1 while it is not known."""
        state = self._state
        try:
            if state == _HELD:
                taken = self.connection.answer(self.id, self._status, self._fields, body, total)
                self._state = _BODY
                if self._access_log:
                    self._log_access()
                return taken
            if state == _BODY:
                return self.connection.engine.write(self.id, body, total == len(body))
        except UsageError as error:
            if state == _HELD:
                self._state = _WAITING  # nothing of it was sent
            raise RuntimeError(f"the response cannot be sent: {error}") from None
        except (StreamGone, Disconnected):
            raise ClientDisconnected(f"{peer_name(self.connection)} has gone") from None
        raise RuntimeError("http.response.body was sent before http.response.start")

    def _end(self) -> None:
        """The response is complete."""
        self._state = _DONE
        self._shut = True
        if self._waiters:
            self._wake()
        self.connection.responded(self)

    def _log_access(self) -> None:
        scope = self.scope
        target = scope["raw_path"].decode("latin-1")
        if scope["query_string"]:
            target = f"{target}?{scope['query_string'].decode('latin-1')}"
        access_log.info(
            ACCESS,
            peer_name(self.connection),
            scope["method"],
            target,
            scope["http_version"],
            self._status,
        )

    # ---- the application's life ---------------------------------------------------------------

    async def run(self) -> None:
        """The task of a request."""
        try:
            await self._app(self.scope, self.receive, self.send)
        except Exception as error:
            self._failed(error)
        finally:
            self._ended()

    def _failed(self, error: Exception) -> None:
        """The application has raised this."""
        level = logging.DEBUG if _is_disconnect(error) else logging.ERROR
        log.log(level, "The application failed", exc_info=error)
        self._make_up()

    def _ended(self) -> None:
        """The application has returned."""
        if self._state != _DONE and not self._lost:
            if not self._shut:
                log.error("The application ended without a complete response")
            self._make_up()
        self.connection.running.discard(self)
        if self.connection.gone:
            self.connection.check_gone()

    def _make_up(self) -> None:
        """The application has left the response unfinished."""
        if self._state in (_WAITING, _HELD) and not self._shut:
            with suppress(OSError, RuntimeError):
                self._answer_failure()
        if self._state != _DONE and not self._lost:
            self._lost = self._shut = True
            self.connection.break_off(self)

    def _answer_failure(self) -> None:
        self._fields = FAILED_FIELDS
        self._status = 500
        self._state = _HELD
        if self._write(FAILED, len(FAILED)) == len(FAILED):  # or it is broken off
            self._end()


def _is_disconnect(error: BaseException | None) -> bool:
    """Whether this began as what send() raises when the client has gone."""
    while error is not None and not isinstance(error, ClientDisconnected):
        error = error.__cause__ or error.__context__
    return error is not None


def _octets(body: Any) -> bytes:
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise TypeError(f"body must be bytes, not {type(body).__name__}")
