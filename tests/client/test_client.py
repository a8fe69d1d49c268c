"""cno.Client against servers that say what a test has them say: requests and their responses.

How they fail is in test_client_ends.py, what is uploaded in test_client_bodies.py. P8 is what the
first libcno's client could not do.
"""

import asyncio
import contextlib
import gc
from typing import Any

import pytest
from asking import ask, both, cancel, engines, exchange, h1, h2_only, secure, until, until_gone
from hyperframe.frame import SettingsFrame
from scripted import H2Asked, H2Server, Stage
from wire import soon

import cno
import cno.client.connection
import cno.client.turns
from tools import Certificate

# ---- what is sent, and what comes ----------------------------------------------------------------


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
async def test_what_cannot_be_sent_when_its_turn_comes(peer: Stage) -> None:
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    first, asked = await ask(client, server)
    wrong = asyncio.ensure_future(client.request("GET", "/", [("x", "\n")]))
    second = asyncio.ensure_future(client.request("GET", "/2"))
    await asked.respond()
    with pytest.raises(ValueError):
        await soon(wrong)
    await soon(first)
    asked = await soon(server.request())
    assert asked.target == "/2"
    await asked.respond()
    assert (await soon(second)).code == 200


@both
async def test_a_body_is_no_string(peer: Stage) -> None:
    client, server = await peer.meet()
    with pytest.raises(TypeError):
        await client.request("POST", "/", [], "text")
    assert await exchange(client, server)


@both
async def test_p8_informational_responses(peer: Stage) -> None:
    client, server = await peer.meet()
    said: list[Any] = []
    task, asked = await ask(client, server, inform=lambda *args: said.append(args))
    await asked.head(103, [("link", "</a>")])
    await asked.head(103, [("link", "</b>")])
    await asked.head(102)
    await asked.respond(200, b"final")
    response = await soon(task)
    assert response.code == 200
    assert await soon(response.payload.read()) == b"final"
    assert said == [(103, [("link", "</a>")]), (103, [("link", "</b>")]), (102, [])]
    task, asked = await ask(client, server)  # nobody wants to know
    await asked.head(103)
    await asked.respond(204)
    assert (await soon(task)).code == 204
    assert await exchange(client, server)


@both
async def test_p8_nobody_is_informed_after_a_request_was_cancelled(peer: Stage) -> None:
    client, server = await peer.meet()
    said: list[int] = []
    task, asked = await ask(client, server, inform=lambda code, _: said.append(code))
    await cancel(task)
    await asked.head(103)
    if peer.version == "h1":
        await asked.respond()
    assert await exchange(client, server)
    assert said == []


@both
async def test_responses_without_content(peer: Stage) -> None:
    client, server = await peer.meet()
    for method, status, fields in (
        ("HEAD", 200, [("content-length", "1000")]),
        ("HEAD", 404, []),
        ("GET", 204, []),
        ("GET", 304, [("content-length", "1000")]),
        ("GET", 200, [("content-length", "0")]),
    ):
        task, asked = await ask(client, server, method, "/")
        await asked.head(status, fields, end=True)
        response = await soon(task)
        assert (response.code, response.headers) == (status, fields)
        assert await soon(response.payload.read()) == b""
        assert response.payload.at_eof()


