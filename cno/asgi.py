"""ASGI applications over HTTP, whatever its version.

A request head becomes a call of the application; what the application sends becomes a Reply.
Framing is the engine's, and sockets are somebody else's. The compiled twin of Request is in
cno/engine/_fast_request.c.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any, NamedTuple

from cno.engine.events import HEAD_FLAGS, HEAD_STREAM, MESSAGE_EXPECT, MESSAGE_FINAL, Event
from cno.engine.fields import Fields
from cno.gateway.interface import App, Message, Scope
from cno.gateway.scope import http_scope
from cno.observe import access
from cno.observe.logs import error as log
from cno.server.connection import TASK, ServerConnection
from cno.server.reply import DONE, FAILED, HELD, ClientDisconnected, Reply
from cno.transport.connection import peer_name

# The status in the access log when the client has gone before there was any, as nginx has it.
CLIENT_LEFT = 499


class Application(NamedTuple):
    """What all requests to one application have in common."""

    app: App
    state: dict[str, Any] | None  # of the lifespan
    access_log: bool


class Inbox:
    """What an application receives of one request: its body, then the client's end."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_delivered",
        "_expect",
        "_hung_up",
        "_reply",
        "_size",
        "_told",
        "_told_task",
        "_waiters",
        "complete",
        "excused",
        "shut",
    )

    def __init__(
        self, connection: ServerConnection, reply: Reply, complete: bool, expect: bool
    ) -> None:
        """`complete`: the request has no body; `expect`: the client waits for 100 (Continue)."""
        self._connection = connection
        self._reply = reply
        self._chunks: list[bytes] = []
        self._size = 0  # bytes of them
        self._expect = expect
        self._delivered = False  # the application has the end of the body
        self._told = False  # receive() has a reason for http.disconnect while the client listens
        self._hung_up = False  # which is that the client has closed its side
        self._waiters: list[asyncio.Future[None]] = []
        self.complete = complete  # all of the body has come
        self._told_task = 0  # the id of the task that has got http.disconnect
        self.shut = False  # the application knows that the client has closed its side
        self.excused = False  # the next send() to a client that has gone does not raise (see lose)

    # ---- what comes ---------------------------------------------------------------------------

    def feed(self, data: bytes) -> int:
        """A part of the body; returns how many bytes wait."""
        self._chunks.append(data)
        self._size += len(data)
        self.wake()
        return self._size

    def wake(self) -> None:
        """Something has changed for the calls of receive() that wait."""
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def lose(self) -> None:
        """The client has gone. A task that waits in receive() learns of it in the next turn of the
        loop, and until then one send() passes in silence: Starlette cancels a stream from that
        task, and an exception of send() in between would keep the stream alive until the garbage
        collector finds it."""
        self.excused = bool(self._waiters)
        self.wake()

    def _excuse_nobody(self) -> None:
        self.excused = False

    def was_told(self) -> bool:
        """Whether the task that is running has got http.disconnect from receive() itself."""
        return self._told_task == id(asyncio.current_task())

    def disconnect(self, hung_up: bool) -> None:
        """Lets receive() say http.disconnect once the body is delivered."""
        self._told = True
        self._hung_up = self._hung_up or hung_up
        self.wake()

    def awaited(self) -> object | None:
        """The newest call of receive() that waits for more of the body."""
        return self._waiters[-1] if self._waiters and not self.complete else None

    # ---- what the application does ------------------------------------------------------------

    async def receive(self) -> Message:
        """http.request with what has come of the body, then http.disconnect. Cancelling the call
        loses nothing."""
        if self._expect:
            self._ask_for_body()
        while True:
            state = self._reply.state
            if state == DONE or (state == FAILED and not self.complete):
                break
            if self._chunks or (self.complete and not self._delivered):
                return self._take()
            if self._delivered and (state == FAILED or self._told):
                break
            waiter = self._connection.loop.create_future()
            self._waiters.append(waiter)
            await waiter
        self.shut = self._hung_up
        self._told_task = id(asyncio.current_task())
        if self.excused:  # for the other tasks of this turn of the loop
            self._connection.loop.call_soon(self._excuse_nobody)
        return {"type": "http.disconnect"}

    def _take(self) -> Message:
        chunks, size = self._chunks, self._size
        self._chunks, self._size, self._delivered = [], 0, self.complete
        if not self.complete:
            self._connection.consumed(self._reply.id, size)
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return {"type": "http.request", "body": body, "more_body": not self.complete}

    def _ask_for_body(self) -> None:
        """100 (RFC 9110 section 15.2.1), now that the application wants the body."""
        self._expect = False
        if self._reply.state <= HELD and not self._chunks:
            self._connection.engine.head(self._reply.id, 100, b"", b"", b"", False)
            self._connection.flush_soon()


