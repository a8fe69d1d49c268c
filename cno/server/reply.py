"""The response to one request, whoever makes it: an ASGI or WSGI application, or a handler.

How far the response is, what it has written, how it fails and who is told of its end stand here and
nowhere else. The compiled twin of this class is in cno/engine/_fast_reply.c.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from marshal import dumps
from typing import TYPE_CHECKING, Protocol

from cno.engine.errors import Disconnected, Error, StreamGone, UsageError
from cno.engine.events import CONSTANTS
from cno.engine.fields import Fields
from cno.transport.connection import peer_name
from cno.transport.writing import LEND, Octets

if TYPE_CHECKING:
    from cno.server.connection import ServerConnection

# How far a response is. From DONE on nothing can be written any more.
WAITING: int = CONSTANTS["CNO_REPLY_WAITING"]  # nothing is known of it
HELD: int = CONSTANTS["CNO_REPLY_HELD"]  # its head is known, but not written: it may become a 500
BODY: int = CONSTANTS["CNO_REPLY_BODY"]  # its head is written
DONE: int = CONSTANTS["CNO_REPLY_DONE"]  # it is complete
FAILED: int = CONSTANTS["CNO_REPLY_FAILED"]  # the client has gone, or it was broken off

# The response that stands for one that its maker failed to make.
ERROR_BODY = b"Internal Server Error"
ERROR_FIELDS = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]

Pairs = Iterable[Sequence[bytes]]


class ClientDisconnected(ConnectionResetError):
    """The client has gone, or has given up on this request; nothing can be sent any more."""


class Unsendable(ValueError, RuntimeError):
    """HTTP does not allow what should be sent. The text says which rule of which RFC."""


class Owner(Protocol):
    """An object that wants to know of the end of a reply."""

    def answered(self, reply: Reply) -> None:
        """The reply is over: its `state` is DONE or FAILED. Called once."""


class Reply:
    """One response.

    `state` says how far the response is, `status` is its code (0 while that is not known), `size`
    how many bytes of the body were written. Methods that may have to wait for the client return an
    awaitable then, and None if all is done. They raise ClientDisconnected, Unsendable (nothing was
    written), and RuntimeError when a head or a body is not due.
    """

    __slots__ = ("_fields", "connection", "id", "owner", "size", "state", "status")

    def __init__(self, connection: ServerConnection, stream: int, owner: Owner | None) -> None:
        self.connection = connection
        self.id = stream
        self.owner = owner
        self.state = WAITING
        self.status = 0
        self.size = 0
        self._fields = b""  # marshalled

    # ---- the head -----------------------------------------------------------------------------

    def start(self, status: int, fields: Pairs) -> None:
        """Takes the head, which is written with the first part of the body."""
        if self.state != WAITING:
            raise RuntimeError("the response was started already")
        self._fields = dumps(checked(fields), 2)
        self.status = status
        self.state = HELD

    def hold(self, status: int, fields: Pairs) -> None:
        """As start(); but the head is written in the next turn of the loop if no part of the body
        comes before. A maker that raises at once still gets a 500."""
        self.start(status, fields)
        connection = self.connection
        connection.loop.call_soon(self.release, context=connection.context)

    def release(self) -> None:
        """Writes the held head. One that cannot be written stays, for the next call to say so."""
        if self.state == HELD and self.connection.writable:
            try:
                self.begin(-1)
            except (Unsendable, ClientDisconnected):
                self.state = HELD
            else:
                self.connection.flush_soon()

    def begin(self, total: int) -> None:
        """Writes the held head alone; `total` is the size of the body, -1 if that is not known."""
        self._begin(b"", total)

    def _begin(self, body: bytes, total: int) -> int:
        """Writes the held head and as much of a body as the windows allow; how much that was."""
        try:
            taken = self.connection.answer(self.id, self.status, self._fields, body, total)
        except Error as error:
            if isinstance(error, UsageError):
                self.state = WAITING
            raise refusal(self, error) from None  # by no name: it would keep this frame
        self.state = BODY
        self.size = taken
        return taken

    # ---- the body -----------------------------------------------------------------------------

    def write(self, body: bytes) -> Awaitable[None] | None:
        """A part of the body, behind which more will come."""
        connection = self.connection
        if self.state == HELD and not connection.writable:
            return write_later(self, body)
        taken = self.put(body, -1)
        if taken < len(body):
            return write_rest(self, body, taken)
        connection.flush_soon()
        return connection.take_turns(self, taken)

    def end(self, body: bytes = b"") -> Awaitable[None] | None:
        """The last part of the body, or all of it."""
        if self.state == HELD and not self.connection.writable:
            return end_later(self, body)
        return self.finish(body, self.put(body, len(body)))

    def put(self, body: Octets, total: int) -> int:
        """Writes the head, if it is held, and a small part of the body; returns how much of that
        was taken. `total` is the size of what is left of the body, -1 while that is not known.

        A large part, and one behind other parts that still wait, is left to write_body()."""
        small = len(body) < LEND
        if self.state == HELD:
            return self._begin(bytes(body) if small else b"", total)
        if self.state != BODY:
            raise gone(self) if self.state == FAILED else RuntimeError("no body is due")
        if not small or self.id in self.connection.parts:
            return 0
        try:
            taken = self.connection.engine.write(self.id, body, total >= 0)
        except Error as error:
            raise refusal(self, error) from None
        self.size += taken
        return taken

    def finish(self, body: Octets, taken: int) -> Awaitable[None] | None:
        """Writes what put() has not taken of the last part."""
        if taken < len(body) or self.id in self.connection.parts:
            return finish_rest(self, body, taken)
        self.complete()
        return None

    def trail(self, fields: bytes) -> None:
        """Ends the body with trailers: marshalled pairs."""
        trail(self, fields)

    # ---- the end ------------------------------------------------------------------------------

    def complete(self) -> None:
        """All of the response is written."""
        self.state = DONE
        self.connection.responded(self)
        self._tell()

    def refuse(self, status: int) -> None:
        """Answers in the maker's stead, without a body, if nothing was written yet."""
        refuse(self, status)

    def fail(self) -> None:
        """The maker has left the response unfinished: it becomes a 500 if nothing of it was
        written, or is broken off so that the client does not take it for whole."""
        fail(self)

    def forget(self) -> None:
        """Drops a held head."""
        self.state = WAITING

    def broken_off(self) -> None:
        """Breaks the response off."""
        self.state = FAILED
        self.connection.break_off(self.id)
        self._tell()

    def lost(self) -> None:
        """The client has gone."""
        if self.state < DONE:
            self.state = FAILED
            self._tell()

    def gone(self) -> ClientDisconnected:
        """The exception for a maker that goes on writing when the client has gone."""
        return gone(self)

    def _tell(self) -> None:
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.answered(self)