@both
async def test_response_trailers(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    await asked.write(b"body")
    response = await soon(task)
    assert await soon(response.payload.readexactly(4)) == b"body"
    assert response.trailers == []
    await asked.tail([("x-sum", "caf\u00e9")])
    assert await soon(response.payload.read()) == b""
    assert response.trailers == [("x-sum", "caf\u00e9")]
    assert await exchange(client, server)


@both
async def test_a_body_in_parts(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    reading = asyncio.ensure_future(response.payload.readline())
    await asked.write(b"li")
    await asked.write(b"ne\nrest")
    assert await soon(reading) == b"line\n"
    assert await soon(response.payload.read(100)) == b"rest"
    await asked.write(b"", end=True)
    assert await soon(response.payload.read()) == b""


# ---- whose turn it is ----------------------------------------------------------------------------


@h1
async def test_p8_requests_wait_in_order(peer: Stage) -> None:
    client, server = await peer.meet()
    tasks = [asyncio.ensure_future(client.request("GET", f"/{i}")) for i in range(5)]
    for i, task in enumerate(tasks):
        asked = await soon(server.request())
        assert asked.target == f"/{i}"
        await server.wire.loop.sock_sendall(server.wire.sock, b"")
        assert not server.buffer  # one at a time
        await asked.respond(200, b"%d" % i)
        response = await soon(task)
        assert await soon(response.payload.read()) == b"%d" % i


@h2_only
async def test_p8_requests_beyond_the_stream_limit_wait(peer: Stage) -> None:
    client, server = await peer.meet()
    await server.settings(max_concurrent_streams=2)
    await server.ping()
    tasks = [asyncio.ensure_future(client.request("GET", f"/{i}")) for i in range(6)]
    first, second = await soon(server.request()), await soon(server.request())
    await server.ping()
    assert server.requests == 0
    await cancel(tasks[2])
    await cancel(tasks[4])
    await second.respond(200, b"1")
    third = await soon(server.request())
    assert third.target == "/3"
    await server.ping()
    assert server.requests == 0
    await server.settings(max_concurrent_streams=10)
    fourth = await soon(server.request())
    assert fourth.target == "/5"
    for asked in (fourth, third, first):
        await asked.respond(200, asked.target.encode())
    for i in (0, 3, 5):
        response = await soon(tasks[i])
        assert await soon(response.payload.read()) == b"/%d" % i
    assert await exchange(client, server)
    assert not client.streams
    assert not client._turns


@h2_only
async def test_a_limit_of_none_is_waited_out(peer: Stage) -> None:
    client, server = await peer.meet()
    await server.settings(max_concurrent_streams=0)
    await server.ping()
    tasks = [asyncio.ensure_future(client.request("GET", f"/{i}")) for i in range(3)]
    await server.ping()
    assert server.requests == 0
    await server.settings(max_concurrent_streams=1)
    for i, task in enumerate(tasks):
        asked = await soon(server.request())
        assert asked.target == f"/{i}"
        await asked.respond()
        assert (await soon(task)).code == 200


@both
async def test_no_more_than_so_many_wait(peer: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cno.client.turns, "WAITING", 3)
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    first, asked = await ask(client, server)
    tasks = [asyncio.ensure_future(client.request("GET", f"/{i}")) for i in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(cno.RequestFailed) as caught:
        await soon(client.request("GET", "/too-many"))
    assert caught.value.unprocessed
    await cancel(tasks.pop())
    tasks.append(asyncio.ensure_future(client.request("GET", "/2")))
    await asked.respond()
    assert (await soon(first)).code == 200
    for i, task in enumerate(tasks):
        asked = await soon(server.request())
        assert asked.target == f"/{i}"
        await asked.respond()
        assert (await soon(task)).code == 200


@both
async def test_p8_cancelled_while_it_waits_for_the_head(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    after = asyncio.ensure_future(client.request("GET", "/after"))
    await cancel(task)
    if peer.version == "h2":
        assert await soon(asked.is_reset()) == 8
    else:
        await asked.respond(200, b"nobody wants it")
    asked = await soon(server.request())
    assert asked.target == "/after"
    await asked.respond(200, b"ok")
    response = await soon(after)
    assert await soon(response.payload.read()) == b"ok"
    assert await exchange(client, server)
    assert not client.streams


@both
async def test_p8_cancelled_in_the_queue(peer: Stage) -> None:
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    task, asked = await ask(client, server)
    others = [asyncio.ensure_future(client.request("GET", f"/{i}")) for i in range(3)]
    await asyncio.sleep(0)
    await cancel(others[1])
    await asked.respond(200, b"ok")
    assert (await soon(task)).code == 200
    for i in (0, 2):
        asked = await soon(server.request())
        assert asked.target == f"/{i}"
        await asked.respond()
        assert (await soon(others[i])).code == 200


@both
async def test_p8_cancelled_in_the_very_turn(peer: Stage) -> None:
    """Its head was written, but it does not know yet."""
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    task, asked = await ask(client, server)
    second = asyncio.ensure_future(client.request("GET", "/second"))
    third = asyncio.ensure_future(client.request("GET", "/third"))
    await asyncio.sleep(0)
    began = client._write_head

    def write_head(*args: Any) -> bool:
        client.loop.call_soon(second.cancel)
        return began(*args)

    client._write_head = write_head
    await asked.respond()
    assert (await soon(task)).code == 200
    with pytest.raises(asyncio.CancelledError):
        await soon(second)
    client._write_head = began
    asked = await soon(server.request())
    if asked.target == "/second":
        if peer.version == "h1":
            await asked.respond()
        asked = await soon(server.request())
    assert asked.target == "/third"
    await asked.respond()
    assert (await soon(third)).code == 200
    assert not client.streams


@both
async def test_p8_cancelled_while_it_is_read(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    await asked.write(b"some")
    response = await soon(task)
    reading = asyncio.ensure_future(response.payload.readexactly(1000))
    await asyncio.sleep(0)
    await cancel(reading)
    await asked.write(b" more")  # it can be read on
    assert await soon(response.payload.readexactly(9)) == b"some more"
    await asked.write(b"", end=True)
    assert await soon(response.payload.read()) == b""
    assert await exchange(client, server)


@h1
async def test_p8_what_is_cancelled_is_read_past(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    await cancel_response(await soon(task))
    after = asyncio.ensure_future(client.request("GET", "/after"))
    for _ in range(3):
        await asked.write(bytes(65536))
    await asked.tail([("x", "y")])
    asked = await soon(server.request())
    assert asked.target == "/after"
    await asked.respond()
    assert (await soon(after)).code == 200


async def cancel_response(response: cno.Response) -> None:
    response.close()
    with pytest.raises(cno.RequestFailed, match="closed"):
        await soon(response.payload.read())


@h1
async def test_p8_what_is_too_much_to_read_past_ends_the_connection(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    await cancel_response(await soon(task))
    after = asyncio.ensure_future(client.request("GET", "/after"))
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            await asked.write(bytes(65536))
    with pytest.raises(cno.RequestFailed) as caught:
        await soon(after)
    assert caught.value.unprocessed
    assert client.is_closed


# ---- responses -----------------------------------------------------------------------------------


@both
async def test_a_response_is_closed_by_async_with(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    await asked.write(b"some")
    async with await soon(task) as response:
        assert await soon(response.payload.readexactly(4)) == b"some"
    if peer.version == "h2":
        assert await soon(asked.is_reset()) == 8
    else:
        await asked.write(b"rest", end=True)
    assert await exchange(client, server)
    response.close()  # a second time is nothing
    assert await exchange(client, server)


@both
async def test_a_complete_response_that_is_not_read_and_closed(peer: Stage) -> None:
    """However much of it there was, the next one comes."""
    client, server = await peer.meet()
    for size in (1000, 65536, 200000):
        task, asked = await ask(client, server)
        await asked.respond(200, bytes(size))
        async with await soon(task) as response:
            assert response.code == 200
        assert await exchange(client, server)


@h1
async def test_a_complete_response_that_is_not_read(peer: Stage) -> None:
    """It is all there: the next one need not wait, and each stops reading by itself."""
    client, server = await peer.meet()
    task, _ = await ask(client, server)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    client.data_received(head + bytes(100000))  # as one read
    first = await soon(task)
    assert await exchange(client, server)
    task, _ = await ask(client, server)
    client.data_received(head + bytes(99999))
    second = await soon(task)
    assert not client._reading
    assert len(await soon(first.payload.readexactly(10))) == 10
    assert not client._reading
    assert len(await soon(first.payload.read())) == 99990
    assert not client._reading
    assert len(await soon(second.payload.readexactly(99999))) == 99999
    assert client._reading
    await server.wire.send(b"!")
    assert await soon(second.payload.read()) == b"!"
    assert await exchange(client, server)


@both
async def test_reading_slowly_holds_the_server_back(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    if isinstance(asked, H2Asked):
        size = await soon(asked.fill_window())
        assert size == cno.client.connection.WINDOW
        await server.ping()
        assert server.h2.local_flow_control_window(asked.id) == 0
        assert await exchange(client, server)  # the connection is not held back
        assert len(await soon(response.payload.readexactly(size))) == size
        await server.ping()
        assert server.h2.local_flow_control_window(asked.id) >= size // 2
        await asked.write(b"end", end=True)
        assert await soon(response.payload.read()) == b"end"
    else:
        size = 32 * 1024 * 1024
        sending = asyncio.ensure_future(asked.write(bytes(size), end=True))
        await until(lambda: not client._reading)
        assert len(response.payload._buffer) < 1024 * 1024
        got = 0
        while data := await soon(response.payload.read(65536)):
            got += len(data)
        assert got == size
        await soon(sending)
    assert await exchange(client, server)


@both
async def test_a_client_is_closed_by_async_with(peer: Stage) -> None:
    client, server = await peer.meet()
    async with client:
        assert await exchange(client, server)
    assert client.is_closed
    assert await soon(server.closed()) == "fin"
    with pytest.raises(cno.RequestFailed) as caught:
        await client.request("GET", "/")
    assert caught.value.unprocessed


# ---- pushes --------------------------------------------------------------------------------------


@h2_only
async def test_pushes(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    one = await asked.promise("/one?q", [("x-of", "caf\u00e9")])
    await asked.head(200)
    response = await soon(task)
    pushes = response.pushed
    push = await soon(pushes.__anext__())
    assert (push.method, push.path) == ("GET", "/one?q")
    assert (":authority", peer.authority) in push.headers
    assert ("x-of", "caf\u00e9") in push.headers
    assert repr(push) == "<Push GET /one?q>"
    waiting = asyncio.ensure_future(asyncio.wait_for(push.response, 10))
    two = await asked.promise("/two")
    await one.respond(200, b"pushed")
    pushed = await soon(waiting)
    assert (pushed.code, await soon(pushed.payload.read())) == (200, b"pushed")
    again = await push.response
    assert (again.code, again.payload) == (200, pushed.payload)
    await asked.write(b"body", end=True)
    assert [push.path async for push in response.pushed] == ["/two"]
    await two.respond(404)
    assert await soon(response.payload.read()) == b"body"
    assert await exchange(client, server)
    assert not client.streams


@h2_only
async def test_a_push_that_is_cancelled(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    one = await asked.promise("/one")
    await asked.respond(200)
    response = await soon(task)
    [push] = [push async for push in response.pushed]
    push.cancel()
    push.cancel()
    with pytest.raises(cno.RequestFailed):
        await push.response
    await soon(server.until(lambda: server.pushed_back))
    assert server.pushed_back == [one.id]
    assert await exchange(client, server)
    assert not client.streams


@h2_only
async def test_a_push_that_the_server_resets(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    one = await asked.promise("/one")
    two = await asked.promise("/two")
    await asked.respond(200)
    response = await soon(task)
    first, second = [push async for push in response.pushed]
    waiting = asyncio.ensure_future(asyncio.wait_for(first.response, 10))
    await asyncio.sleep(0)
    await one.give_up(2)
    with pytest.raises(cno.StreamReset) as caught:
        await soon(waiting)
    assert caught.value.code == 2
    await two.head(200)
    await two.write(b"some")
    pushed = await asyncio.wait_for(second.response, 10)
    await two.give_up(7)
    assert await soon(pushed.payload.read(100)) == b"some"
    with pytest.raises(cno.StreamReset) as caught:
        await soon(pushed.payload.read())
    assert caught.value.code == 7
    assert await exchange(client, server)


@h2_only
async def test_pushes_that_nobody_takes_end_with_the_response(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    promised = [await asked.promise(f"/{i}") for i in range(3)]
    await asked.head(200)
    async with await soon(task) as response:
        await server.ping()
        push = await soon(response.pushed.__anext__())
    await soon(server.until(lambda: len(server.pushed_back) == 2))
    assert server.pushed_back == [promised[1].id, promised[2].id]
    assert await soon(asked.is_reset()) == 8
    await promised[0].respond(200, b"taken")
    pushed = await asyncio.wait_for(push.response, 10)
    assert await soon(pushed.payload.read()) == b"taken"
    # The same when the response is complete.
    task, asked = await ask(client, server)
    promise = await asked.promise("/last")
    await asked.respond()
    (await soon(task)).close()
    await soon(server.until(lambda: len(server.pushed_back) == 3))
    assert server.pushed_back[2] == promise.id
    assert not client.streams


@h2_only
async def test_a_promise_of_a_request_that_was_cancelled(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await server.flush()
    await cancel(task)
    promise = await asked.promise("/late")  # the server does not know yet
    await soon(server.until(lambda: server.pushed_back))
    assert server.pushed_back == [promise.id]
    assert await exchange(client, server)


@h2_only
async def test_promises_to_somebody_who_has_stopped_listening(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    await response.pushed.aclose()
    promise = await asked.promise("/late")
    await soon(server.until(lambda: server.pushed_back))
    assert server.pushed_back == [promise.id]
    await asked.write(b"body", end=True)
    assert await soon(response.payload.read()) == b"body"


@h2_only
async def test_push_can_be_switched_off(peer: Stage) -> None:
    client, server = await peer.meet(push=False)
    assert await exchange(client, server)
    settings = next(f for f in server.frames if isinstance(f, SettingsFrame))
    assert settings.settings[SettingsFrame.ENABLE_PUSH] == 0
    client, server = await peer.meet()
    assert await exchange(client, server)
    settings = next(f for f in server.frames if isinstance(f, SettingsFrame))
    assert settings.settings.get(SettingsFrame.ENABLE_PUSH, 1) == 1


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


# ---- tunnels -------------------------------------------------------------------------------------


@both
async def test_connect_makes_a_tunnel(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel()
    channel.put_nowait(b"early")
    task, asked = await ask(client, server, "CONNECT", "far:443", [], channel)
    assert asked.method == "CONNECT"
    if peer.version == "h2":
        assert asked.headers == [(":authority", "far:443")]
        await server.ping()
        assert asked.body == b""  # not before it is granted
        await asked.head(200)
    else:
        assert (asked.target, asked.headers) == ("far:443", [("host", "far:443")])
        assert not server.buffer
        await server.wire.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    response = await soon(task)
    assert response.tunnel
    assert response.code == 200

    async def receive(size: int) -> bytes:
        if peer.version == "h2":
            await asked.received(size)
            got = bytes(asked.body[:size])
            del asked.body[:size]
        else:
            while len(server.buffer) < size:
                assert await server.fill()
            got = bytes(server.buffer[:size])
            del server.buffer[:size]
        return got

    if peer.version == "h2":
        await asked.write(b"hello")
    assert await soon(receive(5)) == b"early"
    assert await soon(response.payload.readexactly(5)) == b"hello"
    await channel.put(b"ping")
    assert await soon(receive(4)) == b"ping"
    if peer.version == "h2":
        await asked.write(b"pong", end=True)
    else:
        await server.wire.send(b"pong")
        server.wire.fin()
    assert await soon(response.payload.read()) == b"pong"
    if peer.version == "h2":
        channel.close()
        assert await soon(asked.whole()) == b""
        assert await exchange(client, server)
    else:
        await soon(client.wait_closed())


@both
async def test_connect_that_is_not_granted(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel(1)
    await channel.put(b"never sent")
    task, asked = await ask(client, server, "CONNECT", "far:443", [], channel)
    await asked.respond(403, b"no")
    response = await soon(task)
    assert (response.code, response.tunnel) == (403, False)
    assert await soon(response.payload.read()) == b"no"
    await soon(until_gone(channel))
    if peer.version == "h2":
        assert await exchange(client, server)


@both
async def test_connect_with_octets_has_no_length(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server, "CONNECT", "far:443", [], b"octets")
    assert asked.one("content-length") is None
    await asked.head(200, end=False) if peer.version == "h2" else await server.wire.send(
        b"HTTP/1.1 200 OK\r\n\r\n"
    )
    response = await soon(task)
    assert response.tunnel
    if peer.version == "h2":
        assert await soon(asked.whole()) == b"octets"
    else:
        while len(server.buffer) < 6:
            assert await server.fill()
        assert server.buffer == b"octets"


@h1
async def test_upgrade_makes_a_tunnel(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel()
    fields = [("upgrade", "echo")]
    task, asked = await ask(client, server, "GET", "/", fields, channel)
    assert asked.one("upgrade") == "echo"
    assert (asked.one("connection") or "").lower() == "upgrade"
    assert asked.one("transfer-encoding") is None
    await server.wire.send(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhello"
    )
    response = await soon(task)
    assert (response.code, response.tunnel) == (101, True)
    assert await soon(response.payload.readexactly(5)) == b"hello"
    await channel.put(b"octets")
    while len(server.buffer) < 6:
        assert await soon(server.fill())
    assert server.buffer == b"octets"
    channel.close()  # that much it knows of the end of one direction
    assert not await soon(server.fill())
    server.close()
    assert await soon(response.payload.read()) == b""
    await soon(client.wait_closed())


@h1
async def test_upgrade_that_is_not_granted(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server, "GET", "/", [("upgrade", "echo")], cno.Channel())
    await asked.respond(200, b"no")
    response = await soon(task)
    assert (response.code, response.tunnel) == (200, False)
    assert await soon(response.payload.read()) == b"no"
    assert await exchange(client, server)


@h2_only
async def test_upgrade_means_nothing_to_http2(peer: Stage) -> None:
    """RFC 9113 section 8.6: the field is not sent, and the body does not wait for 101."""
    client, server = await peer.meet()
    task, asked = await ask(client, server, "POST", "/", [("upgrade", "h2c")], b"body")
    assert asked.one("upgrade") is None
    assert await soon(asked.whole()) == b"body"
    await asked.respond()
    assert (await soon(task)).code == 200


# ---- memory --------------------------------------------------------------------------------------


@both
async def test_p1_connections_are_freed_without_the_collector(peer: Stage) -> None:
    peer.listen()
    gc.collect()
    gc.disable()
    try:
        before = engines()
        for i in range(20):
            client, server = await peer.meet(timeout_idle=1000.0, ping_interval=1000.0)
            for _ in range(3):
                assert await exchange(client, server)
            task, asked = await ask(client, server, "POST", "/", [], cno.Channel())
            await asked.head(200)
            response = await soon(task)
            if i % 2:
                response.close()
            client.close()
            server.close()
            await soon(client.wait_closed())
            peer.ours.clear()
            peer.theirs.clear()
        del client, server, task, asked, response
        for _ in range(10):
            await asyncio.sleep(0)
        assert engines() == before
    finally:
        gc.enable()
