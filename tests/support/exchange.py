"""Two `cno.raw.Connection`s back to back.

One side writes messages, cut and ordered at random; the other side must report the same messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest.mock import ANY

from cno import raw
from cno.engine._libcno import lib

Fields = list[tuple[bytes, bytes]]

# The limit on the steps of one session. Windows of one byte need the most steps.
PATIENCE = 200_000


# ---- what is written ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """A message as a caller writes it. Without trailers and pieces it is only a head."""

    code: int = 0
    method: bytes = b""  # of a request; of a response, the reason phrase
    target: bytes = b""
    fields: Fields = field(default_factory=list)
    pieces: tuple[bytes, ...] = ()
    trailers: Fields | None = None
    interim: tuple[tuple[int, Fields], ...] = ()

    @property
    def whole(self) -> bool:
        return not self.pieces and self.trailers is None

    @property
    def sized(self) -> bool:
        return any(name.lower() == b"content-length" for name, _ in self.fields)


@dataclass(frozen=True)
class Push:
    """A request that the server promises, and its response."""

    request: Message
    response: Message


@dataclass(frozen=True)
class Exchange:
    request: Message
    response: Message
    pushes: tuple[Push, ...] = ()


class Writer:
    """Writes one message, one call of the engine per step."""

    def __init__(self, peer: Peer, stream: int, message: Message) -> None:
        self.peer, self.stream, self.message = peer, stream, message
        self.calls = self._calls()
        self.headed = False
        self.over = False
        self.left = sum(map(len, message.pieces))  # bytes of the body that the engine has not taken
        self.waits = False
        self.done = False

    def step(self) -> None:
        """Makes the next call. Sets `waits` while the engine does not take the head."""
        self.waits = False
        self.done = next(self.calls, None) is None

    def _calls(self) -> Iterator[bool]:
        message, peer, stream = self.message, self.peer, self.stream
        for code, fields in message.interim:
            peer.write_head(stream, code, "", "", fields, False)
            yield True
        while not self._head():
            yield True
        yield True
        for number, piece in enumerate(message.pieces):
            last = number == len(message.pieces) - 1 and message.trailers is None
            rest = piece
            while True:
                taken = peer.write_data(stream, rest, last)
                self.left -= taken
                self.over = last and taken == len(rest)
                rest = rest[taken:]
                yield True
                if not rest:
                    break
        if message.trailers is not None:
            peer.write_tail(stream, message.trailers)
            self.over = True
            yield True

    def _head(self) -> bool:
        message = self.message
        try:
            self.peer.head(self.stream, message, message.whole)
        except raw.WouldBlock:
            self.waits = True
        self.headed = not self.waits
        self.over = self.headed and message.whole
        return self.headed


# ---- what is reported ---------------------------------------------------------------------------


@dataclass
class Received:
    """Everything that one side has reported about a stream."""

    heads: list[tuple[int, str, str, list[tuple[str, str]]]] = field(default_factory=list)
    body: bytes = b""
    tails: list[list[tuple[str, str]] | None] = field(default_factory=list)
    promise: tuple[int, str, str, list[tuple[str, str]]] | None = None
    started: int = 0
    ended: int | None = None


class Peer(raw.Connection):
    """One side of a session."""

    def __init__(self, *, server: bool, manual: bool = False) -> None:
        super().__init__(server=server)
        self.streams: dict[int, Received] = {}
        self.asked: list[int] = []  # streams whose request head came
        self.held: dict[int, int] = {}  # bytes of the body that still count against the window
        self.out = bytearray()
        self.closes = 0
        self.events = 0
        self.manual = manual
        if manual:
            self._engine.conn.options |= lib.CNO_MANUAL_FLOW

    def configure(self, settings: dict[str, int]) -> None:
        self._engine.configure(**settings)
        self._tell()

    def give_back(self, stream: int, size: int) -> None:
        """With manual flow control: gives back the window for `size` bytes of a body."""
        self.held[stream] -= size
        if not self.held[stream]:
            del self.held[stream]
        self._engine.open_flow(stream, size)
        self._tell()

    def head(self, stream: int, message: Message, final: bool) -> None:
        """Calls write_head(), which takes method and target as bytes too."""
        method: Any = message.method
        target: Any = message.target
        self.write_head(stream, message.code, method, target, message.fields, final)

    def push(self, stream: int, message: Message) -> None:
        method: Any = message.method
        target: Any = message.target
        self.write_push(stream, method, target, message.fields)

    @property
    def open(self) -> int:
        """The number of streams in the engine."""
        return sum(self._engine.conn.stream_count)

    @property
    def kept(self) -> int:
        """The bytes of input that wait in the engine."""
        return int(getattr(self._engine.conn, "in").size)

    def on_settings(self) -> None:
        self.events += 1

    def on_flow_increase(self, stream: int) -> None:
        self.events += 1

    def on_writev(self, chunks: list[bytes]) -> None:
        self.out += b"".join(chunks)

    def on_close(self) -> None:
        self.closes += 1

    def on_stream_start(self, stream: int) -> None:
        self.events += 1
        self.streams.setdefault(stream, Received()).started += 1

    def on_stream_end(self, stream: int, code: int, side: int) -> None:
        self.events += 1
        assert self.streams[stream].ended is None
        self.streams[stream].ended = code

    def on_message_head(
        self, stream: int, code: int, method: str, path: str, headers: list[tuple[str, str]]
    ) -> None:
        received = self.streams[stream]
        assert not received.tails
        assert received.ended is None
        received.heads.append((code, method, path, headers))
        if not code:
            self.asked.append(stream)

    def on_message_data(self, stream: int, data: bytes) -> None:
        received = self.streams[stream]
        assert data
        assert not received.tails
        assert received.ended is None
        received.body += data
        if self.manual:
            self.held[stream] = self.held.get(stream, 0) + len(data)

    def on_message_tail(self, stream: int, trailers: list[tuple[str, str]] | None) -> None:
        assert self.streams[stream].ended is None
        self.streams[stream].tails.append(trailers)

    def on_message_push(
        self, stream: int, parent: int, method: str, path: str, headers: list[tuple[str, str]]
    ) -> None:
        assert self.streams[stream].promise is None
        self.streams[stream].promise = (parent, method, path, headers)


# ---- what should be reported --------------------------------------------------------------------


def text(octets: bytes) -> str:
    """Decodes bytes as `cno.raw` does: as UTF-8 if possible, else as Latin-1."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def told(fields: Fields) -> list[tuple[str, str]]:
    return [(text(name), text(value)) for name, value in fields]


