"""Connections without sockets or a server: a transport that records, and a peer made of cno.raw."""

import asyncio
from marshal import dumps
from typing import Any

from cno import raw
from cno.engine.binding import Engine
from cno.server.reply import ClientDisconnected
from cno.transport.connection import Connection

TO = [(":scheme", "http"), (":authority", "x")]


class Transport:
    """An asyncio transport that keeps its output in `pieces`, until take() empties it."""

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []
        self.protocol: Any = None
        self.stopped = False
        self.aborted = self.closed = False
        self.reading = True

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def writelines(self, pieces: list[bytes | memoryview]) -> None:
        self.pieces.extend(pieces)

    def take(self) -> bytes:
        """Takes the output, as the kernel would."""
        pieces, self.pieces = self.pieces, []
        return b"".join(pieces)

    def stop(self) -> None:
        """The transport is above its high-water mark."""
        self.protocol.pause_writing()

    def go(self) -> None:
        """The transport has room again."""
        self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.pieces))

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 50000) if name == "peername" else None

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Stream:
    """A stream of a Sender, which has nothing but its id."""

    def __init__(self, stream: int) -> None:
        self.id = stream

    def feed(self, data: bytes) -> int:
        return 0

    def feed_end(self, trailers: Any) -> None:
        pass

    def lost(self) -> None:
        pass


class Sender(Connection):
    """A client connection that writes requests with bodies, over a Transport."""

    gone_error = ClientDisconnected

    def __init__(self, *, http2: bool = True) -> None:
        super().__init__(asyncio.get_running_loop(), Engine(server=False))
        self.wire = Transport()
        self.wire.protocol = self
        self.http2 = http2
        self.engine.begin(http2=http2)
        self.connection_made(self.wire)  # type: ignore[arg-type]

    def request(self, *fields: tuple[bytes, bytes]) -> Stream:
        """Begins a request with a body."""
        stream = Stream(self.engine.next_stream)
        head = [(name.encode(), value.encode()) for name, value in TO] + list(fields)
        self.engine.head(stream.id, 0, b"POST", b"/", dumps(head, 2), False)
        self.streams[stream.id] = stream
        return stream

    def _on_head(self, event: Any) -> None:
        pass

    def _end(self) -> None:
        pass


class Receiver(raw.Connection):
    """The server of a Sender. `order` has the stream of each chunk, `bodies` has the bodies."""

    def __init__(self, sender: Sender, *, window: int = 1 << 20) -> None:
        super().__init__(server=True)
        self.sender = sender
        self.out = b""
        self.bodies: dict[int, bytes] = {}
        self.order: list[int] = []
        self.ended: set[int] = set()
        self.manual_flow(connection=True)
        self.configure(initial_window_size=window)
        self.connection_made()
        self.carry()

    def on_writev(self, chunks: list[bytes]) -> None:
        self.out += b"".join(chunks)

    def on_message_data(self, stream: int, data: bytes) -> None:
        self.bodies[stream] = self.bodies.get(stream, b"") + data
        self.order.append(stream)

    def on_message_tail(self, stream: int, trailers: Any) -> None:
        self.ended.add(stream)

    def carry(self) -> None:
        """Carries the output of both sides to the other side."""
        while True:
            self.sender.flush()
            data = self.sender.wire.take()
            if data:
                self.data_received(data)
            out, self.out = self.out, b""
            if out:
                self.sender.data_received(out)
            if not data and not out:
                return
