"""cno/config/checks.py: the values that options accept, and the reasons why they refuse others."""

from pathlib import Path

import pytest

from cno.config.errors import ConfigError
from cno.config.options import Config


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("port", 65536, "65536 is above 65535"),
        ("port", -1, "-1 is below 0"),
        ("port", "http", "'http' is not a whole number"),
        ("port", 80.5, "80.5 is not a whole number"),
        ("port", True, "True is not a whole number"),
        ("port", None, "None is not a whole number"),
        ("host", 5, "5 is not a string"),
        ("uds", "", "'' is not a path"),
        ("access_log", "maybe", "'maybe' is neither true nor false"),
        ("access_log", 1, "1 is neither true nor false"),
        ("loop", "gevent", "'gevent' is none of auto, asyncio, uvloop"),
        ("timeout_keep_alive", "soon", "'soon' is not a number of seconds"),
        ("timeout_keep_alive", -1, "-1 is not a number of seconds from 0 up"),
        ("timeout_keep_alive", float("nan"), "nan is not a number of seconds from 0 up"),
        ("h2_max_concurrent_streams", 0, "0 is below 1"),
        ("header", ["no colon"], "that is not 'Name: value': 'no colon'"),
        ("header", [("a b", "c")], "whose name HTTP does not allow"),
        ("header", ["A: b\nC: d"], "control character"),
        ("header", [("A", "\u20ac")], "outside Latin-1"),
        ("header", 5, "5 is not a list"),
    ],
)
def test_wrong_value_says_what_and_why(name: str, value, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**{name: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [["X-One: 1", "x-two:  2 "], [("X-One", "1"), (b"X-Two", b"2")], "X-One: 1\nX-Two: 2"],
)
def test_headers_in_every_form(value) -> None:
    assert Config(header=value).header == ((b"x-one", b"1"), (b"x-two", b"2"))


def test_header_value_may_be_empty_and_hold_colons() -> None:
    assert Config(header=["a:", "b: c:d"]).header == ((b"a", b""), (b"b", b"c:d"))


def test_path_objects_are_paths() -> None:
    assert Config(uds=Path("/tmp/x")).uds == str(Path("/tmp/x"))
