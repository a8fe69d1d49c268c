"""Properties of the engine, tried on whatever hypothesis makes up.

The same examples each time, and few, so that it is quick. For a long run with new ones:

    CNO_EXAMPLES=20000 pytest tests/test_properties.py --timeout 0
"""

from __future__ import annotations

import os
import struct
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

import hpack
import pytest
from exchange import Exchange, Fields, Message, Peer, Push, Session, Writer, expected, told
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cno import raw

EXAMPLES = int(os.environ.get("CNO_EXAMPLES", "0"))


def examples(count: int) -> Any:
    """How often to try a property where no number is asked for."""
    return settings(
        max_examples=EXAMPLES or count,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )


# ---- legal messages -----------------------------------------------------------------------------

TCHAR = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
UPPER = TCHAR + b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
VALUE = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
TARGET = bytes(c for c in range(0x21, 0x7F) if c != ord("#"))
REASON = bytes([*range(0x20, 0x7F), *range(0x80, 0x100)])

# Those that mean something to the engine.
SPECIAL = set(
    b"connection content-length cookie expect host http2-settings keep-alive proxy-connection te"
    b" trailer transfer-encoding upgrade".split()
)

KNOWN = st.sampled_from(
    b"accept cache-control cookie date etag location referer server set-cookie user-agent vary via"
    b" www-authenticate x-a".split()
)


@cache
def over(alphabet: bytes, least: int, most: int) -> st.SearchStrategy[bytes]:
    """Octets of an alphabet."""
    table = bytes(alphabet[i % len(alphabet)] for i in range(256))
    return st.binary(min_size=least, max_size=most).map(lambda octets: octets.translate(table))


def regular(name: bytes) -> bytes:
    return b"x-" + name if name.lower() in SPECIAL else name


VALUES = st.one_of(
    over(VALUE, 0, 40).map(lambda value: value.strip(b" \t")),
    over(VALUE, 0, 40).map(lambda value: value.strip(b" \t")),
    st.sampled_from([b"", b"0", b"a" * 127, b"\xff" * 300, b"a=b; c", "é".encode()]),
    st.integers(1, 20000).map(lambda size: b"v" * size),
)


@cache
def names(http2: bool) -> st.SearchStrategy[bytes]:
    made = over(TCHAR if http2 else UPPER, 1, 12).map(regular)
    return st.one_of(KNOWN, made, made)


@cache
def fields(http2: bool, most: int = 6) -> st.SearchStrategy[Fields]:
    return st.lists(st.tuples(names(http2), VALUES), max_size=most).filter(
        lambda made: sum(len(n) + len(v) + 32 for n, v in made) < 60000
    )


@cache
def trailers(http2: bool) -> st.SearchStrategy[Fields]:
    return fields(http2, 3).map(
        lambda made: [(n, v[:1000]) for n, v in made if n.lower() not in SPECIAL]
    )


