"""The deadlines of the exchanges of one connection, on one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from cno.client.link import Link


class Timed(Protocol):
    """An exchange, as far as time goes."""

    timeout: float | None  # seconds that the server may be silent; None for no limit
    deadline: float | None  # by the clock of the loop; None while nobody waits for the server


_Timed = TypeVar("_Timed", bound=Timed)


class Alarm:
    """One timer for the first deadline. A deadline that is moved back leaves the timer as it is."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        link: Link,
        exchanges: Callable[[], Iterable[_Timed]],
        expire: Callable[[_Timed], None],
    ) -> None:
        """`exchanges` returns all exchanges that may have a deadline; `expire` is called for each
        whose deadline has passed."""
        self._loop = loop
        self._link = link
        self._exchanges: Callable[[], Iterable[_Timed]] = exchanges
        self._expire: Callable[[_Timed], None] = expire
        self._timer: asyncio.TimerHandle | None = None
        self._when = 0.0
        self._stopped = False

    def watch(self, exchange: Timed) -> None:
        """Gives the server its time, from now on."""
        if exchange.timeout is not None:
            exchange.deadline = self._loop.time() + exchange.timeout
            if self._timer is None or exchange.deadline < self._when:
                self._set(exchange.deadline)

    def stop(self) -> None:
        """Lets go of the timer and of the connection, which has ended."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._exchanges, self._expire = tuple, _ignore

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._stopped:
            self._when = when
            self._timer = self._link.call(self._loop.call_at, when, self._ring)

    def _ring(self) -> None:
        """The first deadline has come, unless the server has made progress since it was set."""
        self._timer = None
        now = self._loop.time()
        for exchange in self._exchanges():
            if exchange.deadline is not None and exchange.deadline <= now:
                self._expire(exchange)
        left = (exchange.deadline for exchange in self._exchanges())
        deadlines = [deadline for deadline in left if deadline is not None]
        if deadlines:
            self._set(min(deadlines))


def _ignore(_: object) -> None:
    pass
