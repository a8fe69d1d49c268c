"""Applications that send endless bodies, clients with small buffers, and memory of this process."""

import asyncio
import resource
import socket
from typing import Any

from native import Site
from peer import Peer, answer
from wire import H2, H2Exchange

BLOCK = bytes(65536)


class Pump:
    """Repeats a step in a task; `.count` is the number of steps that are done."""

    def __init__(self, step: Any) -> None:
        self.count = 0
        self._step = step
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._step()
            self.count += 1

    async def stuck(self, peer: Site) -> int:
        """Waits until no more steps are done, although the server and this loop go on."""
        for _ in range(1000):
            before = self.count
            await peer.barrier()
            await peer.barrier()
            if self.count == before:
                self.task.cancel()
                return before
        raise AssertionError("it never stops")


START = {"type": "http.response.start", "status": 200, "headers": []}


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    """A message with a part of the body."""
    return {"type": "http.response.body", "body": body, "more_body": more}


class Source:
    """An application that sends `total` bytes in pieces. `.sent` has the bytes taken, by path."""

    def __init__(self, total: int = 1 << 30, piece: int = 65536) -> None:
        self.total, self.piece = total, bytes(piece)
        self.sent: dict[str, int] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/small":
            await answer(send)
            return
        self.sent[path] = 0
        await send(START)
        while self.sent[path] < self.total:
            await send(part(self.piece))
            self.sent[path] += len(self.piece)
        await send(part(b"", more=False))

    async def stuck(self, peer: Peer, path: str = "/") -> int:
        """Waits until send() no longer returns. Returns how many bytes were taken by then."""
        for _ in range(1000):
            before = self.sent.get(path)
            await peer.barrier()
            await peer.barrier()
            if before is not None and self.sent[path] == before:
                return before
        raise AssertionError("send() never waits")


async def little_room(peer: Peer, app: Any, **options: Any) -> Any:
    """A server and a client with small buffers in the kernel."""
    await peer.start(app, **options)
    peer.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    peer.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    return await peer.connect(buffer=16384)


async def wide_open(peer: Peer, app: Any) -> H2:
    """A client whose windows are no limit."""
    client = await little_room(peer, app)
    client.h2.update_settings({4: 1 << 30})
    client.h2.increment_flow_control_window(1 << 30)
    await client.flush()
    await client.ping()
    return client


async def together(client: H2, *paths: str) -> list[H2Exchange]:
    """Requests that arrive in one read."""
    exchanges = []
    for path in paths:
        exchange = H2Exchange(client, client.h2.get_next_available_stream_id())
        client.exchanges[exchange.id] = exchange
        fields = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "x")]
        client.h2.send_headers(exchange.id, fields, end_stream=True)
        exchanges.append(exchange)
    await client.flush()
    return exchanges


def resident() -> int:
    """Returns the resident memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def high_water() -> int:
    """Returns the highest resident memory since the last forget_high_water(), in bytes."""
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def forget_high_water() -> None:
    """Resets the mark of high_water()."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
