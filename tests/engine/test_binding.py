"""cno/engine/binding.py: Engine and Defaults, as the layers above call them."""

import gc
from marshal import dumps
from typing import Any

import pytest

from cno.engine import binding, fast
from cno.engine.binding import VIEWS, Defaults, Engine
from cno.engine.errors import Disconnected, StreamGone, UsageError
from cno.engine.events import EVENT_FAULT, EVENT_HEAD

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def asked(**options: Any) -> Engine:
    """A server engine with a request on stream 1."""
    engine = Engine(server=True, serving=True, **options)
    engine.begin(http2=False)
    (event,) = engine.feed(GET)
    assert event[:2] == (EVENT_HEAD, 1)
    return engine


def test_an_answer_has_the_default_fields_once() -> None:
    defaults = Defaults([(b"server", b"cno"), (b"x-a", b"1")])
    engine = asked(defaults=defaults)
    assert engine.answer(1, 200, dumps([(b"x-a", b"2")], 2), b"hello", 5) == 5
    head, _, body = engine.output().partition(b"\r\n\r\n")
    assert body == b"hello"
    assert head.lower().count(b"x-a: ") == head.count(b"server: cno") == 1
    assert b"x-a: 2" in head
    assert engine.output() == b""


def test_defaults_can_be_changed_and_are_checked() -> None:
    defaults = Defaults()
    engine = asked(defaults=defaults)
    defaults.set([(b"x-late", b"1")])
    engine.answer(1, 200, dumps([], 2), b"", 0)
    assert b"x-late: 1" in engine.output()
    for wrong in ([(b"a\n", b"")], [(b"a", b"")] * 17):
        with pytest.raises(UsageError):
            defaults.set(wrong)


def test_a_violation_is_an_event_and_raises_nothing() -> None:
    engine = Engine(server=True, serving=True)
    engine.begin(http2=False)
    events = engine.feed(b"no request\r\n\r\n")
    assert [event[0] for event in events].count(EVENT_FAULT) == 1
    assert engine.output().startswith(b"HTTP/1.1 400 ")
    with pytest.raises(Disconnected):
        engine.feed(GET)


def test_errors_of_the_caller_are_raised() -> None:
    engine = asked()
    with pytest.raises(UsageError):
        engine.answer(1, 200, dumps([(b"a\n", b"")], 2), b"", 0)
    assert engine.output() == b""
    with pytest.raises(StreamGone):
        engine.write(7, b"x", False)
    with pytest.raises(ValueError, match="8 bytes, not 9"):
        engine.ping(bytes(9))
    with pytest.raises(TypeError, match="there is no setting 'nonsense'"):
        engine.configure(nonsense=1)
    with pytest.raises(TypeError, match="there is no limit 'nonsense'"):
        engine.limit(nonsense=1)
    with pytest.raises(UsageError, match="setting max_frame_size is out of range"):
        engine.configure(max_frame_size=1 << 40)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("http2", [False, True])
def test_a_lent_part(compiled: bool, http2: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output is in order, and the body in it is views of the caller's bytes."""
    if not compiled:
        monkeypatch.setattr(fast, "MODULE", None)
    elif fast.MODULE is None:
        pytest.skip("there is no compiled module")
    engine = Engine(server=False)
    engine.begin(http2=http2)
    fields = [(b":scheme", b"http"), (b":authority", b"x"), (b"content-length", b"50000")]
    engine.head(1, 0, b"POST", b"/", dumps(fields, 2), False)
    data = bytes(60000)
    output: list[Any] = []
    taken = engine.lend(1, data, 10000, 50000, True, output)
    views = [piece for piece in output if isinstance(piece, memoryview)]
    assert sum(map(len, views)) == taken == 50000
    assert len(views) <= VIEWS
    assert all(view.obj is data for view in views)
    assert engine.output() == b""
    assert bytes(output[0]).startswith(b"PRI * HTTP/2.0" if http2 else b"POST / HTTP/1.1")


def test_memory_is_freed_by_the_collector_too() -> None:
    """An engine in a cycle is freed behind the collection, not within it."""
    cycle: list[Any] = [Engine(server=True)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert not binding._found
