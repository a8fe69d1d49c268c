"""Clients at the level of sockets.

The clients share no code with the engine: HTTP/1 is read by hand, HTTP/2 by the `h2` package. They
read only when a test asks them to, so that the test controls back-pressure.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
from hyperframe.frame import Frame

# The time limit, in seconds, for every single step of a server or a client.
PATIENCE = 10.0

CHUNK = 65536

Fields = Iterable[tuple[str, str]]


async def soon(what: Awaitable[Any]) -> Any:
    """Awaits something for PATIENCE seconds at most."""
    return await asyncio.wait_for(what, PATIENCE)


# ---- the wire -----------------------------------------------------------------------------------


class Wire:
    """A socket on the running loop, which reads only when told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()

    @property
    def name(self) -> str:
        """The address of this side as the server sees it, host:port."""
        return "{}:{}".format(*self.sock.getsockname())

    async def send(self, data: bytes) -> None:
        """Sends all of the data."""
        await soon(self.loop.sock_sendall(self.sock, data))

    async def receive(self) -> bytes:
        """Returns at least one byte, or nothing at the end. Raises ConnectionResetError."""
        return await soon(self.loop.sock_recv(self.sock, CHUNK))

    async def read_all(self) -> bytes:
        """Returns everything until the server closes or resets the connection."""
        got = bytearray()
        with contextlib.suppress(ConnectionError):
            while data := await self.receive():
                got += data
        return bytes(got)

    def waiting(self) -> bytes:
        """Returns the bytes that can be read now, without taking them."""
        try:
            return self.sock.recv(CHUNK, socket.MSG_PEEK)
        except BlockingIOError:
            return b""

    def fin(self) -> None:
        """Closes the sending side (FIN)."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Closes with a reset (RST)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Closes the socket. With unread bytes this is a reset."""
        self.sock.close()


class Secure(Wire):
    """A TLS connection on the running loop."""

    def __init__(
        self, sock: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        super().__init__(sock)
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await soon(self.writer.drain())

    async def receive(self) -> bytes:
        return await soon(self.reader.read(CHUNK))

    def reset(self) -> None:
        self.writer.transport.abort()

    def close(self) -> None:
        with contextlib.suppress(AttributeError):  # raised within asyncio if TLS has already ended
            self.writer.transport.abort()


# ---- messages -----------------------------------------------------------------------------------


@dataclass
class Response:
    """A response as far as it has arrived; `complete` if the message has ended properly."""

    version: str = ""
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False
    reset: int | None = None  # h2: the code of RST_STREAM
    interim: list[int] = field(default_factory=list)
    framing: str = ""  # h1: none, length, chunked, close
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Returns the values of a field."""
        return [v.decode("latin-1") for k, v in self.headers if k.lower() == name.encode()]

    def one(self, name: str) -> str | None:
        """Returns the value of a field, or None. Fails if the field is there twice."""
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None


class Client:
    """A connection: the part of the interface that HTTP/1 and HTTP/2 share."""

    version: str

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    async def begin(self) -> None:
        """Sends the bytes that come before the first request."""

    async def start(
        self, method: str = "GET", path: str = "/", headers: Fields = (), *, more: bool = False
    ) -> "Exchange":
        """Sends a request head. With `more`, a body follows."""
        raise NotImplementedError

    async def ask(
        self,
        path: str = "/",
        headers: Fields = (),
        *,
        method: str = "GET",
        body: bytes | None = None,
    ) -> Response:
        """Makes a whole exchange; returns the response."""
        exchange = await self.start(method, path, headers, more=body is not None)
        if body is not None:
            await exchange.write(body, end=True)
        return await exchange.response()

    def close(self) -> None:
        """Closes the connection."""
        self.wire.close()


class Exchange:
    """A request and the response that belongs to it."""

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """Sends a part of the request's body."""
        raise NotImplementedError

    async def head(self) -> Response:
        """Waits for the head of the response."""
        raise NotImplementedError

    async def body(self, size: int) -> Response:
        """Waits until `size` bytes of the body have arrived in all."""
        raise NotImplementedError

    async def response(self) -> Response:
        """Waits for the end of the response: complete, reset or lost."""
        raise NotImplementedError

    async def give_up(self) -> None:
        """Cancels the request: RST_STREAM on HTTP/2, a reset of the connection on HTTP/1."""
        raise NotImplementedError


# ---- HTTP/1 -------------------------------------------------------------------------------------


class H1(Client):
    """An HTTP/1.1 connection with one exchange at a time."""

    version = "h1"

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.buffer = bytearray()
        self.ended = ""  # fin or rst

    async def start(
        self, method: str = "GET", path: str = "/", headers: Fields = (), *, more: bool = False
    ) -> "H1Exchange":
        fields = list(headers)
        names = {name.lower() for name, _ in fields}
        if "host" not in names:
            fields.insert(0, ("host", "localhost"))
        chunked = more and "content-length" not in names
        if chunked:
            fields.append(("transfer-encoding", "chunked"))
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields)
        await self.wire.send(head.encode("latin-1") + b"\r\n")
        return H1Exchange(self, method, chunked)

    async def raw(self, data: bytes, method: str = "GET") -> Response:
        """Sends bytes and returns the response."""
        await self.wire.send(data)
        return await self.response(method)

    async def response(self, method: str = "GET") -> Response:
        """Returns the next response."""
        return await H1Exchange(self, method, False).response()

    async def fill(self) -> bool:
        """Reads once; returns False at the end of the connection."""
        if not self.ended:
            try:
                data = await self.wire.receive()
            except ConnectionError:
                data, self.ended = b"", "rst"
            else:
                self.ended = "" if data else "fin"
            self.buffer += data
        return not self.ended

    async def line(self) -> bytes | None:
        """Returns a line without its CRLF, or None if the connection ends first."""
        while (at := self.buffer.find(b"\r\n")) < 0:
            if not await self.fill():
                return None
        line = bytes(self.buffer[:at])
        del self.buffer[: at + 2]
        return line

    async def closed(self) -> str:
        """Waits for the end of the connection, before which nothing may arrive.

        Returns "fin" or "rst".
        """
        await self.fill()
        assert not self.buffer, bytes(self.buffer)
        return self.ended


