"""The checks of option values.

A check takes the text of a flag or of an environment variable, or the Python value of a keyword
argument. The check returns the value for the option, or raises ValueError. The text of the error
goes on after the value: "'x' is not a path".
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from typing import Any

Check = Callable[[Any], Any]


def text(value: object) -> str:
    """Takes any string."""
    if isinstance(value, str):
        return value
    raise ValueError("is not a string")


def path(value: object) -> str:
    """Takes a string or a path object, and returns a string that is not empty."""
    if isinstance(value, (str, os.PathLike)) and isinstance(path := os.fspath(value), str) and path:
        return path
    raise ValueError("is not a path")


def switch(value: object) -> bool:
    """Takes a bool or one of the words 1, true, yes, on, 0, false, no and off."""
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("is neither true nor false")


def integer(lowest: int, highest: int) -> Check:
    """Makes the check of a whole number within bounds, both of which are allowed."""

    def check(value: object) -> int:
        try:
            if isinstance(value, (bool, float)) or not isinstance(value, (int, str)):
                raise ValueError
            number = int(value)
        except ValueError:
            raise ValueError("is not a whole number") from None
        if number < lowest:
            raise ValueError(f"is below {lowest}")
        if number > highest:
            raise ValueError(f"is above {highest}")
        return number

    return check


def seconds(value: object) -> float:
    """Takes a finite number from 0 up."""
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        number = float(value)
    except ValueError:
        raise ValueError("is not a number of seconds") from None
    if not math.isfinite(number) or number < 0:
        raise ValueError("is not a number of seconds from 0 up")
    return number


def choice(*names: str) -> Check:
    """Makes the check of one word among `names`, in whatever case."""

    def check(value: object) -> str:
        if isinstance(value, str) and value.lower() in names:
            return value.lower()
        raise ValueError(f"is none of {', '.join(names)}")

    return check


def headers(value: object) -> tuple[tuple[bytes, bytes], ...]:
    """Takes lines "Name: value" or pairs of str or bytes.

    Returns pairs of bytes, the names in lower case. Text is encoded as Latin-1.
    """
    if isinstance(value, str):
        value = value.splitlines()
    if not isinstance(value, Iterable):
        raise ValueError("is not a list of 'Name: value'")
    return tuple(_header(item) for item in value)


def _header(item: object) -> tuple[bytes, bytes]:
    name, value = item.split(":", 1) if isinstance(item, str) and ":" in item else _pair(item)
    try:
        pair = name.encode("ascii").lower(), value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"has a field with a character outside Latin-1: {item!r}") from None
    if not pair[0] or any(not (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in name):
        raise ValueError(f"has a field whose name HTTP does not allow: {item!r}")
    if any((c < 0x20 and c != 0x09) or c == 0x7F for c in pair[1]):
        raise ValueError(f"has a field with a control character: {item!r}")
    return pair


def _pair(item: object) -> tuple[str, str]:
    if isinstance(item, (tuple, list)) and len(item) == 2:
        name, value = (part.decode("latin-1") if isinstance(part, bytes) else part for part in item)
        if isinstance(name, str) and isinstance(value, str):
            return name, value
    raise ValueError(f"has an item that is not 'Name: value': {item!r}")
