"""Servers at the level of sockets: a test says what each of them says, and when.

They share no code with the engine: HTTP/1 is octets, HTTP/2 is made and read by the `h2` package.
They read only when they are asked to, so that back-pressure is in the hands of the test.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from peer import Peer
from wire import H1, H2, Fields, Secure, Wire, soon

import cno

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Asked:
    """A request as a server sees it, and what it answers."""

    def __init__(self) -> None:
        self.method = ""
        self.target = ""
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.complete = False
        self.trailers: list[tuple[str, str]] = []
        self.reset: int | None = None  # h2: the code of RST_STREAM

    def one(self, name: str) -> str | None:
        """The value of a field that is there at most once."""
        values = [v for k, v in self.headers if k == name]
        assert len(values) < 2, self.headers
        return values[0] if values else None

    async def received(self, size: int) -> None:
        """Reads until that many octets of the body have come."""
        raise NotImplementedError

    async def whole(self) -> bytes:
        """The whole body."""
        raise NotImplementedError

    async def head(self, status: int = 200, fields: Fields = (), *, end: bool = False) -> None:
        """A response head. Of an HTTP/1 response without content-length the body is chunked."""
        raise NotImplementedError

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """A part of the body, as the window allows."""
        raise NotImplementedError

    async def tail(self, fields: Fields) -> None:
        """Ends the response with trailers."""
        raise NotImplementedError

    async def respond(self, status: int = 200, body: bytes = b"", fields: Fields = ()) -> None:
        """A whole response with a length."""
        fields = [*fields, ("content-length", str(len(body)))]
        await self.head(status, fields, end=not body)
        if body:
            await self.write(body, end=True)


# ---- HTTP/1 -------------------------------------------------------------------------------------


class H1Server(H1):
    """HTTP/1.1, one exchange at a time."""

    async def request(self) -> "H1Asked":
        """The head of the next request."""
        asked = H1Asked(self)
        line = await self.line()
        assert line is not None, "no request"
        asked.method, asked.target, version = line.decode("latin-1").split(" ")
        assert version == "HTTP/1.1"
        asked.headers = await self.fields()
        return asked

    async def fields(self) -> list[tuple[str, str]]:
        """Fields up to the empty line."""
        fields = []
        while line := await self.line():
            name, value = line.decode("latin-1").split(":", 1)
            fields.append((name.lower(), value.strip(" \t")))
        assert line is not None, "cut"
        return fields


class H1Asked(Asked):
    """A request on an H1Server."""

    def __init__(self, server: H1Server) -> None:
        super().__init__()
        self.server = server
        self._chunked = False

    async def received(self, size: int) -> None:
        while len(self.body) < size and not self.complete:
            await self._piece()

    async def whole(self) -> bytes:
        while not self.complete:
            await self._piece()
        return bytes(self.body)

    async def _piece(self) -> None:
        length, server = self.one("content-length"), self.server
        if self.one("transfer-encoding") == "chunked":
            assert length is None
            line = await server.line()
            assert line is not None, "cut"
            left = int(line, 16)
            if not left:
                self.trailers = await server.fields()
                self.complete = True
                return
            self.body += await self._exactly(left)
            assert await server.line() == b""
            return
        left = int(length or 0) - len(self.body)
        if left and not server.buffer:
            assert await server.fill(), "cut"
        self.body += server.buffer[:left]
        del server.buffer[:left]
        self.complete = len(self.body) == int(length or 0)

    async def _exactly(self, size: int) -> bytes:
        while len(self.server.buffer) < size:
            assert await self.server.fill(), "cut"
        data = bytes(self.server.buffer[:size])
        del self.server.buffer[:size]
        return data

    async def head(self, status: int = 200, fields: Fields = (), *, end: bool = False) -> None:
        fields = list(fields)
        final = status >= 200
        if final and not end and "content-length" not in [name for name, _ in fields]:
            self._chunked = True
            fields.append(("transfer-encoding", "chunked"))
        text = f"HTTP/1.1 {status} Because\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields)
        await self.server.wire.send(text.encode("latin-1") + b"\r\n")

    async def write(self, data: bytes, *, end: bool = False) -> None:
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            data += b"0\r\n\r\n" if end else b""
        await self.server.wire.send(data)

    async def tail(self, fields: Fields) -> None:
        text = "0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields) + "\r\n"
        await self.server.wire.send(text.encode("latin-1"))


# ---- HTTP/2 -------------------------------------------------------------------------------------


class H2Server(H2):
    """HTTP/2. Without `credit`, the windows of uploads are left to close."""

    exchanges: dict[int, "H2Asked"]  # type: ignore[assignment]

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        config = h2.config.H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.pushed_back: list[int] = []  # streams of promises that were reset
        self.pushed_back_codes: list[int] = []  # and the codes they were reset with
        self._given = 0
        self._prefaced = False

    async def settings(self, **values: int) -> None:
        """Other settings, by the names of RFC 9113 section 6.5.2 in lower case."""
        codes = h2.settings.SettingCodes
        self.h2.update_settings({getattr(codes, k.upper()): v for k, v in values.items()})
        await self.flush()

    async def request(self) -> "H2Asked":
        """The head of the next request."""
        self._given += 1
        await self.until(lambda: len(self.exchanges) >= self._given)
        assert len(self.exchanges) >= self._given, "no request"
        return list(self.exchanges.values())[self._given - 1]

    @property
    def requests(self) -> int:
        """How many have come that request() did not give yet."""
        return len(self.exchanges) - self._given

    def _split(self, data: bytes) -> Iterator[bytes]:
        self._tail += data
        if not self._prefaced:
            if len(self._tail) < len(PREFACE):
                return
            assert self._tail.startswith(PREFACE)
            self._tail = self._tail[len(PREFACE) :]
            self._prefaced = True
            yield PREFACE
        yield from super()._split(b"")

    def _on(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            asked = self.exchanges[event.stream_id] = H2Asked(self, event.stream_id)
            fields = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in event.headers]
            asked.method = dict(fields).get(":method", "")
            asked.target = dict(fields).get(":path", "")
            asked.headers = [(k, v) for k, v in fields if k not in (":method", ":path")]
            return
        asked_of = self.exchanges.get(getattr(event, "stream_id", 0))
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((event.last_stream_id, int(event.error_code)))
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1
        elif isinstance(event, h2.events.StreamReset) and asked_of is None:
            self.pushed_back.append(event.stream_id)
            self.pushed_back_codes.append(int(event.error_code))
        elif asked_of is None:
            pass
        elif isinstance(event, h2.events.DataReceived):
            asked_of.body += event.data
            if self.credit:
                self.acknowledge(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            asked_of.trailers = [
                (k.decode("latin-1"), v.decode("latin-1")) for k, v in event.headers
            ]
        elif isinstance(event, h2.events.StreamEnded):
            asked_of.complete = True
        elif isinstance(event, h2.events.StreamReset):
            asked_of.reset = int(event.error_code)


class H2Asked(Asked):
    """A stream of an H2Server."""

    def __init__(self, server: H2Server, stream: int) -> None:
        super().__init__()
        self.server, self.id = server, stream

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.complete or self.reset is not None or bool(self.server.ended)

    async def received(self, size: int) -> None:
        await self.server.until(lambda: len(self.body) >= size or self.over)

    async def whole(self) -> bytes:
        await self.server.until(lambda: self.over)
        assert self.complete, (self.reset, self.server.ended)
        return bytes(self.body)

    async def is_reset(self) -> int | None:
        """The code with which the client gives up."""
        await self.server.until(lambda: self.reset is not None)
        return self.reset

    async def head(self, status: int = 200, fields: Fields = (), *, end: bool = False) -> None:
        pairs = [(":status", str(status)), *fields]
        octets = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in pairs]
        self.server.h2.send_headers(self.id, octets, end_stream=end)
        await self.server.flush()

    async def write(self, data: bytes, *, end: bool = False) -> None:
        conn, view = self.server.h2, memoryview(data)
        while view:
            await self.server.until(
                lambda: self.reset is not None or conn.local_flow_control_window(self.id) > 0
            )
            assert self.reset is None, self.reset
            room = min(conn.local_flow_control_window(self.id), conn.max_outbound_frame_size)
            conn.send_data(self.id, bytes(view[:room]))
            view = view[room:]
            await self.server.flush()
        if end:
            conn.end_stream(self.id)
            await self.server.flush()

    async def fill_window(self) -> int:
        """Writes as much as the client lets in; returns how much that was."""
        conn, size = self.server.h2, 0
        await self.server.ping()
        while room := conn.local_flow_control_window(self.id):
            conn.send_data(self.id, bytes(min(room, conn.max_outbound_frame_size)))
            size += min(room, conn.max_outbound_frame_size)
            await self.server.flush()
        await self.server.ping()
        return size

    async def tail(self, fields: Fields) -> None:
        octets = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in fields]
        self.server.h2.send_headers(self.id, octets, end_stream=True)
        await self.server.flush()

    async def give_up(self, code: int) -> None:
        """RST_STREAM."""
        self.server.h2.reset_stream(self.id, code)
        await self.server.flush()

    async def promise(
        self, path: str, fields: Fields = (), *, scheme: str = "http", authority: str | None = None
    ) -> "H2Asked":
        """PUSH_PROMISE; the promised request can be answered like any other. Its authority is that
        of this request unless another is given."""
        conn = self.server.h2
        stream = conn.get_next_available_stream_id()
        if authority is None:
            authority = next(v for k, v in self.headers if k == ":authority")
        pseudo = [(":method", "GET"), (":scheme", scheme), (":authority", authority)]
        pairs = [*pseudo, (":path", path), *fields]
        octets = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in pairs]
        conn.push_stream(self.id, stream, octets)
        await self.server.flush()
        return H2Asked(self.server, stream)


# ---- the stage ----------------------------------------------------------------------------------


class Stage(Peer):
    """Listens, and has cno.Client connect to what a test scripts."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.listener: socket.socket | None = None
        self.tls: ssl.SSLContext | None = None
        self.ours: list[cno.Client] = []
        self.theirs: list[Any] = []

    @property
    def authority(self) -> str:
        """host:port of the listener."""
        assert self.listener is not None
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def listen(self, tls: ssl.SSLContext | None = None, family: int = socket.AF_INET) -> str:
        """Opens the listener; returns its authority."""
        self.tls = tls
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setblocking(False)
        self.listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        self.listener.listen(100)
        return self.authority

    async def accept(self, *, begin: bool = True, buffer: int | None = None) -> Any:
        """The next connection: an H1Server or an H2Server, as ALPN chose if there is TLS.
        `buffer` is the size of its socket's receive buffer."""
        assert self.listener is not None
        loop = asyncio.get_running_loop()
        sock, _ = await soon(loop.sock_accept(self.listener))
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        wire, version = Wire(sock), self.version
        if self.tls is not None:
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await soon(
                loop.connect_accepted_socket(lambda: protocol, sock, ssl=self.tls)
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            wire = Secure(sock, reader, writer)
            chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
            version = "h2" if chosen == "h2" else "h1"
        server = H2Server(wire) if version == "h2" else H1Server(wire)
        self.theirs.append(server)
        if begin:
            await server.begin()
        return server

    def make(self, loop: Any = None, **options: Any) -> cno.Client:
        """A client without a transport."""
        loop = loop or asyncio.get_running_loop()
        options.setdefault("force_http2", self.version == "h2")
        client = cno.Client(loop, authority=self.authority, scheme="http", **options)
        self.ours.append(client)
        return client

    async def meet(self, loop: Any = None, *, begin: bool = True, **options: Any) -> Any:
        """A client, and the server that it has connected to."""
        if self.listener is None:
            self.listen()
        assert self.listener is not None
        client = self.make(loop, **options)
        host, port = self.listener.getsockname()
        await soon(asyncio.get_running_loop().create_connection(lambda: client, host, port))
        return client, await self.accept(begin=begin)

    async def leave(self, *, force: bool = False) -> None:
        """Every connection ends, and says so."""
        for server in self.theirs:
            server.close()
        for client in self.ours:
            client.close()
            if client._transport is not None:
                await soon(client.wait_closed())
        if self.listener is not None:
            self.listener.close()
        await soon(self._stack.aclose())


# ---- time ---------------------------------------------------------------------------------------


class Clock:
    """An event loop whose time is the test's."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = 1000.0
        self._timers: list[_Timer] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> "_Timer":
        return self.call_at(self._now + delay, callback, *args)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> "_Timer":
        timer = _Timer(when, callback, args)
        self._timers.append(timer)
        return timer

    def pass_by(self, seconds: float) -> None:
        """Time goes by; what was to happen meanwhile happens."""
        end = self._now + seconds
        while True:
            self._timers = [timer for timer in self._timers if not timer.cancelled]
            due = [timer for timer in self._timers if timer.when <= end]
            if not due:
                break
            timer = min(due, key=lambda timer: timer.when)
            timer.cancelled = True
            self._now = max(self._now, timer.when)
            timer.callback(*timer.args)
        self._now = end


class _Timer:
    def __init__(self, when: float, callback: Callable[..., Any], args: Any) -> None:
        self.when, self.callback, self.args = when, callback, args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
