"""The compiled classes and the Python classes beside them do the same.

Random clients and random applications meet on a connection without a socket, once with either kind
of classes. Everything that can be seen from outside is compared: the bytes on the wire, what the
application was given and what its calls raised, the log, and the state in which the connection is
left.
"""

import asyncio
import platform
from random import Random
from typing import Any, NamedTuple

import h2.config
import h2.connection
import pytest
import rig
from hypothesis import given
from hypothesis import strategies as st
from strategies import cut, examples

pytestmark = pytest.mark.skipif(
    platform.python_implementation() != "CPython", reason="there is nothing compiled elsewhere"
)

# ---- applications -------------------------------------------------------------------------------
# An application is a list of steps: the name of a step, and what belongs to it.


class Failed(Exception):
    """What an application raises."""


class Key(str):
    """A key that cannot be compared."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise LookupError("not to be compared")


def outcome(error: BaseException) -> tuple[str, str]:
    return type(error).__name__, str(error)


class Script:
    """The application of one connection, which notes what happens to it."""

    def __init__(self, scripts: list[list[Any]]) -> None:
        self.scripts = scripts
        self.calls = 0
        self.seen: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        number = self.calls
        self.calls += 1
        self.note(number, "scope", {k: v for k, v in scope.items() if k != "headers"})
        self.note(number, "fields", list(scope["headers"]))
        for step, value in self.scripts[number % len(self.scripts)]:
            try:
                result = await self.step(step, value, receive, send)
            except BaseException as error:
                self.note(number, step, outcome(error))
                if not isinstance(error, Exception) or step == "raise":
                    raise
            else:
                self.note(number, step, result)
                if step == "return":
                    return

    def note(self, number: int, step: str, what: Any) -> None:
        self.seen.append((number, step, what))

    async def step(self, step: str, value: Any, receive: Any, send: Any) -> Any:
        if type(value) is dict and any(type(item) is Body for item in value.values()):
            value = {**value, "body": value["body"].made()}
        if step == "send":
            return await send(value)
        if step in ("task", "poll"):
            # A held head goes out in the next turn of the loop. The Python classes ask for that
            # turn at once, the compiled ones at the end of the application's step, behind the tasks
            # that this has made. Either is right, and so the test does not look at it.
            await asyncio.sleep(0)
        if step == "task":  # as by a task group
            return await asyncio.create_task(send(value))
        if step == "forget":  # a coroutine that is never awaited
            return send(value).close()
        if step == "receive":
            return await receive()
        if step == "read":  # all of the body
            parts = []
            while (message := await receive())["type"] == "http.request":
                parts.append(message["body"])
                if not message["more_body"]:
                    break
            return message["type"], b"".join(parts)
        if step == "poll":  # receive(), but not for long
            task = asyncio.create_task(receive())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if not task.done():
                task.cancel()
            await asyncio.wait([task])
            return None if task.cancelled() else task.result()
        if step == "sleep":
            for _ in range(value):
                await asyncio.sleep(0)
        if step == "raise":
            raise value("by the application")
        return None


def sized(size: int) -> bytes:
    return (b"%08d" % size * (size // 8 + 1))[:size]


class Body(NamedTuple):
    """A body, which is made for each use: what makes it of bytes, and its size."""

    make: Any
    size: int

    def made(self) -> Any:
        return self.make(sized(self.size))


def wide(data: bytes) -> memoryview:
    """A view whose items are of two bytes."""
    return memoryview(data + data).cast("H")


SIZES = st.sampled_from([0, 2, 13, 1000, 16383, 16384, 16385, 70000, 200000])
BODIES = st.one_of(
    st.builds(Body, st.just(bytes), SIZES),
    st.builds(Body, st.just(bytes), SIZES),
    st.builds(Body, st.just(bytes), SIZES),
    st.builds(Body, st.sampled_from([bytearray, memoryview, wide, list, str, len]), SIZES),
)
NAMES = st.sampled_from(
    [
        b"x-a",
        b"content-type",
        b"X-Upper",
        b"date",
        b"server",
        b"set-cookie",
        b"",
        b"a b",
        b"\xff",
        b"x:y",
        b":status",
        b"connection",
        b"transfer-encoding",
        b"content-length",
        b"upgrade",
        "x-text",
        None,
        bytearray(b"x-array"),
        memoryview(b"x-view"),
    ]
)
VALUES = st.sampled_from(
    [
        b"",
        b"1",
        b"0",
        b"2",
        b"13",
        b"close",
        b"chunked",
        b"a\r\nb",
        b"\x00",
        b" v ",
        b"\xff",
        bytearray(b"array"),
        memoryview(b"view"),
        "text",
        7,
        b"v" * 3000,
    ]
)
LIKELY = st.tuples(st.sampled_from([b"x-a", b"x-b", b"content-type"]), st.just(b"v"))
PAIRS = st.one_of(
    LIKELY,
    LIKELY,
    LIKELY,
    st.tuples(NAMES, VALUES),
    st.tuples(NAMES, VALUES).map(list),
    st.sampled_from([(b"x",), (b"x", b"y", b"z"), b"xy", None, 5, {b"x": b"y"}]),
)
FIELDS = st.one_of(
    st.lists(LIKELY, max_size=3),
    st.lists(PAIRS, max_size=3),
    st.lists(PAIRS, max_size=3).map(tuple),
    st.sampled_from([None, 5, b"xy", "xy", {}, {b"x": b"y"}, {(b"x", b"y"): 1}]),
    st.integers(60, 300).map(lambda count: [(b"x-%d" % i, b"v") for i in range(count)]),
    st.sampled_from([b"0", b"2", b"13", b"16384", b"x"]).map(
        lambda length: [(b"content-length", length)]
    ),
)
STATUSES = st.one_of(
    st.just(200),
    st.just(200),
    st.sampled_from([204, 205, 304, 404, 500, 599]),
    st.sampled_from([100, 199, 600, 0, -1, 2**40, True, "200", None, 200.0]),
)


@st.composite
def messages(draw: Any) -> Any:
    kind = draw(st.sampled_from(("start", "body", "body", "body", "odd")))
    if kind == "start":
        message = {"type": "http.response.start", "status": draw(STATUSES)}
        if draw(st.integers(0, 3)):
            message["headers"] = draw(FIELDS)
    elif kind == "body":
        message = {"type": "http.response.body"}
        if draw(st.integers(0, 5)):
            message["body"] = draw(BODIES)
        more = draw(st.sampled_from(["", "", True, True, True, False, 0, 1, None, "yes", []]))
        if more != "":
            message["more_body"] = more
    else:
        return draw(
            st.sampled_from(
                [
                    {},
                    {"type": None},
                    {"type": "http.response.trailers", "headers": []},
                    {"type": "websocket.send"},
                    {"type": "http.response.start"},
                    {Key("type"): "http.response.body"},
                    {"type": "http.response.body", Key("body"): b"x"},
                    {"type": "http.response.start", Key("status"): 200},
                    None,
                    [],
                    "http.response.body",
                ]
            )
        )
    if draw(st.integers(0, 7)) == 0:
        message["trailers"] = True
    return message


START = {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"v")]}
PLAIN = st.one_of(
    st.just([("send", START), ("send", {"type": "http.response.body", "body": b"ok"})]),
    BODIES.map(
        lambda body: [("send", START), ("send", {"type": "http.response.body", "body": body})]
    ),
    st.lists(BODIES, min_size=1, max_size=4).map(
        lambda bodies: [
            ("send", START),
            *(
                ("send", {"type": "http.response.body", "body": body, "more_body": True})
                for body in bodies
            ),
            ("send", {"type": "http.response.body"}),
        ]
    ),
)
STEPS = st.one_of(
    messages().map(lambda message: [("send", message)]),
    messages().map(lambda message: [("send", message)]),
    messages().map(lambda message: [("task", message)]),
    messages().map(lambda message: [("forget", message)]),
    st.sampled_from(["receive", "read", "poll"]).map(lambda step: [(step, None)]),
    st.integers(1, 3).map(lambda turns: [("sleep", turns)]),
    st.integers(1, 3).map(lambda turns: [("sleep", turns)]),
    st.sampled_from([Failed, ValueError, ConnectionResetError]).map(lambda kind: [("raise", kind)]),
    st.just([("return", None)]),
    PLAIN,
    PLAIN,
)
SCRIPTS = st.lists(STEPS, max_size=6).map(lambda steps: [step for part in steps for step in part])
APPS = st.lists(SCRIPTS, min_size=1, max_size=3)

# ---- clients ------------------------------------------------------------------------------------
# A client is a list of acts: the name of an act, and what belongs to it.

PARTS = st.lists(st.sampled_from([b"x", b"hello", sized(300), sized(20000)]), max_size=3)
METHODS = st.sampled_from(["GET", "GET", "HEAD", "POST", "PUT", "OPTIONS"])
PATHS = st.sampled_from(["/", "/a?b=c", "/%C3%A9", "/%ff%zz?", "/x//y/../z"])


@st.composite
def h1_request(draw: Any) -> bytes:
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0"]))
    head = f"{draw(METHODS)} {draw(PATHS)} HTTP/{version}\r\nhost: h\r\n"
    head += draw(st.sampled_from(["", "", "", "connection: close\r\n", "x-a: 1\r\nX-A: 2\r\n"]))
    head += draw(st.sampled_from(["", "", "", "", "bad field\r\n"]))
    if draw(st.booleans()):
        return head.encode() + b"\r\n"
    parts = draw(PARTS)
    if draw(st.integers(0, 2)) == 0:
        head += "expect: 100-continue\r\n"
    if version == "1.1" and draw(st.booleans()):
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        body += draw(st.sampled_from([b"0\r\n\r\n", b"0\r\nx-t: 1\r\n\r\n", b"zz\r\n", b""]))
        return head.encode() + b"transfer-encoding: chunked\r\n\r\n" + body
    body = b"".join(parts)
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


@st.composite
def h1_bytes(draw: Any) -> bytes:
    return b"".join(draw(st.lists(h1_request(), min_size=1, max_size=4)))


@st.composite
def h2_bytes(draw: Any) -> bytes:
    """What a client says that does not wait for the server."""
    client = h2.connection.H2Connection(
        h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
    )
    client.initiate_connection()
    if draw(st.booleans()):
        client.update_settings({4: draw(st.sampled_from([0, 10, 20000, 1 << 20]))})
    open_streams: list[int] = []
    budget = 60000
    for _ in range(draw(st.integers(1, 10))):
        act = draw(
            st.sampled_from(("ask", "ask", "data", "data", "end", "reset", "window", "ping"))
        )
        if act == "ask":
            stream = client.get_next_available_stream_id()
            fields = [(":method", draw(METHODS)), (":path", draw(PATHS)), (":scheme", "http")]
            fields += [(":authority", "h"), *draw(st.sampled_from([[], [], [("x-a", "1")]]))]
            fields += draw(st.sampled_from([[], [], [], [("connection", "close")]]))
            fields += draw(st.sampled_from([[], [], [], [("expect", "100-continue")]]))
            more = draw(st.booleans())
            client.send_headers(stream, fields, end_stream=not more)
            if more:
                open_streams.append(stream)
        elif act == "ping":
            client.ping(b"12345678")
        elif act == "window":
            client.increment_flow_control_window(draw(st.sampled_from([1, 5000, 1 << 20])))
            for stream in open_streams:
                client.increment_flow_control_window(100000, stream)
        elif open_streams:
            stream = draw(st.sampled_from(open_streams))
            if act == "reset":
                client.reset_stream(stream, 8)
                open_streams.remove(stream)
                continue
            parts = draw(PARTS) or [b""]
            for part in parts:
                part = part[:16000]
                if len(part) < budget:
                    client.send_data(stream, part)
                    budget -= len(part)
            if act == "end":
                client.end_stream(stream)
                open_streams.remove(stream)
    return client.data_to_send()


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("turns"), st.integers(0, 3)),
        st.tuples(st.just("turns"), st.just(rig.TURNS)),
        st.tuples(st.just("hold"), st.booleans()),
        st.tuples(st.just("cancel"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["wind_up", "shutdown", "eof", "lost"]), st.none()),
    ),
    max_size=5,
)


@st.composite
def clients(draw: Any, octets: st.SearchStrategy[bytes]) -> list[tuple[str, Any]]:
    """The client's bytes in pieces, with a few other acts between these."""
    random = Random(draw(st.integers(0, 2**32)))
    said = draw(octets)
    pieces = [said] if draw(st.booleans()) else cut(said, random)
    if len(pieces) > 200:
        pieces = [*pieces[:200], b"".join(pieces[200:])]
    acts: list[tuple[str, Any]] = [("feed", piece) for piece in pieces]
    for act in draw(ACTS):
        acts.insert(random.randint(0, len(acts)), act)
    return acts


