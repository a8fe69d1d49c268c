"""Properties of the engine, with examples of hypothesis: each side reports the messages that the
other
side writes, and illegal messages are not written.

By default the examples are few, and the same each time. A long run with new examples:

    CNO_EXAMPLES=20000 pytest tests/engine/test_properties*.py --timeout 0
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from exchange import Exchange, Fields, Message, Peer, Session, Writer, expected, has_body, text
from hypothesis import given
from hypothesis import strategies as st
from strategies import BARRED, UPPER, bodies, cut, examples, exchanges

from cno import raw

SCHEME, AUTHORITY = (b":scheme", b"http"), (b":authority", b"h")

# ---- what one writes the other reports ----------------------------------------------------------

WINDOWS = st.sampled_from([1, 2, 7, 100, 16384, 65535, 1 << 20, (1 << 31) - 1])


@st.composite
def our_settings(draw: Any) -> dict[str, int]:
    return {
        "header_table_size": draw(st.sampled_from([0, 40, 64, 200, 4096, 65536])),
        "max_concurrent_streams": draw(st.integers(1, 100)),
        "initial_window_size": draw(WINDOWS),
        "max_frame_size": draw(st.sampled_from([16384, 16385, 30000, (1 << 24) - 1])),
    }


@st.composite
def http2_sessions(draw: Any) -> tuple[Any, ...]:
    client, server = draw(our_settings()), draw(our_settings())
    client["enable_push"] = draw(st.integers(0, 1))
    later = draw(st.lists(our_settings(), max_size=2))
    least = min(s["initial_window_size"] for s in (client, server, *later))
    most = 40 if least < 100 else 2000 if least < 16384 else 70000
    asked = draw(st.lists(exchanges(True, most), min_size=1, max_size=6))
    return client, server, later, asked, draw(st.booleans()), draw(st.integers(0, 1 << 32))


@examples(50)
@given(http2_sessions())
def test_http2_exchanges(session: tuple[Any, ...]) -> None:
    """Exchanges of HTTP/2 run side by side, with pushes, any windows, frame and table sizes."""
    client, server, later, asked, manual, seed = session
    random = Random(seed)
    run = Session(http2=True, random=random, manual=manual)
    run.begin(client, server)

    def change(run: Session) -> None:
        if later and not run.server.out and not run.client.out:
            peer = random.choice((run.client, run.server))
            peer.configure({**later.pop(), "enable_push": client["enable_push"]})

    run.run(asked, change)
    run.check()


@examples(60)
@given(st.lists(exchanges(False), min_size=1, max_size=4), st.integers(0, 1 << 32))
def test_http1_exchanges(asked: list[Exchange], seed: int) -> None:
    """Exchanges of HTTP/1 follow each other on one connection."""
    run = Session(http2=False, random=Random(seed))
    run.begin({}, {})
    run.run(asked)
    run.check()


@examples(40)
@given(st.lists(exchanges(False, 2000), min_size=2, max_size=6), st.integers(0, 1 << 32))
def test_http1_pipelining(asked: list[Exchange], seed: int) -> None:
    """Pipelined requests are answered one by one, each with its own body."""
    random = Random(seed)
    server = Peer(server=True)
    server.connection_made()
    clients, octets = [], b""
    for exchange in asked:
        client = Peer(server=False)
        client.connection_made()
        writer = Writer(client, 1, exchange.request)
        while not writer.done:
            writer.step()
        octets += client.out
        clients.append(client)
    answers = [b""] * len(asked)
    writers: list[tuple[int, Writer]] = []
    begun = 0
    while octets or writers or server.kept:
        if writers and random.random() < 0.5:
            number, writer = writers[0]
            writer.step()
            answers[number] += bytes(server.out)
            server.out.clear()
            if writer.done:
                writers.pop(0)
        else:
            size = random.choice((1, random.randint(1, 100), len(octets)))
            server.data_received(octets[:size])
            octets = octets[size:]
        assert not server.out
        while begun < len(server.asked):
            assert server.asked[begun] == 2 * begun + 1
            writers.append((begun, Writer(server, 2 * begun + 1, asked[begun].response)))
            begun += 1
            assert server.open == 1
    for number, (exchange, client) in enumerate(zip(asked, clients, strict=True)):
        for piece in cut(answers[number], random):
            client.data_received(piece)
        method = exchange.request.method
        assert server.streams[2 * number + 1] == expected(exchange.request, method, False)
        assert client.streams[1] == expected(exchange.response, method, False)
        assert client.open == 0
    assert server.open == 0


def shuttle(client: Peer, server: Peer, random: Random) -> None:
    """All output arrives, cut into pieces of any size, and kept input is parsed in time."""
    while client.out or server.out:
        for source, target in random.sample([(client, server), (server, client)], 2):
            size = random.choice((1, random.randint(1, 100), len(source.out)))
            octets = bytes(source.out[:size])
            del source.out[:size]
            if octets:
                target.data_received(octets)


TUNNELS = {  # by version: the request for a tunnel, and the response that grants it
    False: [
        (b"CONNECT", b"h:1", [], 200, []),
        (b"CONNECT", b"h:1", [(b":authority", b"h:1")], 299, [(b"content-length", b"3")]),
        (b"CONNECT", b"", [(b":authority", b"h:1")], 204, []),
        (b"GET", b"/", [SCHEME, AUTHORITY, (b"upgrade", b"x")], 101, [(b"upgrade", b"x")]),
    ],
    True: [
        (b"CONNECT", b"h:1", [], 200, []),
        (b"CONNECT", b"", [(b":authority", b"[::1]:80")], 201, [(b"content-length", b"3")]),
        (b"CONNECT", b"/", [SCHEME, AUTHORITY, (b":protocol", b"x")], 200, []),
    ],
}


@examples(60)
@given(
    st.booleans().flatmap(lambda http2: st.tuples(st.just(http2), st.sampled_from(TUNNELS[http2]))),
    st.tuples(bodies(2000), bodies(2000)),
    st.sampled_from(["granted", "refused", "refused with content"]),
    st.integers(0, 1 << 32),
)
def test_tunnels(how: tuple[bool, Any], octets: tuple[Any, Any], answer: str, seed: int) -> None:
    """A tunnel has data without framing; a tunnel that is not granted is an ordinary exchange."""
    http2, (method, target, lead, code, with_it) = how
    random = Random(seed)
    client, server = Peer(server=False), Peer(server=True)
    server.configure({"enable_connect_protocol": 1})
    client.connection_made(is_http2=http2)
    server.connection_made(is_http2=http2, offer_upgrade=True)
    shuttle(client, server, random)
    asks = Message(method=method, target=target, fields=lead)
    client.head(1, asks, False)
    if not http2:
        with pytest.raises(raw.WouldBlock):
            client.write_data(1, b"x", False)
    shuttle(client, server, random)
    asked, told = server.streams[1], client.streams[1]
    assert [head[1] for head in asked.heads] == [text(method)]
    assert (asked.body, asked.tails) == (b"", [])
    if answer != "granted":
        no = Message(code=403, pieces=(b"no",) if "content" in answer else ())
        writer = Writer(server, 1, no)
        while not writer.done:
            writer.step()
        shuttle(client, server, random)
        assert told == expected(no, method, http2)
        assert (asked.tails, asked.ended) == ([None], 0)
        assert (client.open, server.open) == (0, 0)
        assert server.closes == (not http2 and method == b"CONNECT")
        return
    server.head(1, Message(code=code, fields=with_it), False)
    shuttle(client, server, random)
    ways = [(client, list(octets[0])), (server, list(octets[1]))]
    while ways := [way for way in ways if way[1]]:
        peer, pieces = random.choice(ways)
        piece = pieces.pop(0)
        assert peer.write_data(1, piece, False) == len(piece)
        if random.random() < 0.5:
            shuttle(client, server, random)
    shuttle(client, server, random)
    assert asked.body == b"".join(octets[0])
    assert told.body == b"".join(octets[1])
    assert (asked.tails, told.tails) == ([], [])
    first, last = random.sample([client, server], 2)
    first.write_data(1, b"", True)
    shuttle(client, server, random)
    if http2:
        assert first.streams[1].ended is None
        assert last.write_data(1, b"", True) == 0
        shuttle(client, server, random)
        assert (client.closes, server.closes) == (0, 0)
    else:  # the end of the connection is the end of the tunnel
        assert first.closes == 1
    last.connection_lost()
    assert (asked.ended, told.ended) == (0, 0)
    assert last.streams[1].tails == [None]
    assert (client.open, server.open) == (0, 0)


# ---- what must not be written -------------------------------------------------------------------

NOT_IN_VALUES = bytes([*range(9), *range(10, 32), 127])
BAD_LENGTHS = (b"", b"x", b"+1", b"-1", b"1,1", b" 1", b"1.0", b"0x1", b"9" * 30)
# Requests that both versions forbid: tunnels to nowhere or with a body, two hosts.
BAD_REQUESTS: list[tuple[bytes, bytes, Fields]] = [
    (b"CONNECT", b"h", [(b":authority", b"h")]),
    (b"CONNECT", b"h:", []),
    (b"CONNECT", b"h:1", [(b":authority", b"h:2")]),
    (b"CONNECT", b"h:1", [(b"content-length", b"1")]),
    (
        b"CONNECT",
        b"/",
        [SCHEME, (b":authority", b"h:1"), (b":protocol", b"a"), (b":protocol", b"b")],
    ),
    (b"CONNECT", b"/", [SCHEME, (b":authority", b"h:1"), (b":protocol", b"websocket")]),
    (b"GET", b"/", [SCHEME, AUTHORITY, (b":protocol", b"websocket")]),
    (b"GET", b"/", [SCHEME, SCHEME, AUTHORITY]),
    (b"GET", b"/", [SCHEME, AUTHORITY, AUTHORITY]),
    (b"GET", b"/", [SCHEME, AUTHORITY, (b"host", b"h"), (b"host", b"h")]),
]

# RFC 9113 section 8.3.1: the rules of HTTP/2 for target, scheme and authority.
BAD_REQUESTS_H2: list[tuple[bytes, bytes, Fields]] = [
    (b"GET", b"x", [SCHEME, AUTHORITY]),
    (b"GET", b"*", [SCHEME, AUTHORITY]),
    (b"GET", b"http://h/", [SCHEME, AUTHORITY]),
    (b"GET", b"/", [AUTHORITY]),
    (b"GET", b"/", [(b":scheme", b""), AUTHORITY]),
    (b"GET", b"/", [(b":scheme", b"1http"), AUTHORITY]),
    (b"GET", b"/", [SCHEME]),
    (b"GET", b"/", [SCHEME, (b":authority", b"")]),
    (b"GET", b"/", [SCHEME, (b":authority", b"u@h")]),
    (b"GET", b"/", [SCHEME, (b":authority", b"h:x")]),
]

# RFC 9113 section 6.5.2.
BAD_SETTINGS = [
    {"enable_push": 2},
    {"initial_window_size": 1 << 31},
    {"max_frame_size": 16383},
    {"max_frame_size": 1 << 24},
    {"enable_connect_protocol": 2},
    {"no_rfc7540_priorities": 2},
]


def bad_field(random: Random, http2: bool) -> tuple[bytes, bytes]:
    """A field that both versions forbid."""
    other = bytes(c for c in range(256) if c not in UPPER)
    if http2:
        other += b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    name = random.choice([b"", b"a" + bytes([random.choice(other)]), b"a\r\nb", b"a b", b"a:b"])
    octet = bytes([random.choice(NOT_IN_VALUES)])
    value = random.choice([b"a" + octet, octet, octet + b"a", b" a", b"a ", b"\ta", b"a\r\nb: c"])
    length = (b"content-length", random.choice(BAD_LENGTHS))
    return random.choice([(name, b"x"), (b"x", value), length])


def bad_head(random: Random, http2: bool, request: bool, head: bool = False) -> tuple[Any, ...]:
    """Arguments of write_head, behind the stream, that are refused. `head`: even in answers to
    HEAD."""
    lead = [(b":scheme", b"http"), (b":authority", b"h")] if request else []
    fine = (0, b"GET", b"/", lead) if request else (200, b"", b"", [])
    code, method, target, _ = fine
    after = bad_field(random, http2)
    made = [
        (*fine[:3], [*lead, after], True),
        (*fine[:3], [*lead, (b"a", b"b"), after], False),
        (*fine[:3], [*lead, (b"content-length", b"1"), (b"content-length", b"2")], False),
        (*fine[:3], [*lead, *[(b"a", b"b")] * 300], False),
    ]
    if not head:
        made.append((*fine[:3], [*lead, (b"content-length", b"1")], True))
    if request:
        bad = bytes([random.choice([*range(0x21), ord("#"), *range(0x7F, 0x100)])])
        made += [
            (0, random.choice([b"", b"G T", b"G\r\n", b"\xff"]), target, lead, True),
            (0, method, random.choice([b"", b"/" + bad, bad, b"/ HTTP/1.1\r\na: b"]), lead, True),
            (200, b"", b"", [], True),
            (0, *random.choice(BAD_REQUESTS), random.random() < 0.5),
        ]
        if http2:
            made.append((0, *random.choice(BAD_REQUESTS_H2), random.random() < 0.5))
            made.append((0, method, target, [*lead, (b":status", b"200")], True))
        else:  # a request for a tunnel has no body
            asked = [*lead, (b"upgrade", b"x"), (b"content-length", b"1")]
            made.append((*fine[:3], asked, False))
    else:
        made += [(c, b"", b"", [], False) for c in (0, 1, 99, 101, 1000, -1)]
        made += [(c, b"", b"", [], True) for c in (100, 103)]
        made.append((code, b"", b"", [(b":status", b"200")], True))
        if not http2:
            made.append((code, b"a\r\nb", b"", [], True))
    choice: tuple[Any, ...] = random.choice(made)
    return choice


def abuse(run: Session) -> None:
    """Calls that the contract forbids are refused, and change nothing."""
    random = run.random
    peer = random.choice((run.client, run.server))
    before = bytes(peer.out), peer.events, peer.next_stream, peer.open
    mine = [w for w in run.writers if w.peer is peer and not w.done]
    calls: list[Any] = []
    if peer is run.client:
        head = bad_head(random, run.http2, True)
        calls.append((peer.write_head, peer.next_stream, *head))
    elif run.http2:
        bad = [(b"POST", b"/", [SCHEME, AUTHORITY]), *BAD_REQUESTS_H2]
        parent = random.choice(list(peer.streams) or [1])
        calls.append((peer.write_push, parent, *random.choice(bad)))
    calls.append((peer.configure, random.choice(BAD_SETTINGS)))
    for writer in mine:
        stream, message = writer.stream, writer.message
        live = peer.streams[stream].ended is None
        if not writer.headed and peer is run.server and live:
            head = bad_head(random, run.http2, False, run.asked_method(stream) == b"HEAD")
            calls.append((peer.write_head, stream, *head))
            calls.append((peer.write_data, stream, b"x", True))
            calls.append((peer.write_tail, stream, []))
        elif writer.headed and live and not writer.over:
            head = bad_head(random, run.http2, peer is run.client)
            calls.append((peer.write_head, stream, *head))
            tail = [(b"a", b"b"), (random.choice(BARRED), b"1")]
            calls.append((peer.write_tail, stream, tail))
            # Capitals in trailers are lowered by the binding.
            calls.append((peer.write_tail, stream, [bad_field(random, False)]))
            if message.sized and has_body(message, run.asked_method(stream)):
                more = b"x" * (writer.left + 1)
                calls.append((peer.write_data, stream, more, False))
                if writer.left:
                    less = b"x" * random.randrange(writer.left)
                    calls.append((peer.write_data, stream, less, True))
                    calls.append((peer.write_tail, stream, []))
    if calls:
        call, *arguments = random.choice(calls)
        with pytest.raises(raw.UsageError):
            call(*arguments)
            pytest.fail(f"{call.__name__}{tuple(arguments)} was taken")
        assert (bytes(peer.out), peer.events, peer.next_stream, peer.open) == before


@examples(40)
@given(
    st.booleans().flatmap(
        lambda http2: st.tuples(
            st.just(http2), st.lists(exchanges(http2, 3000), min_size=1, max_size=3)
        )
    ),
    st.integers(0, 1 << 32),
)
def test_refused_calls_leave_nothing(session: tuple[bool, list[Exchange]], seed: int) -> None:
    """The peer sees nothing of illegal messages that the caller tries among legal ones."""
    http2, asked = session
    run = Session(http2=http2, random=Random(seed))
    run.begin({"enable_push": 1}, {})
    run.run(asked, abuse, 0.7)
    run.check()