def has_body(message: Message, method: bytes) -> bool:
    """Whether the message has a body on the wire. A 205 has none (RFC 9110 section 15.3.6)."""
    return not message.code or not (message.code in (204, 205, 304) or method == b"HEAD")


def expected_fields(message: Message, method: bytes, http2: bool) -> list[tuple[str, str]]:
    """Returns the fields of a head as the other side reports them."""
    fields = message.fields
    if message.code in (
        204,
        205,
    ):  # RFC 9110 section 8.6: a 204 has no content-length, and that of a 205 is 0
        fields = [(name, value) for name, value in fields if name.lower() != b"content-length"]
    if http2:
        return told(fields)
    fields = [(name.lower(), value) for name, value in fields]
    if not message.code:
        host = dict(fields)[b":authority"]
        fields = [(n, v) for n, v in fields if not n.startswith(b":")]
        fields = [(b":scheme", b"unknown"), (b":authority", host), *fields]
    # RFC 9110 section 8.6: an empty body has a content-length where a body could have been.
    wants = method in (b"POST", b"PUT", b"PATCH") if not message.code else has_body(message, method)
    nothing = message.whole and wants and not message.sized
    if nothing or (message.code == 205 and method != b"HEAD"):
        fields = [*fields, (b"content-length", b"0")]
    return told(fields)


def expected(message: Message, method: bytes, http2: bool) -> Received:
    """Returns the report that the other side has to make of a message.

    `method` is the method of the request that the message makes or answers.
    """
    received = Received(started=1, ended=0)
    for code, fields in message.interim:
        names = fields if http2 else [(name.lower(), value) for name, value in fields]
        received.heads.append((code, "" if http2 else ANY, "", told(names)))
    start = text(message.method)
    if message.code:  # without a reason phrase the engine chooses one
        start = "" if http2 else start or ANY
    received.heads.append(
        (message.code, start, text(message.target), expected_fields(message, method, http2))
    )
    tail: list[tuple[str, str]] | None = None
    if has_body(message, method):
        received.body = b"".join(message.pieces)
        if http2:
            tail = told(message.trailers) if message.trailers else None
        elif not message.whole and not message.sized:
            tail = told([(name.lower(), value) for name, value in message.trailers or []])
    received.tails.append(tail)
    return received


# ---- a session ----------------------------------------------------------------------------------


