"""Cases in which the compiled classes and the Python classes once differed, and what the compiled
ones must survive.

Each case runs with both, on a connection without a socket (tests/support/rig.py).
"""

import asyncio
import contextvars
import gc
import platform
import warnings
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import h2.config
import h2.connection
import pytest
import rig
from peer import answer, hello

compiled_only = pytest.mark.skipif(
    platform.python_implementation() != "CPython", reason="there is nothing compiled elsewhere"
)

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"

Case = Callable[[], Awaitable[None]]


def twins(test: Case) -> Any:
    """Runs a coroutine function with either kind of classes."""

    def call(python: bool) -> None:
        rig.run(test, python=python)

    call.__name__, call.__doc__ = test.__name__, test.__doc__
    return pytest.mark.parametrize("python", [False, True], ids=["compiled", "python"])(call)


def h2_client() -> h2.connection.H2Connection:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    client.initiate_connection()
    return client


def ask(client: h2.connection.H2Connection, *, more: bool = False) -> int:
    stream = client.get_next_available_stream_id()
    fields = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "h")]
    client.send_headers(stream, fields, end_stream=not more)
    return stream


# ---- what is read -------------------------------------------------------------------------------


@twins
async def test_a_kept_body_as_long_as_what_comes_then() -> None:
    """The second request is kept while the first one is answered. Its body is then handed out by a
    read that brings as many bytes of something else."""
    bodies = []
    go_on = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"] == "/":
            await go_on.wait()
        bodies.append((await receive())["body"])
        await answer(send)

    server = rig.Rig(app)
    server.feed(GET + b"PUT /2 HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhello")
    await server.settle()
    go_on.set()
    await asyncio.sleep(0)
    server.connection.data_received(b"world")
    await server.settle()
    assert bodies == [b"", b"hello"] or bodies == [b"", b"helloworld"]
    await server.end()


@twins
async def test_a_reopened_window_alone_makes_no_write() -> None:
    """What a turn of the loop writes on HTTP/2 is one write, whatever frames come in it."""
    writes = []

    server = rig.Rig(hello)
    client = h2_client()
    server.feed(client.data_to_send())
    await server.settle()
    server.transport.write = writes.append
    for _ in range(3):
        ask(client)
        client.increment_flow_control_window(10)
        server.feed(client.data_to_send())
    await server.settle()
    assert len(writes) == 1
    del server.transport.write
    await server.end()


@compiled_only
def test_an_opener_may_be_deleted_while_it_runs() -> None:
    """connection_lost() deletes it."""

    async def main() -> None:
        server = rig.Rig(hello)
        connection = server.connection

        class Opener:
            def __init__(self, inner: Any) -> None:
                self.inner = inner

            def __call__(self, event: Any) -> Any:
                inner = self.inner
                del connection.open_request
                gc.collect()
                connection.open_request = inner
                assert self.inner is inner
                return inner(event)

        connection.open_request = Opener(connection.open_request)
        server.feed(GET)
        await server.settle()
        assert server.transport.output.startswith(b"HTTP/1.1 200")
        del connection.open_request
        with pytest.raises(AttributeError):
            server.feed(GET)
        connection.open_request = None
        await server.end()

    rig.run(main)


# ---- heads --------------------------------------------------------------------------------------


@twins
async def test_a_second_head_is_refused_whatever_its_fields() -> None:
    errors = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for fields in ([], [("text", "text")], None):
            with pytest.raises(RuntimeError) as caught:
                await send({"type": "http.response.start", "status": 200, "headers": fields})
            errors.append((type(caught.value), str(caught.value)))
        await send({"type": "http.response.body"})

    server = rig.Rig(app)
    server.feed(GET)
    await server.settle()
    assert errors == [(RuntimeError, "the response was started already")] * 3
    await server.end()


@twins
async def test_the_head_after_one_that_was_refused_goes_out_by_itself() -> None:
    go_on = asyncio.Event()

    async def app(scope, receive, send):
        bad = {"type": "http.response.start", "status": 200, "headers": [(b"x", b"\r\n")]}
        await send(bad)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="cannot be sent"):
            await send({"type": "http.response.body", "body": b"x"})
        await send({"type": "http.response.start", "status": 201})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"x"})

    server = rig.Rig(app)
    server.feed(GET)
    await server.settle()
    assert server.transport.output.startswith(b"HTTP/1.1 201")
    go_on.set()
    await server.settle()
    await server.end()