@cache
def bodies(most: int) -> st.SearchStrategy[tuple[bytes, ...]]:
    piece = st.one_of(
        st.binary(max_size=min(50, most)),
        st.integers(0, most).map(lambda size: bytes(range(256)) * (size // 256) + b"z" * 7),
    )
    return st.lists(piece, min_size=1, max_size=4).map(tuple)


@cache
def interims(http2: bool) -> st.SearchStrategy[tuple[tuple[int, Fields], ...]]:
    return st.lists(st.tuples(INTERIM, fields(http2, 2)), max_size=2).map(tuple)


KINDS = st.sampled_from(("whole", "sized", "streamed", "trailed"))


@st.composite
def messages(
    draw: Any, http2: bool, start: dict[str, Any], lead: Fields, most: int, interim: bool
) -> Message:
    """One message: its framing is drawn too."""
    head = [*lead, *draw(fields(http2))]
    told = draw(interims(http2)) if interim else ()
    kind = draw(KINDS)
    if kind == "whole":
        return Message(**start, fields=head, interim=told)
    pieces = draw(bodies(most))
    tail = None
    if kind == "sized" and start.get("code") != 204:
        place = draw(st.integers(len(lead), len(head)))
        head.insert(place, (b"content-length", b"%d" % sum(map(len, pieces))))
    if kind == "trailed":
        tail = draw(trailers(http2))
    return Message(**start, fields=head, pieces=pieces, trailers=tail, interim=told)


METHODS = st.one_of(st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT"]), over(UPPER, 1, 8)).map(
    lambda method: b"X" + method if method == b"CONNECT" else method
)
TARGETS = over(TARGET, 0, 60).map(lambda rest: b"/" + rest)
HOSTS = st.sampled_from([b"h", b"example.org", b"example.org:8080", b"[::1]:80"])
INTERIM = st.sampled_from([100, 102, 103, 199])
STATUSES = st.one_of(st.sampled_from([200, 204, 304, 404, 500]), st.integers(200, 999))


@st.composite
def requests(draw: Any, http2: bool, most: int) -> Message:
    start = {"method": draw(METHODS), "target": draw(TARGETS)}
    if draw(st.integers(0, 9)) == 0:
        start = {"method": b"OPTIONS", "target": b"*"}
    lead = [(b":scheme", draw(st.sampled_from([b"http", b"https"]))), (b":authority", draw(HOSTS))]
    made: Message = draw(messages(http2, start, lead, most, False))
    return made


@st.composite
def responses(draw: Any, http2: bool, most: int) -> Message:
    start = {"code": draw(STATUSES)}
    if not http2:
        start["method"] = draw(over(REASON, 0, 12)).strip()
    made: Message = draw(messages(http2, start, [], most, True))
    return made


@st.composite
def pushes(draw: Any, most: int) -> Push:
    lead = [(b":scheme", b"http"), (b":authority", b"h")]
    request = Message(
        method=draw(st.sampled_from([b"GET", b"HEAD"])),
        target=draw(TARGETS),
        fields=[*lead, *draw(fields(True, 2))],
    )
    return Push(request, draw(responses(True, most)))


@st.composite
def exchanges(draw: Any, http2: bool, most: int = 70000) -> Exchange:
    promised = st.lists(pushes(most), max_size=2) if http2 else st.just([])
    return Exchange(
        draw(requests(http2, most)), draw(responses(http2, most)), tuple(draw(promised))
    )


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
    most = 200 if least < 100 else 2000 if least < 16384 else 70000
    asked = draw(st.lists(exchanges(True, most), min_size=1, max_size=6))
    return client, server, later, asked, draw(st.booleans()), draw(st.integers(0, 1 << 32))


@examples(80)
@given(http2_sessions())
def test_http2_exchanges(session: tuple[Any, ...]) -> None:
    """Streams side by side, pushes, any windows, frame sizes and tables, settings that change."""
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


@examples(80)
@given(st.lists(exchanges(False), min_size=1, max_size=4), st.integers(0, 1 << 32))
def test_http1_exchanges(asked: list[Exchange], seed: int) -> None:
    """One after the other on a connection that is kept."""
    run = Session(http2=False, random=Random(seed))
    run.begin({}, {})
    run.run(asked)
    run.check()




@examples(60)
@given(st.lists(exchanges(False, 2000), min_size=2, max_size=6), st.integers(0, 1 << 32))
def test_http1_pipelining(asked: list[Exchange], seed: int) -> None:
    """Requests behind each other on the wire are answered one by one, each with its own octets."""
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


def cut(octets: bytes, random: Random) -> list[bytes]:
    """Octets in pieces, often small, sometimes single."""
    step = random.choice((1, 3, 20, 1000))
    places = [0]
    while places[-1] < len(octets):
        places.append(places[-1] + random.randint(1, step))
    return [octets[a:b] for a, b in pairwise(places)]


# ---- what must not be written -------------------------------------------------------------------

NOT_IN_VALUES = bytes([*range(9), *range(10, 32), 127])
BAD_LENGTHS = (b"", b"x", b"+1", b"-1", b"1,1", b" 1", b"1.0", b"0x1", b"9" * 30)
BARRED = (b"content-length", b"transfer-encoding", b"host", b"connection", b"te", b"trailer")


def bad_field(random: Random, http2: bool) -> tuple[bytes, bytes]:
    """A field that neither version can send."""
    other = bytes(c for c in range(256) if c not in UPPER)
    if http2:
        other += b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    name = random.choice([b"", b"a" + bytes([random.choice(other)]), b"a\r\nb", b"a b", b"a:b"])
    octet = bytes([random.choice(NOT_IN_VALUES)])
    value = random.choice([b"a" + octet, octet, octet + b"a", b" a", b"a ", b"\ta", b"a\r\nb: c"])
    length = (b"content-length", random.choice(BAD_LENGTHS))
    return random.choice([(name, b"x"), (b"x", value), length])


def bad_head(random: Random, http2: bool, request: bool, head: bool = False) -> tuple[Any, ...]:
    """Arguments of write_head, behind the stream, that are refused; `head`: even to HEAD."""
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
        ]
        if http2:
            made.append((0, method, target, [*lead, (b":status", b"200")], True))
    else:
        made += [(c, b"", b"", [], False) for c in (0, 1, 99, 101, 1000, -1)]
        made += [(c, b"", b"", [], True) for c in (100, 103)]
        made.append((code, b"", b"", [(b":status", b"200")], True))
        if not http2:
            made.append((code, b"a\r\nb", b"", [], True))
    choice: tuple[Any, ...] = random.choice(made)
    return choice


def abuse(run: Session) -> None:
    """Calls that the contract forbids: refused, and as if they had not been made."""
    random = run.random
    peer = random.choice((run.client, run.server))
    before = bytes(peer.out), peer.events, peer.next_stream, peer.open
    mine = [w for w in run.writers if w.peer is peer and not w.done]
    calls: list[Any] = []
    if peer is run.client:
        head = bad_head(random, run.http2, True)
        calls.append((peer.write_head, peer.next_stream, *head))
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
            calls.append((peer.write_tail, stream, [bad_field(random, run.http2)]))
            silent = message.code in (204, 304) or run.asked_method(stream) == b"HEAD"
            if message.sized and (peer is run.client or not silent):
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


@examples(60)
@given(
    st.booleans().flatmap(
        lambda http2: st.tuples(
            st.just(http2), st.lists(exchanges(http2, 3000), min_size=1, max_size=3)
        )
    ),
    st.integers(0, 1 << 32),
)
def test_refused_calls_leave_nothing(session: tuple[bool, list[Exchange]], seed: int) -> None:
    """Illegal messages of the caller among legal ones: UsageError, and the peer sees nothing of it."""
    http2, asked = session
    run = Session(http2=http2, random=Random(seed))
    run.begin({"enable_push": 1}, {})
    run.run(asked, abuse, 0.7)
    run.check()
