"""ASGI: applications, errors, extensions, events (asgi.rst). One test per rule, named by its id."""

import asyncio
import functools
from typing import Any

import pytest
from peer import Peer, answer, both, h1, h2_only, note, over, read_body
from wire import H1, H2, soon

START = {"type": "http.response.start", "status": 200, "headers": []}


def plain(value: Any) -> bool:
    """Whether it is made of what a message may hold."""
    if isinstance(value, dict):
        return all(type(key) is str for key in value) and all(map(plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(plain, value))
    return value is None or type(value) in (bytes, str, int, float, bool)


async def refused(send: Any, message: dict[str, Any]) -> str:
    """The name of the exception that this message makes send() raise."""
    try:
        await send(message)
    except Exception as error:
        return type(error).__name__
    return ""


@both
async def test_a1_versions_in_the_scope(peer: Peer) -> None:
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)
        if scope["type"] == "http":
            await answer(send)
            return
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    client = await peer.serve(app, lifespan="on")
    await client.ask()
    assert [scope["type"] for scope in seen] == ["lifespan", "http"]
    assert [scope["asgi"]["version"] for scope in seen] == ["3.0", "3.0"]
    assert [scope["asgi"]["spec_version"] for scope in seen] == ["2.0", "2.3"]


@both
async def test_a2_send_raises_oserror(peer: Peer) -> None:
    """An endless response ends with the connection of its client, whatever version is announced."""

    async def app(scope, receive, send):
        await send(START)
        with pytest.raises(OSError) as error:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                await asyncio.sleep(0)
        return error.type

    app = note(app)
    exchange = await (await peer.serve(app)).start()
    await exchange.body(1)
    await exchange.give_up()
    assert issubclass(await app.done(), OSError)


@both
async def test_a3_an_unknown_type_raises(peer: Peer) -> None:
    async def app(scope, receive, send):
        raised = [
            await refused(send, {"type": "http.response.nosuch"}),
            await refused(send, {"type": "websocket.accept"}),
        ]
        await answer(send, "\n".join(raised).encode())

    response = await (await peer.serve(app)).ask()
    assert response.status == 200
    assert all(response.body.split(b"\n"))


@both
async def test_a4_a_missing_required_key_raises(peer: Peer) -> None:
    async def app(scope, receive, send):
        raised = [
            await refused(send, {"status": 200}),
            await refused(send, {"type": "http.response.start", "headers": []}),
        ]
        await answer(send, "\n".join(raised).encode())

    response = await (await peer.serve(app)).ask()
    assert response.status == 200
    assert all(response.body.split(b"\n"))


@both
async def test_a4_a_missing_optional_key_is_fine(peer: Peer) -> None:
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 201})
        await send({"type": "http.response.body"})

    response = await (await peer.serve(app)).ask()
    assert (response.status, response.body, response.complete) == (201, b"", True)