class Session:
    """Exchanges between two peers, in an order that `random` picks."""

    def __init__(self, *, http2: bool, random: Random, manual: bool = False) -> None:
        self.http2, self.random = http2, random
        self.client = Peer(server=False, manual=manual and random.random() < 0.5)
        self.server = Peer(server=True, manual=manual)
        self.written: dict[int, tuple[Message, Message]] = {}  # by stream: request, response
        self.promised: dict[int, tuple[int, Push]] = {}  # by stream: the parent stream and the push
        self.writers: list[Writer] = []
        self.answered = 0  # how many requests of server.asked the server has begun to answer

    def begin(self, client: dict[str, int], server: dict[str, int]) -> None:
        self.client.configure(client)
        self.server.configure(server)
        self.client.connection_made(is_http2=self.http2)
        self.server.connection_made(is_http2=self.http2)
        # The server refuses requests above a limit, so the client must know the limit first.
        while self.client.out or self.server.out:
            for source, target in ((self.client, self.server), (self.server, self.client)):
                if source.out:
                    self.move(source, target)

    def move(self, source: Peer, target: Peer) -> None:
        """Moves a random number of bytes from one side to the other."""
        size = self.random.choice(
            (1, self.random.randint(1, 30), self.random.randint(1, 3000), len(source.out))
        )
        octets = bytes(source.out[:size])
        del source.out[:size]
        target.data_received(octets)

    def ask(self, exchange: Exchange) -> bool:
        """Begins a request on a stream of its own; returns False if the client has to wait."""
        stream = self.client.next_stream
        writer = Writer(self.client, stream, exchange.request)
        writer.step()
        if writer.waits:
            return False
        self.written[stream] = (exchange.request, exchange.response)
        self.writers.append(writer)
        return True

    def asked_method(self, stream: int) -> bytes:
        """Returns the method of the request on a stream."""
        if stream in self.promised:
            return self.promised[stream][1].request.method
        return self.written[stream][0].method

    def answer(self, exchanges: dict[int, Exchange]) -> None:
        """Begins to answer the requests that have arrived."""
        while self.answered < len(self.server.asked):
            stream = self.server.asked[self.answered]
            self.answered += 1
            if stream in self.promised:
                continue
            exchange = exchanges[stream]
            for push in exchange.pushes:
                promised = self.server.next_stream
                self.promised[promised] = (stream, push)
                self.server.push(stream, push.request)
                if self.server.next_stream == promised:
                    del self.promised[promised]  # the client does not want pushes
                else:
                    self.writers.append(Writer(self.server, promised, push.response))
            self.writers.append(Writer(self.server, stream, exchange.response))

    def run(self, exchanges: list[Exchange], between: Any = None, often: float = 0.05) -> None:
        """Runs the session until nothing is left to do. Calls `between` from time to time."""
        todo = list(exchanges)
        by_stream: dict[int, Exchange] = {}
        client, server, random = self.client, self.server, self.random
        for _ in range(PATIENCE):
            choices: list[Any] = []
            if todo and (self.http2 or not client.open):
                choices.append("ask")
            if client.out:
                choices.append((client, server))
            elif server.kept and not self.http2:
                choices.append((client, server))  # input that the engine has kept back
            if server.out:
                choices.append((server, client))
            choices += [peer for peer in (client, server) if peer.held]
            choices += self.writers
            if not choices:
                break
            choice = random.choice(choices)
            if choice == "ask":
                stream = client.next_stream
                if self.ask(todo[0]):
                    by_stream[stream] = todo.pop(0)
            elif isinstance(choice, Writer):
                choice.step()
                if choice.done:
                    self.writers.remove(choice)
            elif isinstance(choice, Peer):
                stream, held = random.choice(list(choice.held.items()))
                choice.give_back(stream, random.randint(1, held))
            else:
                self.move(*choice)
                self.answer(by_stream)
            if between is not None and random.random() < often:
                between(self)
        else:
            raise AssertionError("the exchange does not end")
        assert not todo

    def check(self) -> None:
        """Checks that each side has reported the messages of the other, and nothing is left."""
        for stream, (request, response) in self.written.items():
            assert self.server.streams[stream] == expected(request, request.method, self.http2)
            assert self.client.streams[stream] == expected(response, request.method, self.http2)
        for stream, (parent, push) in self.promised.items():
            asked, method = push.request, push.request.method
            want = expected(push.response, method, True)
            want.promise = (parent, text(method), text(asked.target), told(asked.fields))
            assert self.client.streams[stream] == want
            own = self.server.streams[stream]
            assert (own.started, own.ended) == (1, 0)
        streams = len(self.written) + len(self.promised)
        for peer in (self.client, self.server):
            assert len(peer.streams) == streams
            assert peer.open == 0
            assert peer.kept == 0
            assert peer.closes == 0
            peer.connection_lost()
            assert peer.closes == 1