# ---- both ---------------------------------------------------------------------------------------


async def perform(acts: list[tuple[str, Any]], script: Script) -> dict[str, Any]:
    """Returns everything that can be seen."""
    with rig.records() as lines:
        server = rig.Rig(script)
        connection, transport = server.connection, server.transport
        for act, value in acts:
            if act == "feed":
                server.feed(value)
            elif act == "turns":
                await server.settle(value)
            elif act == "hold":
                server.hold(value)
            elif act == "cancel":
                await server.settle(1)  # a task ends a little later if it has not begun
                ordered = sorted(connection.running, key=lambda exchange: exchange.id)
                if value < len(ordered):
                    ordered[value].cancel()
            elif act == "wind_up":
                server.site.tell()
            elif act == "shutdown":
                connection.shutdown()
            elif act == "eof" and transport.reading and not transport.over:
                if not connection.eof_received():
                    transport.close()
            elif act == "lost":
                transport.end("lost", ConnectionResetError("gone"))
        await server.settle()
        server.hold(False)
        await server.settle()
        state = (
            sorted(connection.streams),
            sorted(exchange.id for exchange in connection.running),
            connection.unfinished,
            transport.reading,
            list(transport.history),
        )
        await server.end()
        assert not connection.running
        return {
            "wire": bytes(transport.output),
            "application": script.seen,
            "log": lines,
            "state": state,
            "end": (transport.history, connection.unfinished),
        }


def compare(acts: list[tuple[str, Any]], scripts: list[list[Any]]) -> dict[str, Any]:
    """Returns what could be seen with the compiled classes."""
    compiled = rig.run(lambda: perform(acts, Script(scripts)))
    python = rig.run(lambda: perform(acts, Script(scripts)), python=True)
    for what, seen in python.items():
        assert compiled[what] == seen, what
    return compiled


@examples(250)
@given(clients(h1_bytes()), APPS)
def test_http1(acts: list[tuple[str, Any]], scripts: list[list[Any]]) -> None:
    compare(acts, scripts)


@examples(250)
@given(clients(h2_bytes()), APPS)
def test_http2(acts: list[tuple[str, Any]], scripts: list[list[Any]]) -> None:
    compare(acts, scripts)
