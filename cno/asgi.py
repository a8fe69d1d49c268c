"""ASGI over HTTP: a version-blind request, and the gateway that serves an application.

Framing is the engine's; sockets are somebody else's.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from email.utils import formatdate
from marshal import dumps
from typing import Any

from cno import raw
from cno.config import Config
from cno.connection import ClientDisconnected, Connection, peer_name
from cno.interface import App, Message
from cno.logs import ACCESS
from cno.logs import access as access_log
from cno.logs import error as log
from cno.raw import Defaults, Disconnected, Event, StreamGone, UsageError
from cno.scope import http_scope

# Seconds that applications have, after they were told of the end, before their tasks are cancelled.
MERCY = 1.0

_FINAL: int = raw.CNO_MESSAGE_FINAL
_EXPECT: int = raw.CNO_MESSAGE_EXPECT

# How far a response is.
_WAITING, _HELD, _BODY, _DONE = range(4)


class Request:
    """One HTTP request and its response: `receive` and `send` of the application that answers it."""

    __slots__ = (
        "_body",
        "_buffered",
        "_delivered",
        "_expect",
        "_fields",
        "_gateway",
        "_hung_up",
        "_lost",
        "_state",
        "_status",
        "_told",
        "_waiters",
        "body_done",
        "connection",
        "id",
        "scope",
    )

    def __init__(self, gateway: Gateway, connection: Connection, event: Event) -> None:
        self.connection = connection
        self.id: int = event[1]
        self.body_done = bool(event[2] & _FINAL)
        self.scope = http_scope(connection, event, gateway.root_path, gateway.state)
        self._gateway = gateway
        self._expect = bool(event[2] & _EXPECT)
        self._body: list[bytes] = []
        self._buffered = 0
        self._delivered = False  # the application has the end of the body
        self._hung_up = False  # the client says no more
        self._lost = False  # and does not listen either
        self._told = False  # the application knows
        self._state = _WAITING
        self._status = 0
        self._fields = b""
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def responded(self) -> bool:
        """Whether the response is complete."""
        return self._state == _DONE

    # ---- what the connection does -------------------------------------------------------------

    def begin(self) -> None:
        """Runs the application in a task of its own."""
        self._gateway.spawn(self._run())

    def feed(self, data: bytes) -> int:
        """A part of the body; returns how many octets wait."""
        self._body.append(data)
        self._buffered += len(data)
        if self._waiters:
            self._wake()
        return self._buffered

    def feed_end(self) -> None:
        """The body is complete."""
        self.body_done = True
        if self._waiters:
            self._wake()

    def hang_up(self) -> None:
        """The client has closed its side: receive() says so, send() goes on."""
        self._hung_up = True
        self._wake()

    def lost(self) -> None:
        """Nothing can be sent any more."""
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

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
            self._waiters.append(waiter)
            await waiter
        self._told = True
        return {"type": "http.disconnect"}

    def _request(self) -> Message:
        chunks, size = self._body, self._buffered
        self._body, self._buffered, self._delivered = [], 0, self.body_done
        if not self.body_done:
            self.connection.consumed(self, size)
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

        Raises ClientDisconnected (an OSError) once nobody listens, TypeError, ValueError, KeyError or
        RuntimeError for what ASGI does not allow. Whatever follows a complete response is ignored.
        """
        kind = message["type"]
        if self._state == _DONE:
            return
        if self._lost or (self._told and self._hung_up):
            raise ClientDisconnected(f"{peer_name(self.connection)} has gone")
        if kind == "http.response.body":
            body = message.get("body", b"")
            if type(body) is not bytes:
                body = _octets(body)
            final = not message.get("more_body", False)
            await self._write(body, final)
        elif kind == "http.response.start":
            self._start(message)
        else:
            raise ValueError(f"an HTTP application cannot send {kind!r}")

    def _start(self, message: Message) -> None:
        """Holds the head back until the first part of the body, so that a failure in between can
        still be answered with 500."""
        if self._state != _WAITING:
            raise RuntimeError("http.response.start was sent already")
        status, headers = message["status"], message.get("headers", ())
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"status must be an int from 200 to 599, not {status!r}")
        try:
            self._fields = dumps(headers if type(headers) is list else list(headers), 2)
        except (ValueError, TypeError):
            raise TypeError("headers must be pairs of bytes") from None
        self._status = int(status)
        self._state = _HELD

    async def _write(self, body: bytes, final: bool) -> None:
        state, connection = self._state, self.connection
        try:
            if state == _HELD:
                taken = connection.engine.answer(
                    self.id, self._status, self._fields, body, final
                )
                self._state = _BODY
                if self._gateway.access_log:
                    self._log_access()
            elif state == _BODY:
                taken = connection.engine.write(self.id, body, final)
            else:
                raise RuntimeError("http.response.body was sent before http.response.start")
        except UsageError as error:
            raise RuntimeError(f"the response cannot be sent: {error}") from None
        except (StreamGone, Disconnected):
            raise ClientDisconnected(f"{peer_name(connection)} has gone") from None
        if taken < len(body):
            await connection.write_rest(self, body, taken, final)
        if final:
            self._state = _DONE
            if self._waiters:
                self._wake()
            connection.responded(self)
        else:
            connection.flush_soon()
        if not connection.writable and not final:
            await connection.drain(self)

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

    async def _run(self) -> None:
        try:
            if self.scope["method"] == "CONNECT":
                await self._answer_error(501)
            else:
                await self._gateway.app(self.scope, self.receive, self.send)
                if self._state != _DONE and not self._lost and not (self._told and self._hung_up):
                    log.error("The application returned without a complete response")
        except ClientDisconnected:
            pass  # it was told by send() and did not mind
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("The application failed")
        finally:
            if self._state != _DONE:
                await self._make_up()
            self.connection.finished()

    async def _make_up(self) -> None:
        """The application has left the response unfinished."""
        if self._lost:
            return
        try:
            if self._state == _BODY:
                self.connection.break_off(self)
            else:
                await self._answer_error(500)
        except (OSError, RuntimeError):
            self.connection.break_off(self)

    async def _answer_error(self, status: int) -> None:
        text = {500: b"Internal Server Error", 501: b"Not Implemented"}[status]
        self._state = _HELD
        self._status = status
        self._fields = dumps(
            [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")], 2
        )
        await self._write(text, True)


def _octets(body: Any) -> bytes:
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise TypeError(f"body must be bytes, not {type(body).__name__}")


class Gateway:
    """Serves one application on one event loop: gives out protocols, keeps the clock, drains."""

    def __init__(
        self,
        app: App,
        config: Config,
        *,
        loop: asyncio.AbstractEventLoop,
        state: dict[str, Any] | None,
    ) -> None:
        self.app = app
        self.loop = loop
        self.state = state
        self.root_path: str = config.root_path
        self.access_log: bool = config.access_log and access_log.isEnabledFor(20)
        self.http2: bool = config.http2
        self.keep_alive: float = config.timeout_keep_alive
        self.max_streams: int = config.h2_max_concurrent_streams
        self.now = loop.time()
        self.connections: set[Connection] = set()
        self.spawn = self._spawner()
        self._tasks: set[asyncio.Task[None]] = set()
        self._config = config
        self._emptied: asyncio.Future[None] | None = None
        self._draining = False
        self.defaults = Defaults(self._default_fields())
        self._timer = loop.call_later(1.0, self._tick)

    def protocol(self) -> asyncio.Protocol:
        """The factory for loop.create_server."""
        connection = Connection(self)
        if self._draining:
            self.loop.call_soon(connection.shutdown)
        return connection

    def open(self, connection: Connection, event: Event) -> Request:
        """A request head has come."""
        return Request(self, connection, event)

    def closed(self, connection: Connection) -> None:
        """A connection is no more."""
        self._check_empty()

    def shutdown(self) -> None:
        """Begins to drain: what is under way is finished, nothing new is taken on."""
        self._draining = True
        for connection in list(self.connections):
            connection.shutdown()

    async def wait_closed(self) -> None:
        """Returns when no connection and no running application is left."""
        if self.connections or self._tasks:
            self._emptied = self._emptied or self.loop.create_future()
            await asyncio.shield(self._emptied)
        self._timer.cancel()

    def abort(self) -> None:
        """Tells the applications http.disconnect and cuts every connection; tasks that do not end by
        themselves are cancelled a second later."""
        for connection in list(self.connections):
            connection.cut()
        self.loop.call_later(MERCY, self._cancel)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _check_empty(self) -> None:
        if self._emptied and not self.connections and not self._tasks and not self._emptied.done():
            self._emptied.set_result(None)

    def _spawner(self) -> Callable[[Any], None]:
        """Runs a coroutine in a task that starts at once where the interpreter can (3.12)."""
        loop, done = self.loop, self._task_done
        eager: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}

        def spawn(coroutine: Any) -> None:
            task = asyncio.Task(coroutine, loop=loop, **eager)
            if not task.done():
                self._tasks.add(task)
                task.add_done_callback(done)

        return spawn

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._emptied:
            self._check_empty()

    # ---- the clock ----------------------------------------------------------------------------

    def _default_fields(self) -> list[tuple[bytes, bytes]]:
        fields: list[tuple[bytes, bytes]] = []
        if self._config.date_header:
            fields.append((b"date", formatdate(usegmt=True).encode()))
        if self._config.server_header:
            fields.append((b"server", b"cno"))
        return fields + list(self._config.header)

    def _tick(self) -> None:
        """Once a second: the Date field, and connections that were idle for too long."""
        self.now = self.loop.time()
        self._timer = self.loop.call_later(1.0, self._tick)
        if self._config.date_header:
            self.defaults.set(self._default_fields())
        for connection in list(self.connections):
            connection.tick(self.now)
