"""The timeouts of a server connection: what it waits for, since when, and what it gives up.

A group calls `tick` of each of its connections about once a second, so that a connection has no
timers of its own.
"""

from __future__ import annotations

import math

from cno.engine.binding import Engine
from cno.engine.events import RST_CANCEL
from cno.observe.logs import error as log
from cno.server.exchange import Exchange, Group
from cno.server.reply import HELD
from cno.transport.connection import Connection, peer_name

# Seconds that the client has to close its side after the server has closed its own. To close both
# at once would make the kernel send a reset, and the client might lose the last bytes.
LINGER = 2.0


class TimedConnection(Connection):
    """A connection that compares its timeouts with the clock when it is told the time."""

    streams: dict[int, Exchange]
    running: set[Exchange]

    def __init__(self, group: Group, engine: Engine) -> None:
        super().__init__(group.loop, engine)
        self.group = group
        self._busy = False  # whether a request has come since the last tick
        # Times of the loop's clock; see tick().
        now = self.loop.time()
        self._deadline = now + (group.head_timeout or math.inf)  # the end of an idle connection
        self._head_since = now  # when the head that is not complete began, or the last tick
        self._taken_at = now  # when the client was last seen to read output
        self._untaken = 0  # bytes of output in the transport at the last tick
        self._waits: dict[object, float] = {}  # since when exchanges wait for the client

    def tick(self, now: float) -> None:
        """Called about once a second: compares the timeouts with the clock, which shows `now`."""
        if self._transport is None:
            return
        untaken = self._transport.get_write_buffer_size()
        # An application that writes while there is room may add as much as the client takes: the
        # size of the buffer says nothing then, and counts as progress.
        if not untaken or untaken < self._untaken or (self.writable and self.running):
            self._taken_at = now
        self._untaken = untaken
        if not self._over and (not self.engine.head_begun or (self.streams and not self.http2)):
            self._head_since = now
        if _late(now - self._taken_at, self.group.write_timeout):
            self._give_up("the client takes nothing of the response")
        elif self._over:
            if untaken:
                self._deadline = now + LINGER
            elif now >= self._deadline:
                self._transport.abort()
        elif _late(now - self._head_since, self.group.head_timeout):
            self._give_up("the client does not complete the head of a request")
        elif self._busy or self.running or untaken:
            self._busy = False
            self._deadline = now + self.group.keep_alive
            self._check_waits(now)
        elif now >= self._deadline and self._head_since == now:
            self._shut_down()

    def _check_waits(self, now: float) -> None:
        """Gives up exchanges whose application has waited for the client for too long."""
        waits: dict[object, float] = {}
        for exchange in list(self.streams.values()):
            part, limit = self._stalled.get(exchange.id), self.group.write_timeout
            wait: object = None
            if part is not None:
                wait = (exchange.id, part.at)  # differs as soon as one byte is written
            elif exchange.reply.state <= HELD:
                # A client that has closed its sending side may have gone, which only an attempt to
                # write to the socket would show: the timeout of the response applies.
                wait = exchange if self._half_closed else exchange.awaited()
                limit = limit if self._half_closed else self.group.body_timeout
            if wait is not None:
                waits[wait] = since = self._waits.get(wait, now)
                if _late(now - since, limit):
                    self._give_up_exchange(exchange, writing=part is not None)
        self._waits = waits

    def _give_up_exchange(self, exchange: Exchange, *, writing: bool) -> None:
        if self._half_closed:
            self._give_up("the client has closed its side, and there is no response in time")
            return
        what = "takes nothing of the response" if writing else "sends nothing of the body"
        log.info("%s - gave up stream %d: the client %s", peer_name(self), exchange.id, what)
        if writing:
            del self.streams[exchange.id]
            self._lose(exchange)
            self._reset(exchange.id, RST_CANCEL)
            self.flush_soon()
        else:
            exchange.reply.refuse(408)  # RFC 9110 section 15.5.9
            exchange.lost()

    def _give_up(self, why: str) -> None:
        log.info("%s - cut: %s", peer_name(self), why)
        self.cut()

    def _linger(self) -> None:
        """Gives the client LINGER seconds to close its side."""
        self._deadline = self.loop.time() + LINGER

    # ---- what the whole connection does -------------------------------------------------------

    def cut(self) -> None:
        """Ends the connection at once. Applications learn of the end before the transport does."""
        raise NotImplementedError

    def _shut_down(self) -> None:
        """Ends the connection when the requests under way are answered."""
        raise NotImplementedError


def _late(seconds: float, limit: float) -> bool:
    """Returns whether a timeout has passed. A `limit` of 0 never passes."""
    return 0 < limit <= seconds