# ---- coroutines ---------------------------------------------------------------------------------


@twins
async def test_a_task_that_is_cancelled_before_its_first_step() -> None:
    """Its request is answered, and the connection does not wait for its end."""
    called = []

    async def app(scope, receive, send):
        called.append(scope)
        await asyncio.sleep(1000)

    server = rig.Rig(app)
    server.feed(GET)
    with rig.records() as lines:
        for exchange in server.connection.running:
            exchange.cancel()
        await server.settle()
    assert not server.connection.running
    assert server.connection.unfinished == 0
    assert server.transport.output.startswith(b"HTTP/1.1 500")
    assert ("ERROR", "The application ended without a complete response", (), "None") in lines
    await server.end()


@twins
async def test_a_message_that_is_never_awaited() -> None:
    """The interpreter warns of coroutines that never ran."""
    said = []

    async def app(scope, receive, send):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            send({"type": "http.response.start", "status": 500})
            gc.collect()
        said.extend((w.category, str(w.message)) for w in caught)
        await answer(send)

    server = rig.Rig(app)
    server.feed(GET)
    await server.settle()
    assert said == [(RuntimeWarning, "coroutine 'Request.send' was never awaited")]
    assert server.transport.output.startswith(b"HTTP/1.1 200")
    await server.end()


@twins
async def test_a_coroutine_that_is_dropped_is_closed() -> None:
    """As when a loop ends before its tasks."""
    told = []

    async def app(scope, receive, send):
        if not told:
            told.append("began")
            drop(send.__self__)
            await answer(send)
            return
        try:
            await asyncio.sleep(0)
        finally:
            told.append("ended")

    def drop(request: Any) -> None:
        run = request.run()
        run.send(None)
        del run
        gc.collect()
        assert told == ["began", "ended"]

    server = rig.Rig(app)
    with rig.records() as lines:
        server.feed(GET)
        await server.settle()
    assert "The application ended without a complete response" in str(lines)
    assert not server.connection.running
    await server.end()


@twins
async def test_what_an_application_keeps_in_its_context_goes_with_its_request() -> None:
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    kept = []

    class Thing:
        pass

    async def app(scope, receive, send):
        thing = Thing()
        kept.append(weakref.ref(thing))
        variable.set(thing)
        await answer(send)

    server = rig.Rig(app)
    gc.disable()
    try:
        server.feed(GET)
        await server.settle()
        assert kept
        assert kept[0]() is None
    finally:
        gc.enable()
    await server.end()


@twins
async def test_a_collection_while_a_request_is_freed() -> None:
    requests = []

    async def app(scope, receive, send):
        requests.append(weakref.ref(send.__self__, lambda _: gc.collect()))
        await answer(send)

    server = rig.Rig(app)
    for _ in range(5):
        server.feed(GET)
        await server.settle()
    assert [request() for request in requests] == [None] * 5
    await server.end()


# ---- misuse of the compiled module --------------------------------------------------------------


@compiled_only
def test_incomplete_objects_raise() -> None:
    from cno.engine import _fast

    for kind in (_fast.Port, _fast.Run):
        with pytest.raises(TypeError):
            kind()
        with pytest.raises(TypeError):
            object.__new__(kind)
    connection = _fast.Connection()
    reply = _fast.Reply(connection, 1, None)
    for misuse in (
        lambda: connection.data_received(b""),
        lambda: connection.start(None),
        lambda: connection.responded(reply),
        lambda: reply.complete(),
        lambda: reply.hold(200, []),
    ):
        with pytest.raises((RuntimeError, AttributeError)):
            misuse()
    for kind in (_fast.Reply, _fast.Request):
        for arguments in ((), (1, 2, 3), (1, 2, 3, 4), ((), connection, {}, ())):
            with pytest.raises((TypeError, IndexError)):
                kind(*arguments)
    with pytest.raises(IndexError):  # the request is partly built by then
        _fast.Request((1, None, True), connection, {"root_path": ""}, (1, 2, 3, 4))
    with pytest.raises(TypeError):
        _fast.lend(0, 1, bytearray(5), 0, 5, True, [])
    with pytest.raises(TypeError):
        _fast.lend(0, 1, b"12345", 3, 3, True, [])