class H1Exchange(Exchange):
    """An exchange on an H1 connection."""

    def __init__(self, client: H1, method: str, chunked: bool) -> None:
        self.client, self.method, self.chunked = client, method, chunked
        self.got = Response()
        self._left: int | None = None

    async def write(self, data: bytes, *, end: bool = False) -> None:
        if self.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            data += b"0\r\n\r\n" if end else b""
        await self.client.wire.send(data)

    async def head(self) -> Response:
        got = self.got
        while not got.status:
            line = await self.client.line()
            if line is None:
                return got
            version, status, _ = line.split(b" ", 2)
            fields = []
            while line := await self.client.line():
                name, value = line.split(b":", 1)
                fields.append((name, value.strip(b" \t")))
            if line is None:
                return got
            if 100 <= int(status) < 200:
                got.interim.append(int(status))
                continue
            got.version, got.status, got.headers = version.decode(), int(status), fields
            got.framing = self._framing()
        return got

    def _framing(self) -> str:
        got = self.got
        length = got.one("content-length")
        assert not (length and got.one("transfer-encoding")), got.headers
        if self.method == "HEAD" or got.status in (204, 304):
            return "none"
        if got.one("transfer-encoding") is not None:
            assert got.one("transfer-encoding") == "chunked"
            return "chunked"
        if length is not None:
            self._left = int(length)
            return "length"
        return "close"

    async def _piece(self) -> bool:
        """Reads some of the body; returns False at the end of the body."""
        got, client = self.got, self.client
        if not got.status or got.complete:
            return False
        if got.framing == "none":
            got.complete = True
            return False
        if got.framing == "chunked" and not self._left:
            line = await client.line()
            if line is None:
                return False
            self._left = int(line, 16)
            if not self._left:
                while line := await client.line():
                    name, value = line.split(b":", 1)
                    got.trailers.append((name.lower(), value.strip(b" \t")))
                got.complete = line == b""
                return False
        if self._left == 0:
            got.complete = True
            return False
        if not client.buffer and not await client.fill():
            got.complete = got.framing == "close" and client.ended == "fin"
            return False
        piece = bytes(client.buffer[: self._left])
        del client.buffer[: len(piece)]
        got.body += piece
        if self._left is not None:
            self._left -= len(piece)
            if got.framing == "chunked" and not self._left and await client.line() is None:
                return False
        return True

    async def body(self, size: int) -> Response:
        await self.head()
        while len(self.got.body) < size and await self._piece():
            pass
        return self.got

    async def response(self) -> Response:
        await self.head()
        while await self._piece():
            pass
        return self.got

    async def give_up(self) -> None:
        self.client.wire.reset()


# ---- HTTP/2 -------------------------------------------------------------------------------------


