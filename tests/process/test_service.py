"""cno/process/service.py: serving inside somebody else's event loop."""

import asyncio
import signal
from urllib.parse import urlsplit

import apps
import pytest
from servers import PATIENCE

import cno
from cno.config.errors import ConfigError, StartupFailed


async def get(url: str) -> bytes:
    """The whole response to GET /."""
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
