"""A request of `cno.Server`, and the way to answer it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from marshal import dumps
from typing import TYPE_CHECKING, cast

from cno.engine.errors import Disconnected, StreamGone, UsageError
from cno.engine.events import (
    HEAD_FIELDS,
    HEAD_FLAGS,
    HEAD_METHOD,
    HEAD_STREAM,
    HEAD_TARGET,
    MESSAGE_EXPECT,
    MESSAGE_FINAL,
    MESSAGE_UPGRADE,
    Event,
)
from cno.engine.fields import (
    Fields,
    Head,
    Headers,
    Trailers,
    as_octets,
    as_text,
    lowered,
    octet_pairs,
    pairs,
    trailing,
)
from cno.observe.logs import error as log
from cno.server.reply import BODY, DONE, FAILED, WAITING, ClientDisconnected, Unsendable
from cno.transport.body import (
    OCTETS,
    Body,
    Octets,
    OfferedPayload,
    Payload,
    octets_of,
    release,
    size_of,
    write_parts,
)

if TYPE_CHECKING:
    from cno.server.protocol import Server

# Why a body that is read ends in an error.
_REST = "the rest of this body will not come"


class Request(Head):
    """A request, and the way to answer it.

    `method` is a str; `raw_path` and `raw_headers` are as they came, in octets. Names of fields are
    in lower case. The first fields are `:scheme` and `:authority`.
    """

    # What most requests never change is kept in the class.
    _payload: Payload | None = None
    _trailers: Fields | None = None
    _begun = False
    _offered = False  # a tunnel on HTTP/1: of no body until it is granted
    tunnel = False  # one was granted

    _task: asyncio.Task[None] | None = None

    def __init__(self, conn: Server, event: Event) -> None:
        """Made by the connection from a HEAD event."""
        self.conn = conn
        self.id: int = event[HEAD_STREAM]
        self.reply = conn.make_reply(conn, event[HEAD_STREAM], None)
        self.body_done = event[HEAD_FLAGS] & MESSAGE_FINAL != 0
        self.method: str = event[HEAD_METHOD]
        self.raw_path: bytes = event[HEAD_TARGET]
        self.raw_headers = event[HEAD_FIELDS]
        self._flags: int = event[HEAD_FLAGS]
        if event[HEAD_FLAGS] & MESSAGE_UPGRADE and not conn.http2:
            self._offered = self.body_done = True

    @property
    def path(self) -> str:
        """The request target: path and query, as on the wire."""
        return as_text(self.raw_path)

    @property
    def upgrade(self) -> str | None:
        """The protocol, or more than one to choose from, of the tunnel that this request asks for.
        None where it asks for none, CONNECT to a host is another thing, and without the option
        `upgrade`."""
        if not self._flags & MESSAGE_UPGRADE:
            return None
        name = ":protocol" if self.method == "CONNECT" else "upgrade"
        return ", ".join(value for key, value in self.headers if key == name) or None

    @property
    def payload(self) -> asyncio.StreamReader:
        """The body, or what comes out of the tunnel. Where the client expects 100 (Continue),
        reading asks for it."""
        if self._payload is None:
            asks = self._offered and not self.tunnel
            cls = OfferedPayload if asks else Payload
            payload = cls(self.conn, self.id, expect=self._flags & MESSAGE_EXPECT != 0)
            if asks:
                pass
            elif self.body_done:
                payload.feed_eof()
            elif self.reply.state == FAILED:
                payload.fail(ClientDisconnected(_REST))
            elif self.reply.state == DONE:
                payload.fail(ConnectionAbortedError(_REST))
            self._payload = payload
        return self._payload

    @property
    def trailers(self) -> list[tuple[str, str]]:
        """The trailer fields of the body, once `payload` is at its end."""
        return pairs(self._trailers or [])

    # ---- what the connection does -------------------------------------------------------------

    def feed(self, data: bytes) -> int:
        """A part of the body; returns how many octets wait."""
        return cast(Payload, self.payload).feed(data)

    def feed_end(self, trailers: Fields | None) -> None:
        """The body is complete."""
        self.body_done = True
        self._trailers = trailers
        if self._payload is not None:
            self._payload.feed_eof()

    def hang_up(self) -> None:
        """The client says no more. It gets its answer."""

    def wind_up(self) -> None:
        """The server wants to end. A handler has no way to be told."""

    def awaited(self) -> object | None:
        """What waits for more of the body."""
        return None if self._payload is None or self.body_done else self._payload.reader

    def lost(self) -> None:
        """Nothing can be sent any more: the handler is cancelled."""
        self.reply.lost()
        if self._payload is not None and not self.body_done:
            self._payload.fail(ClientDisconnected(_REST))
        self.cancel()

    def cancel(self) -> None:
        """Cancels the handler, unless it has returned."""
        # It has no task yet while it takes its first step at once, which is the current one then.
        task = self._task or asyncio.current_task(self.conn.loop)
        # One that is cancelled before its first step would not take it.
        if task is not None and self._begun and self in self.conn.running:
            task.cancel()

    def begin(self) -> None:
        """Starts the handler."""
        task = self.conn.start(self._run())
        if self in self.conn.running:  # it has not returned at once
            self._task = task

    async def _run(self) -> None:
        """The task of a request."""
        self._begun = True
        try:
            if self.reply.state != FAILED:
                await self.conn.handle(self)
        except Exception as error:
            # An eager handler may learn of the client's leave before lost() does.
            if isinstance(error, ClientDisconnected) or (
                self.reply.state == FAILED and isinstance(error, ConnectionError)
            ):
                log.debug("The handler failed", exc_info=error)
            else:
                log.error("The handler failed", exc_info=error)
        else:
            if self.reply.state < DONE:
                log.error("The handler ended without a complete response")
        finally:
            self.reply.fail()
            self.conn.returned(self)
            self._task = None  # which keeps this frame if it was cancelled

    # ---- answering ----------------------------------------------------------------------------

    async def respond(
        self,
        code: int,
        headers: Headers = (),
        body: Body = b"",
        *,
        trailers: Trailers = None,
    ) -> None:
        """The response; returns when all of it was written.

        `body` is bytes or the like, a Channel, another (async) iterable of bytes, or a file; the
        length is told or the body delimited, whichever it is. `trailers` come behind it, or what
        they return then if they are a function; HTTP/1.0 has none. A 2xx to CONNECT, and where
        `upgrade` is among the options 101 to a request to upgrade, grants a tunnel with `body` and
        `payload` as its two directions.

        Raises ClientDisconnected when the client has gone, RuntimeError for a second response,
        TypeError and ValueError for what cannot be sent (a field, a body longer or shorter than its
        Content-Length), and whatever `body` raises. The response is broken off then, if it had
        begun.
        """
        self._check_unanswered()
        switches = code == 101 and self._offered and self.method != "CONNECT"
        if not 200 <= code <= 999 and not switches:
            raise ValueError(f"{code} is no status of a response to this request")
        fields = octet_pairs(headers)
        try:
            at_hand = isinstance(body, OCTETS) or size_of(body) == 0
            if trailers is None and at_hand and code != 101:
                octets = octets_of(body) if isinstance(body, OCTETS) else b""
                await self._respond_octets(code, fields, octets)
            else:
                await self._respond_parts(code, fields, body, trailers)
        except UsageError as error:
            raise Unsendable(f"the response cannot be sent: {error}") from None
        except (StreamGone, Disconnected):
            raise self.reply.gone() from None
        finally:
            if self.reply.state == BODY:
                self.reply.fail()

    def inform(self, code: int, headers: Headers) -> None:
        """An informational response (RFC 9110 section 15.2) in front of the response: 102, 103.

        Does nothing where the client speaks HTTP/1.0 or has gone. Raises as respond() does.
        """
        self._check_unanswered()
        if not 102 <= code <= 199:
            raise ValueError(f"{code} is no informational status")
        try:
            with suppress(StreamGone, Disconnected):
                self.conn.engine.head(self.id, code, b"", b"", dumps(lowered(headers), 2), False)
                self.conn.flush_soon()
        except UsageError as error:
            raise ValueError(f"the response cannot be sent: {error}") from None

    def push(self, method: str, path: str, headers: Headers = ()) -> None:
        """Promises the response to a request that the client will make (RFC 9113 section 8.4), and
        has it handled as if it had made it. `:scheme` and `:authority` are those of this request
        unless they are among `headers`.

        Does nothing where the client does not want it, on HTTP/1, for a request that was pushed
        itself, or once this one is answered. Raises ValueError for what is no request.
        """
        conn = self.conn
        pushed = sum(not stream.id % 2 for stream in conn.running)
        if self.reply.state >= DONE or pushed >= conn.group.max_streams:
            return
        own = lowered(headers)
        names = {name for name, _ in own}
        inherited = [pair for pair in _target(self.raw_headers) if pair[0] not in names]
        try:
            conn.promise(self.id, as_octets(method), as_octets(path), dumps([*inherited, *own], 2))
        except UsageError as error:
            raise ValueError(f"this cannot be pushed: {error}") from None

    def _check_unanswered(self) -> None:
        if self.reply.state == FAILED:
            raise self.reply.gone()
        if self.reply.state != WAITING:
            raise RuntimeError("the request was answered already")

    async def _respond_octets(self, code: int, fields: Fields, body: Octets) -> None:
        reply = self.reply
        reply.start(code, fields)
        taken = reply.put(body, len(body))
        if self._flags & MESSAGE_UPGRADE:
            self._settle_tunnel(code)
        if (rest := reply.finish(body, taken)) is not None:
            await rest
        self._answered()

    async def _respond_parts(
        self, code: int, fields: Fields, body: Body, trailers: Trailers
    ) -> None:
        conn, reply = self.conn, self.reply
        try:
            if not conn.writable and (turns := conn.take_turns(reply, 0)) is not None:
                await turns  # one more writer would only add to what waits
            reply.start(code, fields)
            reply.begin(size_of(body) if trailers is None and code != 101 else -1)
            if self._flags & MESSAGE_UPGRADE:
                self._settle_tunnel(code)
            if self.method != "HEAD" and code not in (204, 205, 304):
                conn.flush_soon()
                await write_parts(conn, reply, body)
        finally:
            await release(body)
        if trailers is None:
            reply.end()
        else:
            reply.trail(trailing(trailers))
        self._answered()

    def _settle_tunnel(self, code: int) -> None:
        """The answer to a request for a tunnel is known."""
        self.tunnel = code < 300 if self.method == "CONNECT" else code == 101
        if not self.tunnel:
            return
        if self._offered:
            self.body_done = False
        if isinstance(self._payload, OfferedPayload):
            self._payload.granted = True
            if self._payload.at_eof():  # that was the body
                self._payload = None
        self.conn.loop.call_soon(self.conn.open_tunnel, self)

    def _answered(self) -> None:
        """The response is complete: the rest of the body will not be read."""
        if not self.body_done and self._payload is not None:
            self._payload.fail(ConnectionAbortedError(_REST))


# ---- fields -------------------------------------------------------------------------------------


def _target(fields: Fields) -> Fields:
    """:scheme and :authority of a request, the latter from Host if need be."""
    found = [pair for pair in fields if pair[0] in (b":scheme", b":authority")]
    if len(found) < 2:
        found += [(b":authority", value) for name, value in fields if name == b"host"][:1]
    return found
