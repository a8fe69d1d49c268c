"""The lifespan protocol of ASGI: the startup and the shutdown of an application."""

from __future__ import annotations

import asyncio
from typing import Any

from cno.config.errors import StartupFailed
from cno.gateway.interface import App, Message
from cno.observe.logs import error as log

# Seconds that the application has to return after its answer to lifespan.shutdown.
GRACE = 1.0

# The messages of the application, each with the phase in which it is allowed.
ANSWERS = {
    "lifespan.startup.complete": "startup",
    "lifespan.startup.failed": "startup",
    "lifespan.shutdown.complete": "shutdown",
    "lifespan.shutdown.failed": "shutdown",
}


class Lifespan:
    """Runs the startup and the shutdown of an application, once.

    With mode `auto`, an application that raises an exception instead of an answer has no lifespan;
    with `on` the start fails then; with `off` the application is not called. `state` is the
    scope["state"] that the application fills and requests copy; None with `off`.
    """

    def __init__(self, app: App, mode: str = "auto") -> None:
        self.state: dict[str, Any] | None = None if mode == "off" else {}
        self._app = app
        self._mode = mode
        self._task: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._unsupported = False
        self._phase = "startup"  # the last event: startup, then shutdown
        self._answers: dict[str, asyncio.Future[Message]] = {}

    async def startup(self) -> None:
        """Returns when the application is ready for requests.

        Raises StartupFailed if the application answers lifespan.startup.failed, or raises an
        exception and the mode is `on`.
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
        """Has the application shut down; returns when it has answered or has ended."""
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
        """Cancels the application, and waits for its end for GRACE seconds."""
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
        """Sends an event and returns the answer, or None if the application ends without one."""
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
        """Waits GRACE seconds for the application to return, then cancels it."""
        assert self._task is not None
        await asyncio.wait({self._task}, timeout=GRACE)
        await self.cancel()
        self._raised()  # marks the exception as seen, or asyncio would log it

    def _raised(self) -> BaseException | None:
        """Returns the exception that has ended the application, if one has."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    def _not_supported(self) -> None:
        """Goes on without a lifespan after an application that ended instead of answering."""
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
        """Returns the reason in one line. Logs a message of several lines, such as a traceback."""
        lines = str(answer.get("message", "")).strip().splitlines()
        if len(lines) > 1:
            log.error("\n".join(lines))
        return f"application {phase} failed" + (f": {lines[-1].strip()}" if lines else "")
