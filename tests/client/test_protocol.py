"""cno.Client: requests as the seed has them, and what cannot be sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asking import ask, both, exchange
from scripted import Stage
from wire import soon

import cno
import cno.client.connection
import cno.client.dial
import cno.client.exchange
import cno.client.link
import cno.client.turns
import cno.client.upload


@both
async def test_a_request_as_the_seed_has_it(peer: Stage) -> None:
    client, server = await peer.meet()
    assert client.loop is asyncio.get_running_loop()
    assert client.transport.get_extra_info("peername")[0] == "127.0.0.1"
    assert client.is_http2 == (peer.version == "h2")
    assert (client.scheme, client.authority) == ("http", peer.authority)
    assert not client.is_closed
    fields = [("User-Agent", "libcno/0.1"), ("x-one", "caf\u00e9")]
    task, asked = await ask(client, server, "GET", "/a%20b?q=1&r=", fields)
    assert (asked.method, asked.target) == ("GET", "/a%20b?q=1&r=")
    own = {(k, v) for k, v in asked.headers if k[:1] != ":" and k != "host"}
    assert own == {("user-agent", "libcno/0.1"), ("x-one", "caf\u00c3\u00a9")}
    if peer.version == "h2":
        assert asked.headers[:2] == [(":scheme", "http"), (":authority", peer.authority)]
    else:
        assert asked.one("host") == peer.authority
    assert await asked.whole() == b""
    await asked.respond(200, b"body", [("x-two", "2")])
    response = await soon(task)
    assert isinstance(response, cno.Response)
    assert response.conn is client
    assert response.code == 200
    assert response.headers == [("x-two", "2"), ("content-length", "4")]
    assert response.raw_headers == [(b"x-two", b"2"), (b"content-length", b"4")]
    assert isinstance(response.payload, asyncio.StreamReader)
    assert await soon(response.payload.read()) == b"body"
    assert [push async for push in response.pushed] == []
    assert response.trailers == []
    assert repr(response) == "<Response 200 to GET>"
    client.close()
    await soon(client.wait_closed())
    assert client.is_closed


def test_the_loop_may_be_given_before_it_runs() -> None:
    loop = asyncio.new_event_loop()
    try:
        assert cno.Client(loop, authority="example.com", scheme="https").loop is loop
        assert cno.Client(loop, "example.com", "https").authority == "example.com"
    finally:
        loop.close()


@both
async def test_a_client_that_is_not_connected(peer: Stage) -> None:
    peer.listen()
    client = peer.make()
    with pytest.raises(cno.Unprocessed):
        await client.request("GET", "/")
    client.close()


@both
async def test_none_is_the_running_loop(peer: Stage) -> None:
    assert cno.Client(None).loop is asyncio.get_running_loop()


WRONG: list[Any] = [
    ("GET", "/", [("bad\nname", "")]),
    ("GET", "/", [("x", "a\r\nb")]),
    ("GET", "/", [("x", "\0")]),
    ("GET", "/", [("", "x")]),
    ("GET", "/ space"),
    ("GET", "/\n"),
    ("GET", ""),
    ("G T", "/"),
    ("", "/"),
    ("POST", "/", [("content-length", "x")], b"body"),
    ("POST", "/", [("content-length", "5")]),
]


@pytest.mark.parametrize("request_", WRONG, ids=repr)
@both
async def test_what_cannot_be_sent(peer: Stage, request_: Any) -> None:
    client, server = await peer.meet()
    with pytest.raises(ValueError):
        await soon(client.request(*request_))
    assert await exchange(client, server)


@both
async def test_a_body_is_no_string(peer: Stage) -> None:
    client, server = await peer.meet()
    with pytest.raises(TypeError):
        await client.request("POST", "/", [], "text")
    assert await exchange(client, server)
