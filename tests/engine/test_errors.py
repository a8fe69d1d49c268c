"""cno/engine/errors.py: the classes of exceptions, and what they have."""

import pytest

from cno.engine import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_a_connection_error_with_its_facts(kind: type[errors.Error]) -> None:
    error = kind("a text", "a-reason", 400, 18)
    assert isinstance(error, ConnectionError)
    assert str(error) == "a text"
    assert (error.reason, error.wire, error.offset) == ("a-reason", 400, 18)
    assert (kind("t").reason, kind("t").wire, kind("t").offset) == ("", 0, 0)


def test_the_lack_of_memory_is_a_memory_error_too() -> None:
    assert issubclass(errors.OutOfMemory, MemoryError)