# ---- what both twins use -------------------------------------------------------------------------


def checked(fields: Pairs) -> Fields:
    """Fields as pairs of bytes. Raises Unsendable for anything else."""
    return [(octets(name), octets(value)) for name, value in map(pair, fields)]


def pair(field: Sequence[bytes]) -> Sequence[bytes]:
    """The field, if it is a name and a value."""
    if not isinstance(field, (tuple, list)) or len(field) != 2:
        raise Unsendable(f"a field is a pair of bytes, not {field!r}")
    return field


def octets(value: bytes) -> bytes:
    """The name or value of a field as bytes."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise Unsendable(f"a field is a pair of bytes, and {value!r} is not bytes")


def refusal(reply: Reply, error: Error | None = None) -> Exception:
    """What the maker gets for an error of the engine, which is the last one if it is not given."""
    error = error or reply.connection.engine.error()
    if isinstance(error, UsageError):
        return Unsendable(f"the response cannot be sent: {error}")
    return gone(reply) if isinstance(error, (StreamGone, Disconnected)) else error


def gone(reply: Reply) -> ClientDisconnected:
    """See Reply.gone."""
    return ClientDisconnected(f"{peer_name(reply.connection)} has gone")


def refuse(reply: Reply, status: int) -> None:
    """See Reply.refuse."""
    if reply.state <= HELD:
        reply.forget()
        with suppress(Unsendable, ClientDisconnected):
            reply.start(status, [(b"connection", b"close")])
            reply.put(b"", 0)
            reply.complete()


def fail(reply: Reply) -> None:
    """See Reply.fail."""
    if reply.state <= HELD:
        reply.forget()
        with suppress(Unsendable, ClientDisconnected):
            reply.start(500, ERROR_FIELDS)
            if reply.put(ERROR_BODY, len(ERROR_BODY)) == len(ERROR_BODY):
                reply.complete()
    if reply.state < DONE:
        reply.broken_off()


def trail(reply: Reply, fields: bytes) -> None:
    """See Reply.trail."""
    reply.connection.engine.tail(reply.id, fields)
    reply.complete()


async def write_later(reply: Reply, body: bytes) -> None:
    """Reply.write where the transport is full: one more writer would only add to what waits."""
    turns = reply.connection.take_turns(reply, 0)
    if turns is not None:
        await turns
    taken = reply.put(body, -1)
    if taken < len(body):
        await write_rest(reply, body, taken)
        return
    reply.connection.flush_soon()
    if (turns := reply.connection.take_turns(reply, taken)) is not None:
        await turns


async def end_later(reply: Reply, body: bytes) -> None:
    """Reply.end where the transport is full."""
    turns = reply.connection.take_turns(reply, 0)
    if turns is not None:
        await turns
    rest = reply.finish(body, reply.put(body, len(body)))
    if rest is not None:
        await rest


async def write_rest(reply: Reply, body: Octets, taken: int, final: bool = False) -> None:
    """What did not fit of a part."""
    try:
        await reply.connection.write_body(reply, body, taken, final)
    except UsageError as error:
        raise refusal(reply, error) from None


async def finish_rest(reply: Reply, body: Octets, taken: int) -> None:
    """What did not fit of the last part."""
    await write_rest(reply, body, taken, True)
    reply.complete()
