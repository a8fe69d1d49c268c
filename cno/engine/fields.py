"""Header and trailer fields as str, as bytes, and marshalled for the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from marshal import dumps
from typing import TypeAlias

# Fields as callers may give them, and fields as the engine reports them.
Headers: TypeAlias = Iterable[tuple[str | bytes, str | bytes]]
Fields: TypeAlias = list[tuple[bytes, bytes]]

# Trailer fields, or a function that returns them and is called when the body is complete.
Trailers: TypeAlias = "Headers | Callable[[], Headers] | None"


def as_text(value: bytes) -> str:
    """Decodes a name or value as UTF-8, or else as latin-1 (RFC 9110 section 5.5)."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def as_octets(value: str | bytes) -> bytes:
    """Encodes a str as UTF-8; bytes stay as they are."""
    return value if isinstance(value, bytes) else value.encode()


def pairs(fields: Fields) -> list[tuple[str, str]]:
    """Returns fields as pairs of str."""
    return [(as_text(name), as_text(value)) for name, value in fields]


def octet_pairs(headers: Headers) -> Fields:
    """Returns fields as pairs of bytes."""
    return [(as_octets(name), as_octets(value)) for name, value in headers]


def packed(headers: Headers) -> bytes:
    """Returns fields in the marshalled form that the methods of Engine take."""
    return dumps(octet_pairs(headers), 2)


def lowered(headers: Headers) -> Fields:
    """Returns fields as pairs of bytes with names in lower case (RFC 9113 section 8.2)."""
    return [(as_octets(name).lower(), as_octets(value)) for name, value in headers]


def trailing(trailers: Headers | Callable[[], Headers]) -> bytes:
    """Returns trailers in the marshalled form that Engine.tail takes."""
    return packed(trailers() if callable(trailers) else trailers)


class Head:
    """The fields of a message, as bytes and as str."""

    raw_headers: Fields
    _headers: list[tuple[str, str]] | None = None

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The fields; a value that is not UTF-8 is decoded as latin-1."""
        if self._headers is None:
            self._headers = pairs(self.raw_headers)
        return self._headers
