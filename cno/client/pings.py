"""PINGs of HTTP/2 (RFC 9113 section 6.7): their answers, and what a silent server is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from cno.client.link import Link


class Pings:
    """The PINGs of one connection that are under way, and whether the server is heard."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._count = 0
        self.heard = True  # whether something has come since the last look
        self._asked = False  # whether the server was sent a PING at the last look
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def new(self) -> tuple[bytes, asyncio.Future[None]]:
        """The payload of a new PING, and a future for its answer or the end of the connection."""
        self._count += 1
        payload = self._count.to_bytes(8, "big")
        pong = self._waiting[payload] = self._loop.create_future()
        return payload, pong

    def forget(self, payload: bytes) -> None:
        """Nobody waits for this answer any more."""
        del self._waiting[payload]

    def answered(self, payload: bytes) -> None:
        """An answer has come."""
        pong = self._waiting.get(payload)
        if pong is not None and not pong.done():
            pong.set_result(None)

    def end(self) -> None:
        """The connection has ended: no more answers will come."""
        for pong in self._waiting.values():
            if not pong.done():
                pong.set_result(None)
        if self._timer is not None:
            self._timer.cancel()

    def keep_asking(
        self, link: Link, seconds: float, ask: Callable[[], None], give_up: Callable[[], None]
    ) -> None:
        """Calls `ask`, which sends a PING, when the server was not heard for so many seconds, and
        `give_up` when it was not heard for so long again."""
        look = partial(self._look, link, seconds, ask, give_up)
        self._timer = link.call(self._loop.call_later, seconds, look)

    def _look(
        self, link: Link, seconds: float, ask: Callable[[], None], give_up: Callable[[], None]
    ) -> None:
        if self._asked and not self.heard:
            give_up()
            return
        self._asked = not self.heard
        if self._asked:
            ask()
        self.heard = False
        self.keep_asking(link, seconds, ask, give_up)