WRONG = {
    "str header": {"status": 200, "headers": [("a", "b")]},
    "str value": {"status": 200, "headers": [(b"a", "b")]},
    "int value": {"status": 200, "headers": [(b"content-length", 1)]},
    "none value": {"status": 200, "headers": [(b"a", None)]},
    "one": {"status": 200, "headers": [(b"a",)]},
    "three": {"status": 200, "headers": [(b"a", b"b", b"c")]},
    "not pairs": {"status": 200, "headers": [b"ab"]},
    "not iterable": {"status": 200, "headers": 5},
    "dict": {"status": 200, "headers": {b"ab": b"cd"}},
    "float status": {"status": 200.0},
    "str status": {"status": "200"},
    "bytes status": {"status": b"200"},
    "no status": {"status": None},
    "status 0": {"status": 0},
    "status 99": {"status": 99},
    "status 999": {"status": 999},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@over("h1", "h2", loops=["asyncio"])
async def test_a5_a_wrong_head_raises_and_becomes_500(peer: Peer, wrong: dict[str, Any]) -> None:
    raised = []

    async def app(scope, receive, send):
        try:
            await send({"type": "http.response.start", **wrong})
            await send({"type": "http.response.body", "body": b"no"})
        except Exception as error:
            raised.append(error)
            raise

    response = await (await peer.serve(app)).ask()
    assert len(raised) == 1
    assert not isinstance(raised[0], OSError)
    assert (response.status, response.complete) == (500, True)


@pytest.mark.parametrize("wrong", ["text", None, 5, ["a"]], ids=["str", "None", "int", "list"])
@both
async def test_a5_a_wrong_body_raises_and_becomes_500(peer: Peer, wrong: Any) -> None:
    raised = []

    async def app(scope, receive, send):
        await send(START)
        try:
            await send({"type": "http.response.body", "body": wrong})
        except Exception as error:
            raised.append(error)
            raise

    response = await (await peer.serve(app)).ask()
    assert len(raised) == 1
    assert not isinstance(raised[0], OSError)
    assert (response.status, response.complete) == (500, True)


@pytest.mark.parametrize("field", [(b"a",), (b"a", b"b\nc")], ids=["shape", "octets"])
@both
async def test_a5_another_head_may_follow_one_that_was_refused(peer: Peer, field: Any) -> None:
    """Nothing is on the wire: what catches exceptions around the application may answer."""

    async def app(scope, receive, send):
        try:
            await answer(send, headers=[field])
        except (TypeError, ValueError, RuntimeError):
            await answer(send, b"better", 503)

    response = await (await peer.serve(app)).ask()
    assert (response.status, response.body) == (503, b"better")


@both
async def test_a6_unknown_keys_are_ignored(peer: Peer) -> None:
    async def app(scope, receive, send):
        await send({**START, "reason": object(), "trailer": 1})
        await send({"type": "http.response.body", "body": b"ok", "zip": True})

    response = await (await peer.serve(app)).ask()
    assert (response.status, response.body) == (200, b"ok")


@both
async def test_a7_a_body_before_the_start_raises(peer: Peer) -> None:
    async def app(scope, receive, send):
        raised = await refused(send, {"type": "http.response.body", "body": b"early"})
        await answer(send, raised.encode())

    response = await (await peer.serve(app)).ask()
    assert response.status == 200
    assert response.body
    assert response.body != b"early"


@both
async def test_a7_a_second_start_raises(peer: Peer) -> None:
    async def app(scope, receive, send):
        await send(START)
        raised = await refused(send, {**START, "status": 201})
        await send({"type": "http.response.body", "body": raised.encode(), "more_body": True})
        raised = await refused(send, {**START, "status": 201})
        await send({"type": "http.response.body", "body": b" " + raised.encode()})

    response = await (await peer.serve(app)).ask()
    assert response.status == 200
    assert len(response.body.split()) == 2


class Oops(Exception):
    """What applications fail with."""


@pytest.mark.parametrize("held", [False, True], ids=["nothing", "start"])
@both
async def test_a8_an_exception_before_the_body_is_500(peer: Peer, held: bool) -> None:
    async def app(scope, receive, send):
        if held:
            await send({**START, "headers": [(b"content-length", b"5"), (b"x-secret", b"1")]})
        raise Oops

    client = await peer.serve(app)
    response = await client.ask()
    assert (response.status, response.complete) == (500, True)
    assert response.one("x-secret") is None
    assert len([line for line in peer.log if "Oops" in line]) == 1
    if isinstance(client, H1):
        assert response.one("connection") == "close"
        assert await client.closed() == "fin"


@both
async def test_a8_an_exception_after_the_start_breaks_the_response_off(peer: Peer) -> None:
    async def app(scope, receive, send):
        if scope["path"] == "/fine":
            await answer(send)
            return
        await send(START)
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise Oops

    client = await peer.serve(app)
    response = await client.ask()
    assert response.status == 200
    assert not response.complete
    assert len([line for line in peer.log if "Oops" in line]) == 1
    if isinstance(client, H1):
        assert client.ended
    else:
        assert response.reset == 2  # INTERNAL_ERROR
        assert (await client.ask("/fine")).status == 200


@pytest.mark.parametrize("held", [False, True], ids=["nothing", "start"])
@both
async def test_a9_returning_before_the_body_is_500(peer: Peer, held: bool) -> None:
    async def app(scope, receive, send):
        if held:
            await send(START)

    response = await (await peer.serve(app)).ask()
    assert (response.status, response.complete) == (500, True)
    assert len([line for line in peer.log if "without a complete response" in line]) == 1


@both
async def test_a9_returning_after_the_start_breaks_the_response_off(peer: Peer) -> None:
    async def app(scope, receive, send):
        await send(START)
        await send({"type": "http.response.body", "body": b"part", "more_body": True})

    client = await peer.serve(app)
    response = await client.ask()
    assert not response.complete
    if isinstance(client, H2):
        assert response.reset == 2
        assert not client.goaways
        await client.ping()
    assert len([line for line in peer.log if "without a complete response" in line]) == 1


@both
async def test_a10_our_own_oserror_is_no_error(peer: Peer) -> None:
    async def app(scope, receive, send):
        await send(START)
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0)

    app = note(app)
    exchange = await (await peer.serve(app)).start()
    await exchange.body(1)
    await exchange.give_up()
    assert isinstance(await app.done(), OSError)
    await peer.barrier()
    assert not [line for line in peer.log if not line.startswith("INFO")]


