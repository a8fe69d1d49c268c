"""cno/engine/fields.py: fields as str, as bytes, and marshalled."""

from marshal import loads

import pytest

from cno.engine import fields


def test_text_is_utf8_or_else_latin1() -> None:
    assert fields.as_text("é".encode()) == "é"
    assert fields.as_text(b"\xe9") == "é"
    assert fields.pairs([(b"a", b"\xe9"), (b"b", "é".encode())]) == [("a", "é"), ("b", "é")]


def test_str_is_sent_as_utf8_and_bytes_as_they_are() -> None:
    assert fields.as_octets("é") == "é".encode()
    assert fields.as_octets(b"\xe9") == b"\xe9"
    assert fields.octet_pairs([("A", b"\xe9")]) == [(b"A", b"\xe9")]
    assert fields.lowered([("X-A", "Value")]) == [(b"x-a", b"Value")]


def test_the_marshalled_form() -> None:
    assert loads(fields.packed([("a", "b")])) == [(b"a", b"b")]


def test_trailers_are_fields_or_a_function() -> None:
    assert fields.trailing([("a", "b")]) == fields.trailing(lambda: [("a", "b")])


@pytest.mark.parametrize("wrong", [[("a",)], [("a", 1)], ["abc"], 5])
def test_other_objects_are_refused(wrong: object) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)):
        fields.packed(wrong)  # type: ignore[arg-type]


def test_headers_are_decoded_once() -> None:
    head = fields.Head()
    head.raw_headers = [(b"a", b"b")]
    assert head.headers == [("a", "b")]
    assert head.headers is head.headers
