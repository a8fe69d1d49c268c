"""cno/process/signals.py: handlers that libraries can find, the event loop, and the end."""

import asyncio
import os
import signal
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from peer import LOOPS, run
from servers import PATIENCE, read_all, running
from wire import soon

from cno.process import signals

BOTH = [loop for loop in LOOPS if loop != "python"]


@pytest.mark.parametrize("number", signals.SIGNALS)
@pytest.mark.parametrize("loop", BOTH)
def test_a_signal_wakes_a_loop_that_waits_for_input(loop: str, number: int) -> None:
    async def main() -> None:
        woken = asyncio.Event()
        with signals.handled(woken.set):
            threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
            await soon(woken.wait())

    run(main, loop)


@pytest.mark.parametrize("loop", BOTH)
def test_each_signal_counts(loop: str) -> None:
    async def main() -> None:
        came: asyncio.Queue[None] = asyncio.Queue()
        with signals.handled(lambda: came.put_nowait(None)):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), number)
                await soon(came.get())
        assert came.empty()

    run(main, loop)


def test_libraries_find_out_through_the_handler() -> None:
    """sse-starlette looks for the server in this way."""

    async def main() -> None:
        with signals.handled(lambda: None):
            servers = [signal.getsignal(number).__self__ for number in signals.SIGNALS]
            assert servers[0] is servers[1]
            assert servers[0].should_exit is False
            signal.raise_signal(signal.SIGTERM)
            assert servers[0].should_exit is True

    asyncio.run(main())


@pytest.mark.parametrize("loop", BOTH)
def test_the_former_handlers_come_back(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def mine(number: int, frame: Any) -> None:
        """The handler of a script."""

    async def main() -> None:
        with signals.handled(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is not mine
            assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN

    former = signal.signal(signal.SIGTERM, mine), signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run(main, loop)
    finally:
        signal.signal(signal.SIGTERM, former[0])
        signal.signal(signal.SIGINT, former[1])


def test_a_handler_installed_by_c_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """signal.signal() returns None for such a handler, but does not take None."""
    installed: dict[int, Any] = {}
    monkeypatch.setattr(signals.signal, "signal", lambda n, h: installed.update({n: h}))

    async def main() -> None:
        with signals.handled(lambda: None):
            pass

    asyncio.run(main())
    assert installed == dict.fromkeys(signals.SIGNALS, signal.SIG_DFL)


def test_another_thread_has_no_handlers() -> None:
    seen = []

    async def main() -> None:
        before = signal.getsignal(signal.SIGTERM)
        with signals.handled(lambda: None):
            seen.append(signal.getsignal(signal.SIGTERM) is before)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join(PATIENCE)
    assert seen == [True]


# ---- a process ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", signals.SIGNALS)
@pytest.mark.parametrize("loop", BOTH)
def test_server_sent_events_end_with_the_process(loop: str, number: int) -> None:
    """sse-starlette looks at the handler twice a second."""
    pytest.importorskip("sse_starlette")
    with running("sites.events:app", "--port", "0", "--loop", loop) as server:
        url = urlsplit(server.ready())
        with socket.create_connection((url.hostname, url.port), PATIENCE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            while b"data: 3" not in client.recv(65536):
                pass
            since = time.monotonic()
            server.send(number)
            read_all(client)
            assert server.wait() == 0
            assert time.monotonic() - since < 5  # without the handler the process does not end
    assert "still open" not in server.output
