"""HPACK through the binding, compared with the package hpack of PyPI."""

from __future__ import annotations

import random

import hpack
import pytest
from recorder import Recorder, server
from vectors import frame

NAMES = ["accept", "cookie", "content-type", "x-request-id", "x-" + "n" * 200, "a", "set-cookie"]
SECRET = {"authorization", "x-secret"}
OCTETS = [bytes([c]) for c in range(0x21, 0x7F)] + [b"\x80", b"\xff", b" a", b"\ta", b"\xc3\xa9"]

Fields = list[tuple[bytes, bytes]]


def some_fields(chance: random.Random) -> Fields:
    fields = []
    for _ in range(chance.randrange(12)):
        name = chance.choice([*NAMES, *SECRET])
        size = chance.choice([0, 1, 5, 20, 130, 900])
        value = b"x" + b"".join(chance.choices(OCTETS, k=size)) if size else b""
        fields.append((name.encode(), value))
    return fields


def headers(stream: int, block: bytes) -> bytes:
    return frame(f"HEADERS {stream} END_STREAM|END_HEADERS x:{block.hex()}")


def spellings(text: str) -> list[bytes]:
    """Returns the bytes that Connection has decoded to this text: as UTF-8, or else as Latin-1."""
    ways = [text.encode()]
    if all(ord(c) < 256 for c in text):
        ways.append(text.encode("latin-1"))
    return ways


def same(fields: list[tuple[str, str]], expected: Fields) -> bool:
    return len(fields) == len(expected) and all(
        octets in spellings(text)
        for field, octet_field in zip(fields, expected, strict=True)
        for text, octets in zip(field, octet_field, strict=True)
    )


@pytest.mark.parametrize("seed", range(6))
def test_what_another_encoder_writes(seed: int) -> None:
    chance = random.Random(seed)
    encoder = hpack.Encoder()
    conn = server(http2=True)
    for stream in range(1, 400, 2):
        fields = some_fields(chance)
        request = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h")]
        if chance.random() < 0.05:
            encoder.header_table_size = chance.choice([0, 100, 1000, 4096])
        block = encoder.encode(
            [hpack.HeaderTuple(*field) for field in request]
            + [
                hpack.NeverIndexedHeaderTuple(*field)
                if field[0].decode() in SECRET
                else hpack.HeaderTuple(*field)
                for field in fields
            ],
            huffman=chance.random() < 0.7,
        )
        conn.data_received(headers(stream, block))
        head = conn.take()[1]
        assert same(head[5][2:], fields)
        conn.write_head(stream, 204, "", "", [], True)
        conn.take()


def answered(conn: Recorder, stream: int, fields: Fields) -> bytes:
    conn.data_received(headers(stream, b"\x82\x86\x84\x41\x01h"))
    conn.take()
    conn.write_head(stream, 200, "", "", fields, True)
    out: bytes = conn.take()[0][1]
    assert out[3] == 1
    assert out[4] & 4
    return out[9:]


@pytest.mark.parametrize("seed", range(6))
def test_what_another_decoder_reads(seed: int) -> None:
    chance = random.Random(seed)
    decoder = hpack.Decoder(max_header_list_size=1 << 20)
    conn = server(http2=True)
    for stream in range(1, 400, 2):
        fields = [field for field in some_fields(chance) if len(field[1]) < 900]
        if chance.random() < 0.05:
            # The size that the decoder allows. The encoder announces the size that it uses in its
            # next block.
            size = chance.choice([0, 100, 1000, 4096, 100000])
            decoder.max_allowed_table_size = size
            conn.data_received(frame(f"SETTINGS 0 - s:1={size}"))
            conn.take()
        decoded = decoder.decode(answered(conn, stream, fields), raw=True)
        assert [(bytes(n), bytes(v)) for n, v in decoded] == [(b":status", b"200"), *fields]


def test_secrets_are_not_put_into_the_table() -> None:
    conn = server(http2=True)
    decoder = hpack.Decoder()
    for stream in (1, 3):
        block = answered(conn, stream, [(b"authorization", b"Basic abc"), (b"x-a", b"1")])
        fields = decoder.decode(block, raw=True)
        assert isinstance(fields[1], hpack.NeverIndexedHeaderTuple)
        assert not isinstance(fields[2], hpack.NeverIndexedHeaderTuple)
    assert [bytes(name) for name, _ in decoder.header_table.dynamic_entries] == [b"x-a"]


def test_a_field_that_was_said_before_is_short() -> None:
    conn = server(http2=True)
    fields = [(b"x-served-by", b"a rather long value"), (b"server", b"cno")]
    first = answered(conn, 1, fields)
    second = answered(conn, 3, fields)
    assert len(first) > 20
    assert len(second) == 3
