"""Properties of the engine, with arbitrary bytes as input; see test_properties.py.

Whatever a client or a server reads, only documented exceptions are raised, and the result does not
depend on how the bytes are cut. Header blocks are compared with the package `hpack`.
"""

from __future__ import annotations

import struct
from random import Random
from typing import Any

import hpack
import pytest
from exchange import Exchange, Fields, Peer, Session, told
from hypothesis import given
from hypothesis import strategies as st
from strategies import VALUES, Octets, cut, examples, exchanges, names

from cno import raw

# ---- whatever comes -----------------------------------------------------------------------------

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame (RFC 9113 section 4.1)."""
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + (struct.pack(">I", stream) + payload)
    )


def block(*lines: tuple[str, str]) -> bytes:
    octets: bytes = hpack.Encoder().encode(lines, huffman=False)
    return octets


HELLO = PREFACE + frame(4, 0, 0) + frame(4, 1, 0)
ASK = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "h")]
BLOCKS = st.sampled_from(
    [
        block(*ASK),
        block(*ASK, ("content-length", "3"), ("te", "trailers")),
        block((":status", "200")),
        block((":status", "103"), ("a", "b")),
        block(("a", "b")),
        block(*ASK)[:9],
        b"\x3f\xe1\x1f",
        b"\x80",
    ]
)
NUMBERS = st.sampled_from([0, 1, 2, 3, 5, 100, 65535, (1 << 31) - 1, (1 << 32) - 1])
PAYLOADS = st.one_of(
    BLOCKS,
    NUMBERS.map(lambda number: struct.pack(">I", number)),
    st.tuples(NUMBERS, BLOCKS).map(lambda made: struct.pack(">I", made[0]) + made[1]),
    st.tuples(st.integers(0, 9), NUMBERS).map(lambda made: struct.pack(">HI", *made)),
    st.tuples(NUMBERS, NUMBERS).map(lambda made: struct.pack(">II", *made)),
    st.binary(max_size=30),
    st.integers(0, 20000).map(bytes),
)
FRAMES = st.builds(
    frame,
    st.integers(0, 11),
    st.sampled_from([0, 1, 4, 5, 8, 12, 13, 0x20, 0x25, 0xFF]),
    st.sampled_from([0, 1, 1, 1, 2, 3, 3, 5, 7, 100, (1 << 31) - 1]),
    PAYLOADS,
)

WORDS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /x HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 103 E\r\n",
        b"HTTP/1.0 204 \r\n",
        b"Host: h\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"a:b\r\n",
        b" a\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"5\r\nhello\r\n",
        b"5;x=y\r\nhello\r\n",
        b"fffffffffffffffff\r\n",
        b"0\r\n",
        b"hello",
        b"x" * 9000,
        b"x: " + b"y" * 70000,
        PREFACE,
    ]
)


@st.composite
def streams_of_octets(draw: Any) -> tuple[bool, bool, bytes]:
    """The role (True: server), whether the version is HTTP/2, and the input."""
    server, http2 = draw(st.booleans()), draw(st.booleans())
    noise = st.binary(max_size=40)
    if http2:
        hello = HELLO if server else HELLO[len(PREFACE) :]
        head = draw(st.sampled_from([hello, hello, hello, hello, b"", PREFACE]))
        parts = draw(st.lists(st.one_of(FRAMES, FRAMES, FRAMES, noise), max_size=12))
    else:
        starts = WORDS.filter(lambda word: b" HTTP/" in word or word.startswith(b"HTTP/"))
        head = draw(st.one_of(starts, st.just(b"")))
        parts = draw(st.lists(st.one_of(WORDS, WORDS, WORDS, noise), max_size=12))
    octets = bytearray(b"".join([head, *parts]))
    for _ in range(draw(st.integers(0, 2))):
        if octets:
            octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 255))
    return server, http2, Octets(octets)


class Log(raw.Connection):
    """A connection that records its output and its events; adjacent chunks of a body are joined."""

    def __init__(self, *, server: bool, answers: bool) -> None:
        super().__init__(server=server)
        self.answers = answers
        self.log: list[Any] = []
        self.out = b""

    def on_writev(self, chunks: list[bytes]) -> None:
        self.out += b"".join(chunks)

    def on_message_data(self, stream: int, data: bytes) -> None:
        if self.log and self.log[-1][:2] == ["data", stream]:
            self.log[-1][2] += data
        else:
            self.log.append(["data", stream, data])

    def on_message_tail(self, stream: int, trailers: Any) -> None:
        self.log.append(["tail", stream, trailers])
        if self.answers:
            try:
                self.write_head(stream, 200, "", "", [], False)
                self.write_data(stream, b"hello", False)
                self.write_tail(stream, [("a", "b")])
            except (raw.StreamGone, raw.Disconnected):
                self.log.append(["gone"])


for _event in (
    "on_close on_stream_start on_stream_end on_flow_increase on_message_head on_message_push"
    " on_settings on_pong"
).split():
    setattr(Log, _event, lambda self, *told, _event=_event: self.log.append([_event, *told]))


def listen(server: bool, http2: bool, pieces: list[bytes], answers: bool) -> Log:
    """Feeds pieces and the end. Only documented exceptions are raised, and an ended connection
    stays so."""
    conn = Log(server=server, answers=answers and server)
    conn._engine.configure(enable_push=0 if server else 1)
    conn.connection_made(is_http2=http2)
    if not server:
        lead = [(":scheme", "http"), (":authority", "h")]
        conn.write_head(1, 0, "POST", "/", lead, False)
        if http2:
            conn.write_head(3, 0, "HEAD", "/", lead, True)
    try:
        for piece in pieces:
            conn.data_received(piece)
            while answers and not http2 and any(t[0] == "on_stream_end" for t in conn.log[-2:]):
                size = len(conn.log)
                conn.data_received(b"")
                if len(conn.log) == size:
                    break
    except raw.ProtocolError as error:
        conn.log.append(["fault", error.reason, error.wire, error.offset])
        for call in (lambda: conn.data_received(b"x"), lambda: conn.write_head(9, *LAST[server])):
            with pytest.raises(raw.Disconnected):
                call()
    except raw.Disconnected:
        assert ["on_close"] in conn.log
        conn.log.append(["over"])
    try:
        conn.connection_lost()
    except raw.ProtocolError as error:
        conn.log.append(["cut", error.reason])
    assert sum(conn._engine.conn.stream_count) == 0
    starts = [told[1] for told in conn.log if told[0] == "on_stream_start"]
    ends = [told[1] for told in conn.log if told[0] == "on_stream_end"]
    assert sorted(starts) == sorted(ends)
    assert len(set(starts)) == len(starts)
    assert sum(told == ["on_close"] for told in conn.log) <= 1
    return conn


LAST: dict[bool, tuple[int, str, str, Any, bool]] = {
    True: (200, "", "", [], True),
    False: (0, "GET", "/", [(":scheme", "http"), (":authority", "h")], True),
}


@examples(150)
@given(streams_of_octets(), st.integers(0, 1 << 32))
def test_whole_and_split_octets_mean_the_same(made: tuple[bool, bool, bytes], seed: int) -> None:
    server, http2, octets = made
    whole = listen(server, http2, [octets], False)
    split = listen(server, http2, cut(octets, Random(seed)), False)
    single = listen(
        server,
        http2,
        [octets[i : i + 1] for i in range(min(len(octets), 2000))] + [octets[2000:]],
        False,
    )
    for other in (split, single):
        assert [t for t in other.log if t != ["over"]] == [t for t in whole.log if t != ["over"]]
        assert other.out == whole.out


@examples(150)
@given(streams_of_octets(), st.integers(0, 1 << 32))
def test_whatever_comes_to_a_server_that_answers(made: tuple[bool, bool, bytes], seed: int) -> None:
    _, http2, octets = made
    listen(True, http2, cut(octets, Random(seed)), True)


@examples(40)
@given(
    st.booleans().flatmap(
        lambda http2: st.tuples(
            st.just(http2), st.lists(exchanges(http2, 300), min_size=1, max_size=3)
        )
    ),
    st.integers(0, 1 << 32),
)
def test_what_went_wrong_on_its_way(session: tuple[bool, list[Exchange]], seed: int) -> None:
    """Real exchanges with some bytes changed lead to an orderly end, for both roles."""
    http2, asked = session
    random = Random(seed)
    run = Session(http2=http2, random=random)
    sent: dict[bool, list[bytes]] = {True: [], False: []}

    def move(source: Peer, target: Peer) -> None:
        octets = bytes(source.out)
        source.out.clear()
        sent[target is run.server].append(octets)
        target.data_received(octets)

    run.move = move  # type: ignore[method-assign]
    run.begin({}, {})
    run.run(asked)
    for server, pieces in sent.items():
        octets = bytearray(b"".join(pieces))
        for _ in range(random.randint(1, 3)):
            place = random.randrange(len(octets))
            how = random.randrange(4)
            if how == 0:
                octets[place] = random.randrange(256)
            elif how == 1:
                octets[place] ^= 1 << random.randrange(8)
            elif how == 2:
                del octets[place : place + random.randint(1, 12)]
            else:
                octets[place:place] = octets[place - random.randint(0, 40) : place]
            if not octets:
                break
        listen(server, http2, cut(bytes(octets), random), True)


# ---- HPACK against another implementation -------------------------------------------------------

TABLES = st.sampled_from([0, 32, 40, 64, 100, 200, 1000, 4096])


@st.composite
def blocks(draw: Any) -> list[tuple[int | None, bool, Fields]]:
    """Lists of fields that share names and values, each with an optional change of the table's
    size."""
    pool = draw(st.lists(st.tuples(names(True), VALUES), min_size=1, max_size=8))
    lists = draw(st.lists(st.lists(st.sampled_from(pool), max_size=8), min_size=1, max_size=8))
    return [
        (draw(st.none() | TABLES), draw(st.booleans()), made[:8])
        for made in lists
        if sum(len(name) + len(value) + 32 for name, value in made) < 60000
    ]


LEAD: Fields = [(b":scheme", b"http"), (b":authority", b"h")]


def split_frames(octets: bytes) -> list[tuple[int, int, int, bytes]]:
    """Returns kind, flags, stream and payload of each frame."""
    made = []
    while octets:
        size = int.from_bytes(octets[:3], "big")
        stream = int.from_bytes(octets[5:9], "big")
        made.append((octets[3], octets[4], stream, octets[9 : 9 + size]))
        octets = octets[9 + size :]
    return made


@examples(50)
@given(blocks())
def test_hpack_out(made: list[tuple[int | None, bool, Fields]]) -> None:
    """`hpack` decodes the blocks of the engine, at any size of the table that it allows."""
    client = Peer(server=False)
    client.connection_made(is_http2=True)
    client.data_received(frame(4, 0, 0) + frame(4, 1, 0))
    decoder = hpack.Decoder(max_header_list_size=1 << 20)
    for size, _, fields_ in made:
        if size is not None:
            client.data_received(frame(4, 0, 0, struct.pack(">HI", 1, size)))
            decoder.max_allowed_table_size = size
        client.out.clear()
        client.write_head(client.next_stream, 0, "GET", "/", [*LEAD, *fields_], True)
        first, *rest = split_frames(bytes(client.out))
        assert first[0] == 1
        assert all(kind == 9 for kind, *_ in rest)
        assert [bool(flags & 4) for _, flags, *_ in (first, *rest)] == [False] * len(rest) + [True]
        octets = b"".join(payload for *_, payload in (first, *rest))
        decoded = [(bytes(n), bytes(v)) for n, v in decoder.decode(octets, raw=True)]
        assert decoded == [(b":method", b"GET"), (b":path", b"/"), *LEAD, *fields_]


@examples(50)
@given(blocks(), TABLES)
def test_hpack_in(made: list[tuple[int | None, bool, Fields]], ours: int) -> None:
    """The engine decodes the blocks of `hpack`, with a table of at most the allowed size."""
    server = Peer(server=True)
    server.configure({"header_table_size": ours, "max_frame_size": 1 << 20})
    server.connection_made(is_http2=True)
    server.data_received(HELLO)
    encoder = hpack.Encoder()
    encoder.header_table_size = ours
    stream = -1
    for size, huffman, fields_ in made:
        stream += 2
        if size is not None and min(size, ours) != encoder.header_table_size:
            encoder.header_table_size = min(size, ours)  # to the same one, it forgets the change
        lines = [(b":method", b"GET"), (b":path", b"/"), *LEAD]
        for name, value in fields_:
            secret = len(value) % 5 == 1
            lines.append(
                (hpack.NeverIndexedHeaderTuple if secret else hpack.HeaderTuple)(name, bytes(value))
            )
        octets = encoder.encode(lines, huffman=huffman)
        server.data_received(frame(1, 5, stream, octets))
        head = (0, "GET", "/", told([*LEAD, *fields_]))
        assert server.streams[stream].heads == [head]
        server.write_head(stream, 204, "", "", [], True)
    assert server.open == 0
