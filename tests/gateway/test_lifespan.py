"""cno/gateway/lifespan.py, against section "lifespan" of the ASGI specification (ids L1 to L9)."""

import asyncio
import logging

import pytest

from cno.config.errors import StartupFailed
from cno.gateway.lifespan import Lifespan


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cno.gateway.lifespan.GRACE", 0.01)


class App:
    """Answers each event with what the test says, and keeps what it saw."""

    def __init__(self, startup="complete", shutdown="complete", message="") -> None:
        self.answers = {"lifespan.startup": startup, "lifespan.shutdown": shutdown}
        self.message = message
        self.seen: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        self.scope = scope
        while "lifespan.shutdown" not in self.seen:
            kind = (await receive())["type"]
            self.seen.append(kind)
            if isinstance(self.answers[kind], Exception):
                raise self.answers[kind]
            if self.answers[kind] is None:
                return
            scope["state"][kind] = self.answers[kind]
            await send({"type": f"{kind}.{self.answers[kind]}", "message": self.message})


async def live(app, mode: str = "auto") -> Lifespan:
    lifespan = Lifespan(app, mode)
    await lifespan.startup()
    await lifespan.shutdown()
    return lifespan


def test_one_conversation_with_scope_and_state() -> None:
    app = App()
    lifespan = asyncio.run(live(app))
    assert app.seen == ["lifespan.startup", "lifespan.shutdown"]
    assert app.scope["type"] == "lifespan"
    assert app.scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
    assert "extensions" not in app.scope
    assert lifespan.state is app.scope["state"]
    assert lifespan.state["lifespan.startup"] == "complete"


def test_startup_waits_for_the_answer() -> None:
    async def main() -> list[str]:
        order = []
        gate = asyncio.Event()

        async def app(scope, receive, send) -> None:
            await receive()
            order.append("asked")
            await gate.wait()
            order.append("answers")
            await send({"type": "lifespan.startup.complete"})
            await receive()

        lifespan = Lifespan(app)
        starting = asyncio.ensure_future(lifespan.startup())
        starting.add_done_callback(lambda _: order.append("started"))
        while "asked" not in order:
            await asyncio.sleep(0)
        gate.set()
        await starting
        await lifespan.cancel()
        return order

    assert asyncio.run(main()) == ["asked", "answers", "started"]


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_l3_startup_failed(mode: str) -> None:
    with pytest.raises(StartupFailed, match="application startup failed: no database"):
        asyncio.run(live(App("failed", message="no database"), mode))


def test_l3_a_traceback_is_logged_whole_and_named_by_its_last_line(caplog) -> None:
    app = App("failed", message="Traceback:\n  deep\nValueError: no database\n")
    with pytest.raises(StartupFailed, match=r"^application startup failed: ValueError: no data"):
        asyncio.run(live(app))
    assert "  deep" in caplog.text


def test_l2_an_exception_means_no_lifespan(caplog) -> None:
    app = App(ValueError("not http"))
    caplog.set_level(logging.DEBUG, "cno.error")
    lifespan = asyncio.run(live(app))
    assert lifespan.state == {}
    assert app.seen == ["lifespan.startup"]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "ValueError: not http" in warnings[0]
    assert "\n" not in warnings[0]
    assert "Traceback" in caplog.text


def test_l2_an_exception_on_the_scope_itself() -> None:
    async def app(scope, receive, send) -> None:
        raise AssertionError

    assert asyncio.run(live(app)).state == {}


def test_l8_on_makes_an_exception_a_failure(caplog) -> None:
    with pytest.raises(StartupFailed, match="raised ValueError: not http"):
        asyncio.run(live(App(ValueError("not http")), "on"))
    assert "Traceback" in caplog.text


def test_l6_a_silent_return_means_no_lifespan() -> None:
    app = App(None)
    assert asyncio.run(live(app)).state == {}
    assert app.seen == ["lifespan.startup"]


def test_off_says_nothing() -> None:
    app = App()
    assert asyncio.run(live(app, "off")).state is None
    assert app.seen == []


def test_l5_shutdown_failed_is_logged(caplog) -> None:
    asyncio.run(live(App(shutdown="failed", message="still busy")))
    assert "application shutdown failed: still busy" in caplog.text


def test_an_exception_in_shutdown_is_logged(caplog) -> None:
    asyncio.run(live(App(shutdown=ValueError("still busy"))))
    assert "ValueError: still busy" in caplog.text


def test_an_exception_between_startup_and_shutdown_is_logged(caplog) -> None:
    async def main() -> None:
        async def app(scope, receive, send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            raise ValueError("gone")

        await live(app)

    asyncio.run(main())
    assert "ValueError: gone" in caplog.text


@pytest.mark.parametrize(
    "messages",
    [
        ["lifespan.startup.complete", "lifespan.startup.complete"],
        ["lifespan.startup.complete", "lifespan.startup.failed"],
        ["lifespan.shutdown.complete"],
        ["http.response.start"],
    ],
)
def test_an_answer_out_of_order_raises_from_send(messages: list[str]) -> None:
    raised = []

    async def app(scope, receive, send) -> None:
        await receive()
        try:
            for kind in messages:
                await send({"type": kind})
        except RuntimeError as error:
            raised.append(error)

    asyncio.run(live(app))
    assert len(raised) == 1


def test_cleaning_up_after_the_answer_is_waited_for() -> None:
    cleaned = []

    async def app(scope, receive, send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        await asyncio.sleep(0)
        cleaned.append(True)

    asyncio.run(live(app))
    assert cleaned


def test_an_application_that_never_returns_is_cancelled() -> None:
    cancelled = []

    async def app(scope, receive, send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        try:
            await receive()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    asyncio.run(live(app))
    assert cancelled
