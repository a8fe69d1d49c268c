"""cno/process/service.py: serving inside a running event loop, and the end of a service."""

import asyncio
import signal
from typing import Any
from urllib.parse import urlsplit

import apps
import pytest
from peer import Peer, both
from servers import PATIENCE
from wire import soon

import cno
from cno.config.errors import ConfigError, StartupFailed


async def get(url: str) -> bytes:
    """Returns the whole response to GET /, head and body."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return await asyncio.wait_for(reader.read(), PATIENCE)
    finally:
        writer.close()
        await writer.wait_closed()


def test_serve(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> bytes:
        async with cno.serve(apps.hello, port=0) as server:
            assert urlsplit(server.url).port == server.sockets[0].getsockname()[1]
            return await get(server.url)

    assert asyncio.run(main()).endswith(b"yes")
    assert capfd.readouterr().out.splitlines() == ["app: startup", "app: shutdown"]


def test_two_at_once() -> None:
    async def main() -> list[bytes]:
        async with cno.serve(apps.hello, port=0) as one, cno.serve("apps:hello", port=0) as two:
            return await asyncio.gather(get(one.url), get(two.url))

    one, two = asyncio.run(main())
    assert one.startswith(b"HTTP/1.1 200")
    assert two.startswith(b"HTTP/1.1 200")


def test_close_before_the_end_of_the_block() -> None:
    async def main() -> None:
        async with cno.serve(apps.hello, port=0) as server:
            server.close()
            server.close()
            await server.wait_closed()
            with pytest.raises(OSError, match=r"refused|failed"):
                await get(server.url)

    asyncio.run(main())


def test_no_signal_handlers() -> None:
    async def main() -> None:
        before = signal.getsignal(signal.SIGTERM)
        async with cno.serve(apps.hello, port=0):
            assert signal.getsignal(signal.SIGTERM) is before

    asyncio.run(main())


def test_a_failed_start_leaves_nothing_behind() -> None:
    async def main() -> None:
        with pytest.raises(StartupFailed, match="no database"):
            async with cno.serve(apps.failing, port=0):
                pytest.fail("it started")
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "kind"), [({"prot": 0}, TypeError), ({"port": "x"}, ConfigError)]
)
def test_wrong_options(options, kind) -> None:
    async def main() -> None:
        async with cno.serve(apps.hello, **options):
            pytest.fail("it started")

    with pytest.raises(kind):
        asyncio.run(main())


def test_the_package_exports_what_it_says() -> None:
    assert {name for name in cno.__all__ if getattr(cno, name) is not None} == set(cno.__all__)
    with pytest.raises(AttributeError, match="nosuch"):
        _ = cno.nosuch


# ---- the deadline of a drain --------------------------------------------------------------------


def streaming(farewell: bytes | None, told: list[str]) -> Any:
    """An application that sends an event, waits in receive() for the end, and notes that in `told`.

    The last event is `farewell`. With None the application goes on for ever.
    """

    async def app(scope, receive, send) -> None:
        assert (await receive())["type"] == "http.request"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        told.append((await receive())["type"])
        if farewell is None:
            await asyncio.Event().wait()
        await send({"type": "http.response.body", "body": farewell})

    return app


@both
async def test_applications_end_their_responses_at_the_deadline(peer: Peer) -> None:
    peer.cuts = True
    told: list[str] = []
    client = await peer.serve(streaming(b"data: end\n\n", told), timeout_graceful_shutdown=0.05)
    exchange = await client.start()
    await exchange.body(9)
    peer.server.close()
    response = await exchange.response()
    assert told == ["http.disconnect"]
    assert response.body == b"data: 1\n\ndata: end\n\n"
    assert response.complete
    client.close()
    await soon(peer.server.wait_closed())
    assert any("still open after 0.05 s" in line for line in peer.log)
    assert not [line for line in peer.log if "Cutting" in line or "failed" in line]


@both
async def test_applications_that_go_on_are_cut(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cno.process.service.FAREWELL", 0.05)
    monkeypatch.setattr("cno.server.group.MERCY", 0.05)
    peer.cuts = True
    told: list[str] = []
    client = await peer.serve(streaming(None, told), timeout_graceful_shutdown=0.05)
    exchange = await client.start()
    await exchange.body(9)
    peer.server.close()
    response = await exchange.response()
    assert told == ["http.disconnect"]
    assert not response.complete
    await soon(peer.server.wait_closed())
    assert any("Cutting the connections" in line for line in peer.log)


@both
async def test_force_cuts_at_once(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cno.process.service.FAREWELL", 60.0)
    monkeypatch.setattr("cno.server.group.MERCY", 0.05)
    peer.cuts = True
    told: list[str] = []
    client = await peer.serve(streaming(None, told), timeout_graceful_shutdown=60.0)
    exchange = await client.start()
    await exchange.body(9)
    peer.server.close()
    peer.server.force()
    assert not (await exchange.response()).complete
    await soon(peer.server.wait_closed())


@both
async def test_force_ends_the_farewell(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cno.process.service.FAREWELL", 60.0)
    monkeypatch.setattr("cno.server.group.MERCY", 0.05)
    peer.cuts = True
    told: list[str] = []
    client = await peer.serve(streaming(None, told), timeout_graceful_shutdown=0.0)
    exchange = await client.start()
    await exchange.body(9)
    peer.server.close()
    while not told:
        await asyncio.sleep(0)
    peer.server.force()
    assert not (await exchange.response()).complete
    await soon(peer.server.wait_closed())
