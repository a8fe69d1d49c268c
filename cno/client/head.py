"""The head of a request: its target and its fields."""

from __future__ import annotations

from collections.abc import Iterable

from cno.client.exchange import Exchange
from cno.client.url import origin, split_target
from cno.engine.fields import Fields, as_text


def target_of(exchange: Exchange, target: bytes) -> bytes:
    """The request target as it is sent.

    A target in absolute form, which is meant for a proxy, names the origin of the request (RFC 9112
    section 3.2.2). HTTP/2 has pseudo-headers for that (RFC 9113 section 8.3.1).
    """
    absolute = None if target[:1] == b"/" or exchange.asks_tunnel else split_target(target)
    if absolute is None:
        return target
    scheme, authority, rest = absolute
    exchange.scheme = (b":scheme", scheme)
    exchange.authority = (b":authority", authority)
    if not exchange.conn.http2:
        return target
    if not rest and exchange.method == "OPTIONS":
        return b"*"
    return rest if rest[:1] == b"/" else b"/" + rest


def fields_of(exchange: Exchange, size: int) -> Fields:
    """All fields of a request with a body of this size, -1 for an unknown size. The caller of the
    request may have named its origin, which counts. Raises ValueError for a content-length that is
    not the size."""
    others = []
    tunnel = exchange.method == "CONNECT"
    unsized = size > 0 and not exchange.asks_tunnel
    for pair in exchange.fields:
        name = pair[0]
        if name in (b":authority", b"host"):
            exchange.authority = (b":authority", pair[1])
        elif name == b":scheme":
            exchange.scheme = pair
        else:
            others.append(pair)
            if unsized and name == b"content-length":
                unsized = False
                if pair[1] != b"%d" % size:
                    raise ValueError(f"content-length {pair[1]!r} and {size} bytes of body")
            tunnel = tunnel and name != b":protocol"
    if unsized:
        others.append((b"content-length", b"%d" % size))
    # CONNECT has no scheme, and its target is its authority (RFC 9113 section 8.5).
    return others if tunnel else [exchange.scheme, exchange.authority, *others]


def is_authoritative(origins: Iterable[tuple[str, str]], promised: Fields) -> bool:
    """Whether a server that has authority over these origins may answer the request with these
    fields, which it has made up (RFC 9113 section 8.4)."""
    given = {name: as_text(value) for name, value in promised}
    wanted = origin(given.get(b":scheme", ""), given.get(b":authority", ""))
    return any(origin(*pair) == wanted for pair in origins)
