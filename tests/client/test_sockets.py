"""cno.client.sockets: a host with several addresses, and limits of time."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from peer import LOOPS, run
from wire import soon

import cno
import cno.client.sockets
from cno.client.sockets import open_socket, within

RUN = [loop for loop in LOOPS if loop != "python"]
V4, V6 = socket.AF_INET, socket.AF_INET6


class Names:
    """A loop with a resolver of its own, which notes what is connected and when."""

    def __init__(self, addresses: list[Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._addresses = addresses
        self.sockets: list[socket.socket] = []
        self.tried: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def getaddrinfo(self, host: str, port: int, **options: Any) -> Any:
        return [
            (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)
            for family, where in self._addresses
        ]

    async def sock_connect(self, sock: socket.socket, where: Any) -> None:
        self.sockets.append(sock)
        self.tried.append(where)
        await self._loop.sock_connect(sock, where)


class Scripted(Names):
    """A loop on which each attempt comes to what its address says: an exception, a number of
    seconds after which it is connected, or None for never."""

    async def sock_connect(self, sock: socket.socket, where: Any) -> None:
        self.sockets.append(sock)
        self.tried.append(where)
        if isinstance(where, Exception):
            raise where
        await asyncio.sleep(1000 if where is None else where)

    def open(self) -> int:
        return sum(sock.fileno() >= 0 for sock in self.sockets)


@pytest.fixture
def silent() -> Iterator[Any]:
    """An address that does not answer: the backlog of its listener is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fill = [socket.socket() for _ in range(3)]
    for sock in fill:
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
    time.sleep(0.01)
    yield listener.getsockname()
    for sock in (listener, *fill):
        sock.close()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# ---- several addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize("loop_name", RUN)
def test_an_address_that_does_not_answer(
    silent: Any, loop_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cno.client.sockets, "ATTEMPT_DELAY", 0.01)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def handle(request: cno.Request) -> None:
            await request.respond(200)

        listener = await loop.create_server(lambda: cno.Server(loop, handle), "127.0.0.1", 0)
        names: Any = Names([(V4, silent), (V4, listener.sockets[0].getsockname())])
        asked = cno.request(names, "GET", "http://two.example/", timeout_connect=5)
        async with await soon(asked) as response:
            assert response.code == 200
        await settle()
        assert names.sockets[0].fileno() == -1
        assert names.tried == [silent, listener.sockets[0].getsockname()]
        listener.close()
        await asyncio.sleep(0.01)

    run(main, loop_name)


@pytest.mark.parametrize("loop_name", RUN)
def test_no_address_answers(silent: Any, loop_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cno.client.sockets, "ATTEMPT_DELAY", 0.01)

    async def main() -> None:
        names: Any = Names([(V4, silent), (V4, silent)])
        with pytest.raises(cno.ConnectTimeout):
            await soon(cno.connect(names, "http://two.example/", timeout_connect=0.05))
        await settle()
        assert [sock.fileno() for sock in names.sockets] == [-1, -1]

    run(main, loop_name)


@pytest.mark.parametrize("loop_name", RUN)
def test_an_address_that_refuses(loop_name: str) -> None:
    """The next one is tried at once."""

    async def main() -> None:
        refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        names: Any = Scripted([(V4, refused), (V4, 0.0)])
        began = time.monotonic()
        sock = await open_socket(names, "two.example", 80)
        assert time.monotonic() - began < cno.client.sockets.ATTEMPT_DELAY
        assert sock is names.sockets[1]
        assert names.open() == 1
        sock.close()

    run(main, loop_name)


def test_families_by_turns() -> None:
    async def main() -> None:
        refused = [ConnectionRefusedError(number) for number in range(6)]
        families = [V6, V6, V6, V4, V4, V6]
        names: Any = Scripted(list(zip(families, refused, strict=True)))
        with pytest.raises(ConnectionRefusedError):
            await open_socket(names, "many.example", 80)
        assert [error.args[0] for error in names.tried] == [0, 3, 1, 4, 2, 5]
        assert names.open() == 0

    run(main, "asyncio")


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ([errno.ECONNREFUSED, errno.ENETUNREACH], errno.ECONNREFUSED),
        ([errno.ENETUNREACH, errno.ECONNREFUSED], errno.ECONNREFUSED),
        ([errno.ECONNREFUSED, errno.ETIMEDOUT], errno.ETIMEDOUT),
        ([errno.ENETUNREACH, errno.EHOSTUNREACH], errno.EHOSTUNREACH),
    ],
)
def test_the_error_that_says_most(numbers: list[int], told: int) -> None:
    async def main() -> None:
        names: Any = Scripted([(V4, OSError(number, "x")) for number in numbers])
        with pytest.raises(OSError) as caught:
            await open_socket(names, "many.example", 80)
        assert caught.value.errno == told

    run(main, "asyncio")


def test_a_host_without_addresses() -> None:
    async def main() -> None:
        names: Any = Scripted([])
        with pytest.raises(cno.ConnectFailed, match="no address"):
            await cno.connect(names, "http://none.example/")

    run(main, "asyncio")


def test_two_that_answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cno.client.sockets, "ATTEMPT_DELAY", 0.0)

    async def main() -> None:
        names: Any = Scripted([(V4, 0.02), (V4, 0.02), (V4, 0.02)])
        sock = await open_socket(names, "many.example", 80)
        await settle()
        assert len(names.sockets) == 3
        assert names.open() == 1
        sock.close()

    run(main, "asyncio")


def test_cancelled_while_several_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cno.client.sockets, "ATTEMPT_DELAY", 0.0)

    async def main() -> None:
        names: Any = Scripted([(V4, None), (V4, None)])
        opening = asyncio.ensure_future(open_socket(names, "many.example", 80))
        while len(names.sockets) < 2:
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await settle()
        assert names.open() == 0

    run(main, "asyncio")


# ---- time ----------------------------------------------------------------------------------------


def test_within() -> None:
    async def main() -> None:
        async def value() -> int:
            await asyncio.sleep(0)
            return 5

        async def wrong() -> int:
            raise KeyError("made up")

        async def stubborn() -> int:
            try:
                return await never()
            except asyncio.CancelledError:
                return 6

        async def never() -> int:
            await asyncio.Event().wait()
            return 7

        assert await within(None, value()) == 5
        assert await within(10, value()) == 5
        with pytest.raises(KeyError):
            await within(10, wrong())
        with pytest.raises(asyncio.TimeoutError):
            await within(0.001, never())
        assert await within(0.001, stubborn()) == 6

    run(main, "asyncio")
