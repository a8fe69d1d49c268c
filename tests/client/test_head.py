"""cno.client.head: the target and the fields of a request, and whose request a promise is."""

from __future__ import annotations

import pytest
from asking import ask, both, exchange, h2_only, secure
from scripted import Stage
from wire import soon

import cno
import cno.client.connection
import cno.client.dial
import cno.client.exchange
import cno.client.link
import cno.client.turns
import cno.client.upload
from tools import Certificate

# ---- what is sent, and what comes ----------------------------------------------------------------


@both
async def test_fields_of_the_caller_name_the_authority(peer: Stage) -> None:
    client, server = await peer.meet()
    for name in ("host", ":authority", "Host"):
        task, asked = await ask(client, server, "GET", "/", [(name, "elsewhere:81")])
        assert asked.one("host" if peer.version == "h1" else ":authority") == "elsewhere:81"
        await asked.respond()
        assert (await soon(task)).code == 200


@both
async def test_a_target_in_absolute_form(peer: Stage) -> None:
    """What a proxy is asked for has a Host of its own (RFC 9112 section 3.2.2). HTTP/2 has the same
    in pseudo-headers (RFC 9113 section 8.3.1)."""
    client, server = await peer.meet()
    for target, authority, path in (
        ("http://other.example/a?b", "other.example", "/a?b"),
        ("https://other.example:81?b", "other.example:81", "/?b"),
        ("http://[fe80::1]:81/", "[fe80::1]:81", "/"),
        ("/http://other.example/", peer.authority, "/http://other.example/"),
    ):
        task, asked = await ask(client, server, "GET", target)
        if peer.version == "h1":
            assert asked.one("host") == authority
            assert asked.target == target
        else:
            assert asked.one(":authority") == authority
            assert asked.target == path
            assert asked.one(":scheme") == ("https" if target[:5] == "https" else "http")
        await asked.respond()
        assert (await soon(task)).code == 200
    task, asked = await ask(client, server, "OPTIONS", "http://other.example")
    assert asked.target == ("*" if peer.version == "h2" else "http://other.example")
    await asked.respond()
    assert (await soon(task)).code == 200
    task, asked = await ask(client, server, "GET", "http://other.example/", [("Host", "third")])
    assert asked.one("host" if peer.version == "h1" else ":authority") == "third"
    await asked.respond()
    assert (await soon(task)).code == 200


@both
async def test_octets_that_are_not_utf8(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server, "GET", "/", [("x-a", b"caf\xe9")])
    assert asked.one("x-a") == "caf\u00e9"
    await asked.respond(200, b"", [("x-b", "caf\u00e9"), ("x-c", "caf\u00c3\u00a9")])
    response = await soon(task)
    assert response.headers[:2] == [("x-b", "caf\u00e9"), ("x-c", "caf\u00e9")]
    assert response.raw_headers[:2] == [(b"x-b", b"caf\xe9"), (b"x-c", b"caf\xc3\xa9")]
    assert await exchange(client, server)


# ---- pushes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("within_tls", [False, True], ids=["plain", "tls"])
@h2_only
async def test_promises_for_another_origin(
    peer: Stage, certificate: Certificate, within_tls: bool
) -> None:
    """RFC 9113 section 8.4: the server has no authority over these."""
    if within_tls:
        client, server = await secure(peer, certificate)
    else:
        client, server = await peer.meet()
    scheme, other = ("https", "http") if within_tls else ("http", "https")
    task, asked = await ask(client, server)
    refused = [
        await asked.promise("/1", scheme=scheme, authority="bank.example"),
        await asked.promise("/2", scheme=scheme, authority=f"www.{peer.authority}"),
        await asked.promise("/3", scheme=scheme, authority="127.0.0.1"),
        await asked.promise("/4", scheme=scheme, authority=f"user@{peer.authority}"),
        await asked.promise("/5", scheme=other, authority=peer.authority),
    ]
    await asked.promise("/own", scheme=scheme.upper(), authority=peer.authority)
    await asked.respond()
    response = await soon(task)
    assert [push.path async for push in response.pushed] == ["/own"]
    await soon(server.until(lambda: len(server.pushed_back) == len(refused)))
    assert sorted(server.pushed_back) == [promise.id for promise in refused]
    assert set(server.pushed_back_codes) == {1}
    assert await exchange(client, server)


@h2_only
async def test_promises_for_the_origin_in_other_words(peer: Stage) -> None:
    peer.listen()
    client = cno.Client(None, "Example.com", "http", force_http2=True)
    peer.ours.append(client)
    host, port = peer.listener.getsockname()  # type: ignore[union-attr]
    await soon(client.loop.create_connection(lambda: client, host, port))
    server = await peer.accept()
    # The caller says that this server has authority over another host.
    task, asked = await ask(client, server, "GET", "/", [("host", "other.example:81")])
    for authority in ("example.COM:80", "example.com", "other.example:81"):
        await asked.promise(f"/{authority}", authority=authority)
    refused = await asked.promise("/no", authority="other.example")
    await asked.respond()
    response = await soon(task)
    assert len([push async for push in response.pushed]) == 3
    await soon(server.until(lambda: server.pushed_back))
    assert server.pushed_back == [refused.id]
