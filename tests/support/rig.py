"""A server connection without a socket: a transport that keeps what it is given.

A test calls `data_received` and the other methods of the protocol by itself, and decides when the
loop has its turns. So the same calls give the same results every time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from peer import python_classes

from cno.config.options import Config
from cno.process.site import Site

# Turns of the loop after which nothing is left to do; a turn that finds nothing to do costs little.
TURNS = 40


class Transport(asyncio.Transport):
    """A transport whose `output` has everything that was written to it.

    While it is `held`, it takes no more: what is written counts as waiting.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__({"peername": ("192.0.2.1", 4711), "sockname": ("192.0.2.2", 80)})
        self.loop = loop
        self.protocol: Any = None
        self.output = bytearray()
        self.history: list[str] = []  # anything but writing and reading
        self.reading = True
        self.held = False
        self.waiting = 0
        self.over = False

    def write(self, data: Any) -> None:
        if self.over:
            return
        self.output += data
        if self.held:
            self.waiting += len(data)

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.history.append("write_eof")

    def is_closing(self) -> bool:
        return self.over

    def close(self) -> None:
        self.end("close")

    def abort(self) -> None:
        self.end("abort")

    def end(self, how: str, error: Exception | None = None) -> None:
        """The protocol hears of the end in the next turn of the loop."""
        if not self.over:
            self.over = True
            self.history.append(how)
            self.loop.call_soon(self.protocol.connection_lost, error)


class Rig:
    """One connection to one application, with the classes that serve at the moment."""

    def __init__(self, app: Any, **options: Any) -> None:
        given = {"date_header": False, "lifespan": "off", **options}
        self.loop = asyncio.get_running_loop()
        self.site = Site(app, Config(app=app, **given), loop=self.loop, state=None)
        self.transport = Transport(self.loop)
        self.connection: Any = self.site.protocol()
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)

    def feed(self, data: bytes) -> None:
        """The client has sent this. A transport whose reading is paused, or that has ended, has
        nothing to tell."""
        if self.transport.reading and not self.transport.over:
            self.connection.data_received(data)

    def hold(self, held: bool) -> None:
        """The client takes nothing more, or takes everything."""
        if held == self.transport.held or self.transport.over:
            return
        self.transport.held = held
        if held:
            self.connection.pause_writing()
        else:
            self.transport.waiting = 0
            self.connection.resume_writing()

    async def settle(self, turns: int = TURNS) -> None:
        """Gives the loop its turns."""
        for _ in range(turns):
            await asyncio.sleep(0)

    async def end(self) -> None:
        """The client has gone; applications that still run are cancelled."""
        self.transport.end("lost", ConnectionResetError("gone"))
        await self.settle()
        for exchange in list(self.connection.running):
            exchange.cancel()
        await self.settle()
        self.site._stop_clock()
        self.transport.protocol = None  # which has the transport


def run(main: Callable[[], Awaitable[Any]], *, python: bool = False) -> Any:
    """Runs a coroutine on a loop of its own, with the compiled classes or with those in Python.
    Fails if the exception handler of the loop was called."""
    loop = asyncio.new_event_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    try:
        with python_classes() if python else contextlib.nullcontext():
            result = loop.run_until_complete(main())
    finally:
        loop.close()
    assert not complaints, complaints
    return result


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        args: Any = record.args
        if record.name == "cno.access" and len(args) == 8:
            args = args[:6] + args[7:]  # without the time
        error = record.exc_info[1] if record.exc_info else None
        self.lines.append((record.levelname, record.msg, args, repr(error)))


@contextlib.contextmanager
def records() -> Iterator[list[Any]]:
    """Collects what the loggers of cno are given, without times."""
    handler, logger = _Records(), logging.getLogger("cno")
    levels = {name: logging.getLogger(name).level for name in ("cno.error", "cno.access")}
    logger.addHandler(handler)
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    propagated, logger.propagate = logger.propagate, False
    try:
        yield handler.lines
    finally:
        logger.propagate = propagated
        logger.removeHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
