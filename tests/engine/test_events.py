"""cno/engine/events.py: the names of Python are those of the C headers."""

from cno.engine import events
from cno.engine._libcno import lib


def test_every_name_has_the_value_of_its_constant() -> None:
    names = [name for name in vars(events) if name.isupper() and name != "CONSTANTS"]
    assert len(names) >= 30
    for name in names:
        assert getattr(events, name) == getattr(lib, f"CNO_{name}"), name


def test_all_constants_are_there() -> None:
    assert events.CONSTANTS["CNO_RST_CANCEL"] == 8
    assert all(name.startswith("CNO_") for name in events.CONSTANTS)
