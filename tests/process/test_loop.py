"""cno/process/loop.py: which event loop an option names, and the repair of uvloop's debug mode."""

import asyncio
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from pages import blocks, chapter
from servers import PATIENCE

from cno.config.errors import StartupFailed
from cno.process import loop as loops

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "python.md"


@pytest.fixture
def uvloop() -> Any:
    return pytest.importorskip("uvloop")


def made(name: str) -> asyncio.AbstractEventLoop:
    """A loop as the option makes it, closed."""
    loop = loops.factory(name)()
    loop.close()
    return loop


def test_the_option_chooses_the_loop(uvloop: Any) -> None:
    assert isinstance(made("uvloop"), uvloop.Loop)
    assert isinstance(made("auto"), uvloop.Loop)
    assert isinstance(made("asyncio"), asyncio.BaseEventLoop)


def test_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert isinstance(made("auto"), asyncio.BaseEventLoop)
    with pytest.raises(StartupFailed, match="--loop uvloop: uvloop is not installed"):
        loops.factory("uvloop")


def test_run_returns_the_code_and_leaves_nothing_running() -> None:
    ended = []

    async def left_over() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("task")

    async def generator() -> Any:
        try:
            yield
        finally:
            ended.append("generator")

    async def main() -> int:
        main.task = asyncio.ensure_future(left_over())
        main.generator = generator()
        await main.generator.__anext__()
        return 5

    assert loops.run(asyncio.new_event_loop, main()) == 5
    assert ended == ["task", "generator"]


# ---- uvloop in debug mode -----------------------------------------------------------------------


def test_the_finalizer_of_asynchronous_generators_is_a_python_method(uvloop: Any) -> None:
    """Fails when uvloop renames its hook, because then the repair is never called."""
    assert hasattr(uvloop.Loop, "_asyncgen_finalizer_hook")

    async def main() -> int:
        hook = sys.get_asyncgen_hooks().finalizer
        assert isinstance(hook, types.MethodType)
        assert isinstance(hook.__func__, types.FunctionType)
        return 0

    assert loops.run(loops.factory("uvloop"), main()) == 0


# In each round one asynchronous generator is garbage, and a collection begins at the start of a
# coroutine function that C code calls: the frame of that function is not complete then. With the
# hook of uvloop itself, CPython 3.11 ends with a segmentation fault in most runs.
COLLECTED = """
import gc, operator, sys
from cno.process import loop as loops

closed = []

async def generator(number):
    try:
        yield
    finally:
        closed.append(number)

async def victim():
    frame = sys._getframe()
    while frame is not None:  # as debug mode does for each future, task and handle
        frame.f_code
        frame = frame.f_back

async def main():
    for threshold in range(1, 60):
        garbage = generator(threshold)
        await garbage.__anext__()
        cycle = [garbage]
        cycle.append(cycle)
        del garbage, cycle
        gc.set_threshold(threshold, 1, 1)
        gc.enable()
        coroutines = [operator.call(victim) for _ in range(threshold + 30)]
        gc.disable()
        for coroutine in coroutines:
            await coroutine
        del coroutines, coroutine
        gc.collect()
        for _ in range(3):
            await loops.asyncio.sleep(0)
    return 0 if closed == [*range(1, 60)] else 1

def make():
    loop = loops.factory("uvloop")()
    loop.set_debug(True)
    return loop

gc.disable()
sys.exit(loops.run(make, main()))
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.Runner is new in Python 3.11")
def test_the_loop_that_the_page_advises(uvloop: Any) -> None:
    hooks = []

    async def main() -> None:
        hooks.append(sys.get_asyncgen_hooks().finalizer)

    ((kind, block),) = blocks(chapter(PAGE.read_text(), "uvloop in debug mode"))
    assert kind == "python"
    exec(block, {"asyncio": asyncio, "uvloop": uvloop, "main": main})
    (hook,) = hooks
    assert isinstance(hook, types.MethodType)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="operator.call is new in Python 3.11")
def test_a_generator_that_is_collected_at_any_place(uvloop: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