class H2(Client):
    """An HTTP/2 connection, with TLS or with prior knowledge.

    Without `credit` the windows of responses are not reopened.
    """

    version = "h2"

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = h2.connection.H2Connection(config)
        self.exchanges: dict[int, H2Exchange] = {}
        self.goaways: list[tuple[int, int]] = []  # last stream, code
        self.frames: list[Frame] = []  # all settings that were received
        self.pongs = 0
        self.credit = True
        self.ended = ""
        self._tail = b""

    async def begin(self) -> None:
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        """Sends the output of h2."""
        if data := self.h2.data_to_send():
            await self.wire.send(data)

    async def start(
        self, method: str = "GET", path: str = "/", headers: Fields = (), *, more: bool = False
    ) -> "H2Exchange":
        fields = [(name.lower(), value) for name, value in headers]
        authority = next((value for name, value in fields if name == "host"), "localhost")
        pseudo = [(":method", method), (":scheme", "http"), (":path", path)]
        pseudo.append((":authority", authority))
        rest = [(name, value) for name, value in fields if name != "host"]
        return await self.open([*pseudo, *rest], more=more)

    async def open(self, fields: Fields, *, more: bool = False) -> "H2Exchange":
        """Sends a request with exactly these fields."""
        exchange = H2Exchange(self, self.h2.get_next_available_stream_id())
        self.exchanges[exchange.id] = exchange
        octets = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        self.h2.send_headers(exchange.id, octets, end_stream=not more)
        await self.flush()
        return exchange

    async def send_frames(self, *frames: Frame) -> None:
        """Sends frames without h2, which would refuse some of them."""
        await self.wire.send(b"".join(frame.serialize() for frame in frames))

    async def fill(self) -> bool:
        """Reads once; returns False at the end of the connection."""
        if self.ended:
            return False
        try:
            data = await self.wire.receive()
        except ConnectionError:
            data, self.ended = b"", "rst"
        else:
            self.ended = "" if data else "fin"
        for octets in self._split(data):
            for event in self.h2.receive_data(octets):
                self._on(event)
        if not self.ended:
            with contextlib.suppress(ConnectionError):
                await self.flush()
        return not self.ended

    def _split(self, data: bytes) -> Iterator[bytes]:
        """Yields the complete frames one by one."""
        self._tail += data
        while len(self._tail) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._tail[:9]))
            if len(self._tail) < 9 + length:
                break
            octets, self._tail = self._tail[: 9 + length], self._tail[9 + length :]
            frame.parse_body(memoryview(octets[9:]))
            self.frames.append(frame)
            yield octets

    def _on(self, event: Any) -> None:
        got = None
        if (id_ := getattr(event, "stream_id", None)) in self.exchanges:
            got = self.exchanges[id_].got
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((event.last_stream_id, int(event.error_code)))
            # Promised streams go on after a GOAWAY, but h2 would refuse all further frames.
            if int(event.error_code) == 0:
                self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1
        elif got is None:
            pass
        elif isinstance(event, h2.events.InformationalResponseReceived):
            got.interim.append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, h2.events.ResponseReceived):
            got.version = "HTTP/2"
            got.status = int(dict(event.headers)[b":status"])
            got.headers = [(k, v) for k, v in event.headers if k[:1] != b":"]
        elif isinstance(event, h2.events.DataReceived):
            got.body += event.data
            if self.credit:
                self.acknowledge(event.flow_controlled_length, event.stream_id)
            else:
                self.exchanges[event.stream_id].owed += event.flow_controlled_length
        elif isinstance(event, h2.events.TrailersReceived):
            got.trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            got.complete = True
        elif isinstance(event, h2.events.StreamReset):
            got.reset = int(event.error_code)

    def acknowledge(self, size: int, stream: int) -> None:
        """Reopens the windows for `size` bytes; flush() sends the frames."""
        if size:
            self.h2.acknowledge_received_data(size, stream)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Reads until `condition()` is true or the connection ends."""
        while not condition():
            if not await self.fill():
                break

    async def ping(self) -> None:
        """Makes a round trip, after which the server has seen everything that was sent."""
        before = self.pongs
        self.h2.ping(b"roundtrp")
        await self.flush()
        await self.until(lambda: self.pongs > before)
        assert self.pongs > before, (self.ended, self.goaways)

    async def closed(self) -> str:
        """Waits for the end of the connection; returns "fin" or "rst"."""
        await self.until(lambda: self.ended)
        return self.ended


class H2Exchange(Exchange):
    """A stream of an H2 connection."""

    def __init__(self, client: H2, stream: int) -> None:
        self.client, self.id = client, stream
        self.got = Response()
        self.owed = 0  # bytes for which the window was not reopened

    @property
    def over(self) -> bool:
        """Whether the response is complete, reset or lost."""
        return self.got.complete or self.got.reset is not None or bool(self.client.ended)

    async def write(self, data: bytes, *, end: bool = False) -> None:
        conn = self.client.h2
        view = memoryview(data)
        while view:
            await self.client.until(
                lambda: self.over or conn.local_flow_control_window(self.id) > 0
            )
            if self.over:
                return
            size = min(
                len(view), conn.local_flow_control_window(self.id), conn.max_outbound_frame_size
            )
            conn.send_data(self.id, bytes(view[:size]))
            view = view[size:]
            await self.client.flush()
        if end:
            conn.end_stream(self.id)
            await self.client.flush()

    def credit(self) -> None:
        """Reopens the window for the bytes that were read."""
        self.client.acknowledge(self.owed, self.id)
        self.owed = 0

    async def head(self) -> Response:
        await self.client.until(lambda: self.got.status or self.over)
        return self.got

    async def body(self, size: int) -> Response:
        await self.client.until(lambda: len(self.got.body) >= size or self.over)
        return self.got

    async def response(self) -> Response:
        await self.client.until(lambda: self.over)
        return self.got

    async def give_up(self) -> None:
        self.client.h2.reset_stream(self.id, h2.errors.ErrorCodes.CANCEL)
        await self.client.flush()
