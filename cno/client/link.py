"""The transport of a client: whose context it runs in, what has come on it, and how it is ended."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

# Seconds in which the server can take what was written before the connection was closed.
LINGER = 2.0

# Turns of the event loop until a transport has passed on what it was given (the transport of uvloop
# writes at the end of a turn), or has reported what there is to read (TLS of CPython 3.10 reports
# its end late).
TURNS = 4

# How often a request waits for the loop to read what has come on a connection without requests.
LOOKS = 3

# The error number of OpenSSL for: there is nothing to read, but no end either.
_WANT_READ = 2

_Result = TypeVar("_Result")


class Link:
    """The transport of one connection, with the context in which the connection was made.

    An event loop runs a callback in the context of whoever has registered the callback. The
    callbacks of a connection are registered through `call`, so that none of them runs in the
    context of a request.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = copy_context()
        self._transport: asyncio.Transport | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._readable: select.poll | None = None
        self._looks = 0  # since there was nothing to read
        # The ssl.SSLObject, None without TLS. A transport that was closed twice cannot tell.
        self.tls: Any = None

    def call(self, function: Callable[..., _Result], *args: Any) -> _Result:
        """Calls a function of the loop or of the transport in the context of the connection."""
        return self._context.copy().run(function, *args)

    def later(self, turns: int, function: Callable[[], object]) -> None:
        """Calls a function in the context of the connection after some turns of the loop."""
        self.call(self._count, turns, function)

    def _count(self, turns: int, function: Callable[[], object]) -> None:
        if turns:
            self._loop.call_soon(self._count, turns - 1, function)
        else:
            function()

    # ---- the transport ------------------------------------------------------------------------

    def attach(self, transport: asyncio.Transport) -> None:
        """Takes the transport when the connection is made."""
        self._transport = transport
        self.tls = transport.get_extra_info("ssl_object")
        self._readable = self._poll(select.POLLIN)

    @property
    def agreed_http2(self) -> bool:
        """Whether both sides of TLS have chosen HTTP/2 (ALPN)."""
        return self.tls is not None and self.tls.selected_alpn_protocol() == "h2"

    def is_cut(self) -> bool:
        """Whether TLS has ended without close_notify. Only at the end: the question takes a byte of
        whatever has not been read."""
        if self.tls is None:
            return False
        try:
            return bool(self.tls.read(1))
        except OSError as error:
            return error.errno == _WANT_READ

    def reads_first(self, again: Callable[[], object]) -> bool:
        """Whether something has come that the loop, which was busy, has not read; then `again` is
        called when the loop has read it.

        On a connection without requests, a response or the end must not be taken for the answer to
        the next request (RFC 9112 section 9.2). Other things, such as a session ticket of TLS, harm
        nothing, and are waited for LOOKS times at most.
        """
        poll = self._readable
        if poll is None or self._looks >= LOOKS or not poll.poll(0):
            self._looks = 0
            return False
        self._looks += 1
        self.later(TURNS, again)
        return True

    def _poll(self, what: int) -> select.poll | None:
        """Asks whether the socket can be read (select.POLLIN) or written (select.POLLOUT). None for
        a transport that has no socket, and on Windows, which has no poll."""
        sock: Any = self._transport and self._transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0 or not hasattr(select, "poll"):
            return None
        poll = select.poll()
        poll.register(sock.fileno(), what)
        return poll

    def half_close(self) -> bool:
        """Ends our direction; returns False if that would end the other one too."""
        if self._transport is None or not self._transport.can_write_eof():
            return False
        self.call(self._transport.write_eof)
        return True

    # ---- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the transport when the server has taken what was written, or after LINGER."""
        if self._transport is None:
            return
        self._readable = None
        if self.tls is None or not self._is_closing():  # asyncio forgets TLS at a second close()
            self.call(self._transport.close)
        self._linger = self.call(self._loop.call_later, LINGER, self.abort)
        if self.tls is not None:
            self.later(1, self._leave)

    def _leave(self, turns: int = TURNS) -> None:
        """Ends a transport inside TLS without the close_notify of the server (RFC 8446 section
        6.1), as soon as the operating system has taken all that was written. Whether the system has
        can only be guessed: it has room for more, in each of some turns of the loop."""
        if self._transport is None or self._unsent():
            return
        writable = self._poll(select.POLLOUT)
        if writable is None or not writable.poll(0):
            return
        if turns:
            self.later(1, lambda: self._leave(turns - 1))
        else:
            self.abort()

    def abort(self) -> None:
        """Ends the transport now."""
        if self._transport is not None:
            self.call(self._transport.abort)

    def lost(self) -> None:
        """Forgets the transport, which has ended."""
        transport, self._transport = self._transport, None
        self._readable = None  # another file may get the number of the socket
        if self._linger is not None:
            self._linger.cancel()
        if self.tls is not None and transport is not None and not transport.is_closing():
            transport.close()  # CPython 3.10 warns of one that only the server has closed

    def _is_closing(self) -> bool:
        try:
            return self._transport is None or self._transport.is_closing()
        except AttributeError:  # CPython 3.10: TLS has ended and will report that soon
            return True

    def _unsent(self) -> int:
        try:
            return 0 if self._transport is None else self._transport.get_write_buffer_size()
        except AttributeError:  # as above
            return 0
