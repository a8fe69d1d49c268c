"""The event loop of a process that cno runs: which loop an option names, and its whole run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from cno.config.errors import StartupFailed

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def factory(name: str) -> LoopFactory:
    """The function that makes the loop named by --loop: auto, asyncio or uvloop.

    Raises StartupFailed for `uvloop` where uvloop is not installed; `auto` is asyncio there.
    """
    if name != "asyncio":
        try:
            return _uvloop()
        except ImportError:
            if name == "uvloop":
                raise StartupFailed("--loop uvloop: uvloop is not installed") from None
    return asyncio.new_event_loop


def run(factory: LoopFactory, main: Coroutine[Any, Any, int]) -> int:
    """Runs `main` on a new loop and returns its result.

    Like asyncio.run(), which takes a loop factory from Python 3.12 on only: cancels the tasks that
    are left, closes the asynchronous generators and the executor, and closes the loop.
    """
    loop = factory()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        try:
            if left := asyncio.all_tasks(loop):
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _uvloop() -> LoopFactory:
    """A uvloop whose debug mode does not crash. Raises ImportError where there is no uvloop.

    The interpreter calls the finalizer of asynchronous generators from the garbage collector, which
    may run while the innermost Python frame is still being set up. uvloop's finalizer is C code, so
    it adds no frame; in debug mode (`python -X dev`, PYTHONASYNCIODEBUG=1) uvloop then records the
    stack from that unfinished frame on, and the process crashes or hangs. A finalizer written in
    Python adds a complete frame, where the record of the stack begins instead.
    """
    import uvloop

    class Loop(uvloop.Loop):
        def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
            super()._asyncgen_finalizer_hook(agen)  # type: ignore[misc]

    return Loop
