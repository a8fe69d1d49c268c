"""Requests that wait until the connection has room for them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator

from cno.client.alarm import Alarm
from cno.client.errors import RequestFailed, Unprocessed, fresh
from cno.client.exchange import Exchange

# Requests that may wait on one connection.
WAITING = 10000


# Writes the head of a request with this target and these fields; returns whether there was room for
# the request, and raises what the request fails with.
WriteHead = Callable[[Exchange, bytes, bytes], bool]


class Turns:
    """The requests that wait, in the order in which they came."""

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm
        self._waiting: OrderedDict[Exchange, tuple[asyncio.Future[None], bytes, bytes]]
        self._waiting = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._waiting)

    def __contains__(self, exchange: object) -> bool:
        return exchange in self._waiting

    async def begin(
        self, exchange: Exchange, target: bytes, fields: bytes, write_head: WriteHead
    ) -> None:
        """Writes the head of a request when its turn has come. Raises ValueError and
        RequestFailed."""
        if not self._waiting and write_head(exchange, target, fields):
            return
        if len(self._waiting) >= WAITING:
            raise Unprocessed(f"{WAITING} requests wait for this connection already")
        self._waiting[exchange] = exchange.conn.loop.create_future(), target, fields
        self._alarm.watch(exchange)
        # Not by a name in this frame: an exception would keep the frame, and that the future.
        await self._waiting[exchange][0]

    def remove(self, exchange: Exchange) -> bool:
        """Takes a request out that nobody wants any more. Returns whether it was waiting."""
        return self._waiting.pop(exchange, None) is not None

    def fail(self, exchange: Exchange, error: RequestFailed) -> None:
        """Takes a request out that fails."""
        turn = self._waiting.pop(exchange)[0]
        if not turn.done():
            turn.set_exception(error)

    def fail_all(self, error: RequestFailed) -> None:
        """Every request fails."""
        for exchange in list(self._waiting):
            self.fail(exchange, fresh(error))

    def next(self, write_head: WriteHead) -> None:
        """Writes one head after another until there is no room."""
        while self._waiting:
            exchange, (turn, target, fields) = next(iter(self._waiting.items()))
            if not turn.done():
                try:
                    if not write_head(exchange, target, fields):
                        return
                except (ValueError, RequestFailed) as error:
                    # A copy: the error keeps this frame, which keeps the future.
                    turn.set_exception(fresh(error))
                else:
                    turn.set_result(None)
            self._waiting.pop(exchange, None)
