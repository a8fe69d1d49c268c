"""Fields between Python's strings and the octets of the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from marshal import dumps
from typing import TypeAlias

# As a caller may give them, and as the engine tells them.
Headers: TypeAlias = Iterable[tuple[str | bytes, str | bytes]]
Fields: TypeAlias = list[tuple[bytes, bytes]]

# Fields behind a body: a function is asked for them when it is complete.
Trailers: TypeAlias = "Headers | Callable[[], Headers] | None"


def as_text(value: bytes) -> str:
    """Fields are UTF-8 or, where they are not, latin-1 (RFC 9110 section 5.5)."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def as_octets(value: str | bytes) -> bytes:
    """What is sent for a string."""
    return value if isinstance(value, bytes) else value.encode()


def pairs(fields: Fields) -> list[tuple[str, str]]:
    """Fields as strings."""
    return [(as_text(name), as_text(value)) for name, value in fields]


def octet_pairs(headers: Headers) -> Fields:
    """Fields as pairs of bytes."""
    return [(as_octets(name), as_octets(value)) for name, value in headers]


def packed(headers: Headers) -> bytes:
    """Fields as the binding takes them."""
    return dumps(octet_pairs(headers), 2)


def lowered(headers: Headers) -> Fields:
    """Fields to be sent, with names in lower case (RFC 9113 section 8.2)."""
    return [(as_octets(name).lower(), as_octets(value)) for name, value in headers]


def trailing(trailers: Headers | Callable[[], Headers]) -> bytes:
    """Trailers as the binding takes them."""
    return packed(trailers() if callable(trailers) else trailers)


class Head:
    """A message's fields, as they came and as strings."""

    raw_headers: Fields
    _headers: list[tuple[str, str]] | None = None

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The fields; a value that is not UTF-8 is decoded as latin-1."""
        if self._headers is None:
            self._headers = pairs(self.raw_headers)
        return self._headers