class Request:
    """One HTTP request and its response: `receive` and `send` of the application."""

    __slots__ = (
        "__weakref__",
        "_app",
        "_expect",
        "_inbox",
        "began",
        "body_done",
        "connection",
        "id",
        "reply",
        "scope",
        "task",
    )

    def __init__(
        self, application: Application, connection: ServerConnection, base: Scope, event: Event
    ) -> None:
        """`base` is what cno.gateway.scope says of the connection, `event` a HEAD."""
        self.connection = connection
        self.id: int = event[HEAD_STREAM]
        self.body_done = event[HEAD_FLAGS] & MESSAGE_FINAL != 0
        self.scope = http_scope(base, event, application.state)
        self.reply: Reply = connection.make_reply(
            connection, self.id, self if application.access_log else None
        )
        self.task: asyncio.Task[None] | None = None  # while it runs
        self.began = time.monotonic() if application.access_log else 0.0
        self._app = application.app
        self._expect = event[HEAD_FLAGS] & MESSAGE_EXPECT != 0
        self._inbox: Inbox | None = None  # made when it is needed

    # ---- what the connection does -------------------------------------------------------------

    @property
    def inbox(self) -> Inbox:
        """What there is to receive."""
        if self._inbox is None:
            self._inbox = Inbox(self.connection, self.reply, self.body_done, self._expect)
        return self._inbox

    def feed(self, data: bytes) -> int:
        """A part of the body; returns how many bytes wait."""
        return self.inbox.feed(data)

    def feed_end(self, trailers: Fields | None) -> None:  # noqa: ARG002
        """The body is complete. ASGI has no event for trailers."""
        self.body_done = True
        if self._inbox is not None:
            self._inbox.complete = True
            self._inbox.wake()

    def hang_up(self) -> None:
        """The client has closed its side: receive() says so, and send() goes on until it has."""
        self.inbox.disconnect(True)

    def wind_up(self) -> None:
        """The server wants to end: receive() says http.disconnect, and send() goes on."""
        self.inbox.disconnect(False)

    def awaited(self) -> object | None:
        """The reader that waits for more of the body."""
        return None if self._inbox is None else self._inbox.awaited()

    def lost(self) -> None:
        """Nothing can be sent any more."""
        self.reply.lost()
        if self._inbox is not None:
            self._inbox.lose()

    def cancel(self) -> None:
        """Cancels the application."""
        if self.task is not None:
            self.task.cancel()

    def answered(self, reply: Reply) -> None:
        """The response is over."""
        answered(self, reply)

    def begin(self) -> None:
        """Calls the application in a task."""
        task = self.connection.start(self.run())
        if self not in self.connection.running:
            return  # it has returned at once
        self.task = task
        if "eager_start" not in TASK:
            task.add_done_callback(self._done, context=self.connection.context)

    def _done(self, task: asyncio.Task[None]) -> None:  # noqa: ARG002
        """The task is over. One that was cancelled before its first step has run nothing of its
        coroutine, not even `finally`."""
        if self in self.connection.running:
            self._end()

    async def run(self) -> None:
        """The task of a request."""
        try:
            await self._app(self.scope, self.receive, self.send)
        except Exception as error:
            app_failed(self, error)
        finally:
            self._end()

    def _end(self) -> None:
        self.task = None  # if it was cancelled, its exception has frames that have this object
        if self.reply.state < DONE:
            app_ended(self)
        self.connection.returned(self)

    def _wake(self) -> None:
        if self._inbox is not None:
            self._inbox.wake()

    # ---- what the application does ------------------------------------------------------------

    async def receive(self) -> Message:
        """See Inbox.receive."""
        return await self.inbox.receive()

    async def send(self, message: Message) -> None:
        """Takes http.response.start and http.response.body; returns when there is room for more.

        Raises ClientDisconnected (an OSError) once nobody listens, and TypeError, ValueError,
        KeyError or RuntimeError for what ASGI does not allow. Whatever follows a complete response
        is ignored.
        """
        await send_slowly(self, message)


