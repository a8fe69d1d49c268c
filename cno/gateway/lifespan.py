"""The lifespan protocol of ASGI: one conversation with the application per event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from cno.config.errors import StartupFailed
from cno.gateway.interface import App, Message
from cno.observe.logs import error as log

# Seconds that the application may go on for once it has said that its shutdown is complete.
GRACE = 1.0

# What the application may say, and what it must have been told before.
ANSWERS = {
    "lifespan.startup.complete": "startup",
    "lifespan.startup.failed": "startup",
    "lifespan.shutdown.complete": "shutdown",
    "lifespan.shutdown.failed": "shutdown",
}


class Lifespan:
    """Runs startup and shutdown of `app`.

    `mode` is `auto`, `on` (an application that raises instead of starting is a failure) or `off`
    (nothing happens). `state` is what the application put into scope["state"], for the requests to
    copy; None when off.
    """

    def __init__(self, app: App, mode: str = "auto") -> None:
        self.state: dict[str, Any] | None = None if mode == "off" else {}
        self._app = app
        self._mode = mode
        self._task: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._unsupported = False
        self._phase = "startup"  # what is asked for: startup, then shutdown
        self._answers: dict[str, asyncio.Future[Message]] = {}

    async def startup(self) -> None:
        """Returns when requests may be served.

        Raises StartupFailed if the application said so, or if it raised and the mode is `on`.
        """
        if self._mode == "off":
            return
        self._task = asyncio.get_running_loop().create_task(self._run(), name="cno lifespan")
        answer = await self._ask("startup")
        if answer is None:
            self._not_supported()
        elif answer["type"] == "lifespan.startup.failed":
            await self._finish()
            raise StartupFailed(self._failure("startup", answer))

    async def shutdown(self) -> None:
        """Lets the application clean up; returns when it said that it has, or cannot any more."""
        if self._task is None:
            return
        if self._task.done():
            if not self._unsupported and (problem := self._raised()) is not None:
                log.error("The application's lifespan ended early", exc_info=problem)
            return
        self._phase = "shutdown"
        answer = await self._ask("shutdown")
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            log.error(self._failure("shutdown", answer))
        await self._finish()

    async def cancel(self) -> None:
        """Ends the conversation where it stands."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=GRACE)

    # ---- the application's side ---------------------------------------------------------------

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        await self._app(scope, self._events.get, self._send)

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if ANSWERS.get(kind) != self._phase:
            raise RuntimeError(f"unexpected message {kind!r} while waiting for {self._phase}")
        answer = self._answers[self._phase]
        if answer.done():
            raise RuntimeError(f"message {kind!r} after {answer.result()['type']!r}")
        answer.set_result(message)

    # ---- the server's side --------------------------------------------------------------------

    async def _ask(self, phase: str) -> Message | None:
        """The answer to an event; None if the application ended without one."""
        assert self._task is not None
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers[phase] = answer
        self._events.put_nowait({"type": f"lifespan.{phase}"})
        both: set[asyncio.Future[Any]] = {answer, self._task}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        if phase == "shutdown" and (problem := self._raised()) is not None:
            log.error("Application shutdown failed.", exc_info=problem)
        return None

    async def _finish(self) -> None:
        """Waits for the application to return, but not for ever."""
        assert self._task is not None
        await asyncio.wait({self._task}, timeout=GRACE)
        await self.cancel()
        self._raised()  # it was told already; asyncio need not complain about it

    def _raised(self) -> BaseException | None:
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    def _not_supported(self) -> None:
        self._unsupported = True
        problem = self._raised()
        if problem is None:
            log.debug("The application has no lifespan: it returned without an answer.")
            return
        reason = f"{type(problem).__name__}: {problem}".rstrip(": ")
        if self._mode == "on":
            log.error("Exception in the application's lifespan", exc_info=problem)
            raise StartupFailed(f"the application's startup raised {reason}")
        log.warning("The application has no lifespan, or its startup raised: %s", reason)
        log.debug("Exception in the application's lifespan", exc_info=problem)

    def _failure(self, phase: str, answer: Message) -> str:
        """One line. A longer message, such as a traceback, is logged whole first."""
        lines = str(answer.get("message", "")).strip().splitlines()
        if len(lines) > 1:
            log.error("\n".join(lines))
        return f"application {phase} failed" + (f": {lines[-1].strip()}" if lines else "")