@both
async def test_a10_an_oserror_of_the_application_is_an_error(peer: Peer) -> None:
    async def app(scope, receive, send):
        raise ConnectionResetError("the database has gone")

    response = await (await peer.serve(app)).ask()
    assert response.status == 500
    assert len([line for line in peer.log if "the database has gone" in line]) == 1


@both
async def test_a11_sending_to_nobody_raises_and_never_blocks(peer: Peer) -> None:
    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        raised = []
        for message in (START, *[{"type": "http.response.body", "body": bytes(100000)}] * 20):
            with pytest.raises(OSError) as error:
                await soon(send(message))
            raised.append(error.type)
        return len(raised)

    app = note(app)
    exchange = await (await peer.serve(app)).start()
    await peer.barrier()
    await exchange.give_up()
    assert await app.done() == 21


@both
async def test_a12_extensions(peer: Peer) -> None:
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)
        if scope["type"] == "http":
            await answer(send)
        else:
            raise NotImplementedError

    await (await peer.serve(app, lifespan="auto")).ask()
    lifespan, http = seen
    assert "extensions" not in lifespan
    assert type(http["extensions"]) is dict
    assert all(type(extension) is dict for extension in http["extensions"].values())


@both
async def test_a13_what_messages_and_scopes_are_made_of(peer: Peer) -> None:
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)
        seen.append(await receive())
        await answer(send)
        seen.append(await receive())

    await (await peer.serve(app)).ask("/x?y", [("a", "b")], method="POST", body=b"body")
    await peer.barrier()
    assert len(seen) == 3
    assert all(type(one) is dict and plain(one) for one in seen)


@both
async def test_a14_each_request_has_its_own_scope(peer: Peer) -> None:
    seen = []

    async def app(scope, receive, send):
        seen.append({key: str(value) for key, value in scope.items()})
        for key in ("asgi", "extensions"):
            scope[key]["mine"] = 1
        scope["headers"].append((b"mine", b"1"))
        scope["path"] = "mine"
        scope["mine"] = 1
        await answer(send)

    client = await peer.serve(app)
    await client.ask()
    await client.ask()
    assert seen[0] == seen[1]


async def double(receive: Any, send: Any) -> None:
    """What an ASGI 2 application returns."""
    await answer(send, await read_body(receive))


class Instance:
    """An ASGI 2 application of the usual form."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await double(receive, send)


class Callable:
    """An object that takes a scope."""

    def __call__(self, scope: Any) -> Any:
        return double


class Single:
    """An object that is an ASGI 3 application."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await double(receive, send)


def function(scope: Any) -> Any:
    """A function that takes a scope."""
    return double


def decorated(app: Any) -> Any:
    """Hides the arguments of what it wraps."""

    @functools.wraps(app)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return app(*args, **kwargs)

    return wrapper


def configured(setting: int, scope: Any) -> Any:
    """For functools.partial."""
    return double


FORMS = {
    "class": Instance,
    "object": Callable(),
    "function": function,
    "partial": functools.partial(configured, 5),
    "decorated": decorated(function),
    "asgi 3 object": Single(),
    "asgi 3 decorated": decorated(Single().__call__),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@both
async def test_a15_double_callables(peer: Peer, form: Any) -> None:
    response = await (await peer.serve(form)).ask(method="POST", body=b"hello")
    assert (response.status, response.body) == (200, b"hello")


@h1
async def test_a8_cancellation_inside_the_application(peer: Peer) -> None:
    """An application that cancels itself has failed as one that raises."""

    async def app(scope, receive, send):
        raise asyncio.CancelledError

    assert (await (await peer.serve(app)).ask()).status == 500


@h2_only
async def test_a8_one_failure_does_not_harm_the_other_streams(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"] == "/bad":
            await send(START)
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
            raise Oops
        await go.wait()
        await answer(send, b"fine")

    client = await peer.serve(app)
    good = await client.start()
    assert (await client.ask("/bad")).reset == 2
    go.set()
    assert (await good.response()).body == b"fine"
