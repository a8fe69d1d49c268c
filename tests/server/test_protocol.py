"""cno/server/protocol.py: the options of cno.Server and of groups, and subclasses of cno.Server."""

import asyncio
from typing import Any

import pytest
from native import Site, both, hello
from wire import soon

import cno


@both
async def test_fields_of_the_group(peer: Site) -> None:
    client = await peer.serve(hello, server_header=True, date_header=False, header=["X-A: b"])
    response = await client.ask()
    assert (response.one("server"), response.one("date"), response.one("x-a")) == ("cno", None, "b")
    bare = await (await peer.connect()).ask()
    assert bare.one("server") == "cno"


@both
async def test_p2_a_subclass_has_its_own_methods(peer: Site) -> None:
    """Overridden methods of a subclass are called, although another class has had connections
    before."""
    lost: asyncio.Queue[Any] = asyncio.Queue()

    class Mine(cno.Server):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.put_nowait(self.http_version)

    await peer.start(hello)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Mine(None, hello), "127.0.0.1", 0)
    peer.server, other = listener, peer.server
    client = await peer.connect()
    assert (await client.ask()).status == 200
    client.close()
    assert await soon(lost.get()) == {"h1": "1.1", "h2": "2"}[peer.version]
    peer.server = other
    listener.close()


def run(main: Any) -> Any:
    return asyncio.run(asyncio.wait_for(main(), 10))


def test_options() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        group = cno.ServerGroup(None, http2=False, timeout_keep_alive=1.5)
        assert (group.loop, group.http2, group.keep_alive) == (loop, False, 1.5)
        server = cno.Server(None, hello, group=group)
        assert (server.loop, server.group) == (loop, group)
        with pytest.raises(TypeError, match="group"):
            cno.Server(None, hello, group=group, http2=True)
        with pytest.raises(TypeError, match="no option 'port'"):
            cno.Server(loop, hello, port=1)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="timeout_keep_alive"):
            cno.Server(loop, hello, timeout_keep_alive=-1)
        # Servers with equal options share a group; others have a group of their own.
        one, two = cno.Server(loop, hello), cno.Server(None, hello)
        other = cno.Server(loop, hello, http2=False)
        assert one.group is two.group
        assert one.group is not other.group

    run(main)


def test_a_group_of_another_loop() -> None:
    async def make() -> cno.ServerGroup:
        return cno.ServerGroup()

    async def main() -> None:
        with pytest.raises(ValueError, match="another loop"):
            cno.Server(asyncio.get_running_loop(), hello, group=group)

    group = run(make)
    run(main)


def test_the_loop_may_be_given_before_it_runs() -> None:
    loop = asyncio.new_event_loop()
    try:
        assert cno.Server(loop, hello).loop is loop
    finally:
        loop.close()
