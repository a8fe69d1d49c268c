"""Strategies of hypothesis for tests/engine/test_properties*.py: legal messages, field by field."""

from __future__ import annotations

import os
import re
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

from exchange import Exchange, Fields, Message, Push
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("CNO_EXAMPLES", "0"))


def examples(count: int) -> Any:
    """Returns settings that try a property `count` times, or $CNO_EXAMPLES times."""
    return settings(
        max_examples=EXAMPLES or count,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )


def cut(octets: bytes, random: Random) -> list[bytes]:
    """Cuts bytes into pieces, often small ones, sometimes single bytes."""
    step = random.choice((1, 3, 20, 1000))
    places = [0]
    while places[-1] < len(octets):
        places.append(places[-1] + random.randint(1, step))
    return [octets[a:b] for a, b in pairwise(places)]


RAMP = bytes(range(256))
RUNS = re.compile(rb"(?:%s)+|(.)\1{15,}" % re.escape(RAMP), re.DOTALL)


class Octets(bytes):
    """Bytes whose repr() is a short expression even if there are many of them."""

    def __repr__(self) -> str:
        parts, at = [], 0
        for run in [*RUNS.finditer(self), None]:
            between = bytes(self[at : run.start() if run else len(self)])
            if between or (run is None and not parts):
                parts.append(repr(between))
            if run:
                at = run.end()
                once = "RAMP" if run[1] is None else repr(run[1])
                parts.append(f"{once} * {len(run[0]) // len(run[1] or RAMP)}")
        return " + ".join(parts)


# ---- legal messages -----------------------------------------------------------------------------

TCHAR = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
UPPER = TCHAR + b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
VALUE = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
TARGET = bytes(c for c in range(0x21, 0x7F) if c != ord("#"))
REASON = bytes([*range(0x20, 0x7F), *range(0x80, 0x100)])

# The fields that mean something to the engine.
SPECIAL = set(
    b"connection content-length cookie expect host http2-settings keep-alive proxy-connection te"
    b" trailer transfer-encoding upgrade".split()
)

# The fields that the engine refuses in a trailer section: those of RFC 9110 section 6.5.1 that say
# how a message is framed, routed, authenticated, cached or read, as RFC 7230 section 4.1.2 does.
BARRED = (
    b"connection content-length host http2-settings keep-alive proxy-connection te trailer"
    b" transfer-encoding upgrade"
    b" forwarded x-forwarded-for x-forwarded-host x-forwarded-proto"
    b" authorization cookie proxy-authenticate proxy-authorization set-cookie www-authenticate"
    b" cache-control expect if-match if-modified-since if-none-match if-range if-unmodified-since"
    b" max-forwards pragma range"
    b" age date expires location retry-after vary"
    b" content-encoding content-language content-location content-range content-type"
).split()

KNOWN = st.sampled_from(
    b"accept cache-control cookie date etag location referer server set-cookie user-agent vary via"
    b" www-authenticate x-a".split()
)


@cache
def over(alphabet: bytes, least: int, most: int) -> st.SearchStrategy[bytes]:
    """Strings of bytes from an alphabet."""
    table = bytes(alphabet[i % len(alphabet)] for i in range(256))
    return st.binary(min_size=least, max_size=most).map(lambda octets: octets.translate(table))


def regular(name: bytes) -> bytes:
    return b"x-" + name if name.lower() in SPECIAL else name


SHORT = st.one_of(
    over(VALUE, 0, 40).map(lambda value: value.strip(b" \t")),
    over(VALUE, 0, 40).map(lambda value: value.strip(b" \t")),
    st.sampled_from(
        [b"", b"0", Octets(b"a" * 127), Octets(b"\xff" * 300), b"a=b; c", "é".encode()]
    ),
    st.integers(1, 1000).map(lambda size: Octets(b"v" * size)),
)
VALUES = st.one_of(SHORT, SHORT, SHORT, st.integers(1, 20000).map(lambda n: Octets(b"v" * n)))


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
    allowed = names(http2).filter(lambda name: name.lower() not in BARRED)
    return st.lists(st.tuples(allowed, SHORT), max_size=3)


@cache
def bodies(most: int) -> st.SearchStrategy[tuple[bytes, ...]]:
    piece = st.one_of(
        st.binary(max_size=min(50, most)),
        st.integers(0, most).map(lambda size: Octets(RAMP * (size // 256) + b"z" * 7)),
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
    """One message, whose framing is drawn as well."""
    head = [*lead, *draw(fields(http2))]
    told = draw(interims(http2)) if interim else ()
    kind = draw(KINDS)
    if kind == "whole":
        return Message(**start, fields=head, interim=told)
    pieces = draw(bodies(most))
    tail = None
    if kind == "sized":
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
STATUSES = st.one_of(st.sampled_from([200, 204, 205, 304, 404, 500]), st.integers(200, 999))


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