# ---- what both twins use -------------------------------------------------------------------------


async def send_slowly(request: Request, message: Message) -> None:
    """See Request.send."""
    reply = request.reply
    if reply.state == DONE:
        return
    if reply.state == FAILED or request.inbox.shut:
        if not excuse(request):
            raise reply.gone()
        return
    kind = message["type"]
    if kind == "http.response.body":
        body = message.get("body", b"")
        if type(body) is not bytes:
            body = _octets(body)
        rest = reply.write(body) if message.get("more_body") else reply.end(body)
        if rest is not None:
            await finish_send(request, rest)
        elif reply.state == DONE:
            request.inbox.wake()
    elif kind == "http.response.start":
        status = message["status"]
        if type(status) is not int or not 200 <= status <= 599:
            raise ValueError(f"status must be an int from 200 to 599, not {status!r}")
        reply.hold(status, message.get("headers", ()))
    else:
        raise ValueError(f"an HTTP application cannot send {kind!r}")


async def finish_send(request: Request, rest: Awaitable[None]) -> None:
    """Waits until the client has taken enough of what send() was given.

    Another task may complete the response meanwhile; the part was written then.
    """
    try:
        await rest
    except ClientDisconnected:
        if request.reply.state != DONE and not excuse(request):
            raise
    if request.reply.state == DONE:
        request.inbox.wake()


def excuse(request: Request) -> bool:
    """Whether one send() may pass in silence although the client has gone; see Inbox.lose."""
    inbox = request.inbox
    excused, inbox.excused = inbox.excused, False
    return excused and not inbox.was_told()


def answered(request: Request, reply: Reply) -> None:
    """The line of the access log."""
    scope = request.scope
    target = scope["raw_path"].decode("latin-1")
    if scope["query_string"]:
        target = f"{target}?{scope['query_string'].decode('latin-1')}"
    access.request(
        peer_name(request.connection),
        scope["method"],
        target,
        scope["http_version"],
        reply.status or CLIENT_LEFT,
        0 if scope["method"] == "HEAD" else reply.size,
        time.monotonic() - request.began,
        whole=reply.state == DONE,
    )


def app_failed(request: Request, error: Exception) -> None:
    """The application has raised this."""
    level = logging.DEBUG if _is_disconnect(error) else logging.ERROR
    log.log(level, "The application failed", exc_info=error)
    _fail(request)


def app_ended(request: Request) -> None:
    """The application has returned, or was cancelled, without a complete response."""
    if not request.inbox.shut:
        log.error("The application ended without a complete response")
    _fail(request)


def _fail(request: Request) -> None:
    request.reply.fail()
    request.inbox.wake()


async def as_coroutine(awaitable: Awaitable[None]) -> None:
    """A coroutine that awaits something else."""
    await awaitable


def _is_disconnect(error: BaseException | None) -> bool:
    """Whether this began as what send() raises when the client has gone."""
    while error is not None and not isinstance(error, ClientDisconnected):
        error = error.__cause__ or error.__context__
    return error is not None


def _octets(body: Any) -> bytes:
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise TypeError(f"body must be bytes, not {type(body).__name__}")
