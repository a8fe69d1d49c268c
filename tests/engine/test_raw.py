"""`cno.raw.Connection`: names, events, exceptions, and the lifetime of memory."""

from __future__ import annotations

import contextlib
import gc
import re
import weakref
from pathlib import Path
from typing import Any

import pytest
from recorder import HELLO, Recorder, server, talk
from vectors import FrameReader, frame

import cno.raw
from cno import raw
from cno.engine import binding as engine

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
REQUEST = [(":scheme", "http"), (":authority", "h")]


# ---- names -------------------------------------------------------------------------------------


def test_every_constant_of_the_headers_is_exported() -> None:
    headers = Path(cno.raw.__file__).parent.parent / "csrc"
    names = set()
    for header in ("common.h", "core.h"):
        text = re.sub(r"//[^\n]*", "", (headers / header).read_text())
        for body in re.findall(r"enum \w+ \{(.*?)\}", text, re.DOTALL):
            names |= set(re.findall(r"\bCNO_[A-Z0-9_]+\b", body))
    assert {"CNO_SERVER", "CNO_CLIENT", "CNO_HTTP1", "CNO_HTTP2", "CNO_RST_CANCEL"} <= names
    for name in names:
        assert isinstance(getattr(raw, name), int)
        assert name in dir(raw)
    assert (raw.CNO_SERVER, raw.CNO_CLIENT, raw.CNO_REMOTE, raw.CNO_LOCAL) == (0, 1, 0, 1)
    assert raw.CNO_RST_HTTP_1_1_REQUIRED == 13
    with pytest.raises(AttributeError):
        raw.CNO_NO_SUCH_THING  # noqa: B018


def test_names_of_the_seed() -> None:
    calls = (
        "connection_made connection_lost data_received write_head write_push write_data write_reset"
    )
    events = (
        "on_writev on_stream_start on_stream_end on_flow_increase on_message_head on_message_tail"
    )
    for name in f"{calls} {events} on_message_data on_message_push".split():
        assert callable(getattr(raw.Connection, name))
    conn = raw.Connection(server=True)
    assert conn.next_stream == 2
    assert raw.Connection(server=False).next_stream == 1
    with pytest.raises(TypeError):
        raw.Connection()  # type: ignore[call-arg]
    # A subclass need not override any event.
    conn.connection_made(is_http2=True)
    conn.data_received(HELLO + frame("HEADERS 1 END_STREAM|END_HEADERS @get"))
    conn.write_head(1, 204, "", "", [], True)
    conn.connection_lost()


def test_classes_of_exceptions() -> None:
    for name in "ProtocolError UsageError StreamGone WouldBlock Disconnected OutOfMemory".split():
        assert issubclass(getattr(raw, name), raw.Error)
    assert issubclass(raw.Error, ConnectionError)
    assert issubclass(raw.OutOfMemory, MemoryError)


# ---- the order of events -----------------------------------------------------------------------


def test_http2_speaks_first() -> None:
    conn = Recorder(server=True)
    conn.connection_made(is_http2=True)
    assert conn.is_http2
    assert [line.split()[0] for line in FrameReader().lines(conn.log[0][1])] == [
        "SETTINGS",
        "WINDOW_UPDATE",
    ]
    conn.take()
    conn.data_received(HELLO)
    assert conn.kinds() == "W settings"


@pytest.mark.parametrize("http2", [False, True])
def test_get(http2: bool) -> None:
    conn = server(http2=http2)
    conn.data_received(frame("HEADERS 1 END_STREAM|END_HEADERS @get") if http2 else GET)
    scheme = "http" if http2 else "unknown"
    assert conn.take() == [
        ("start", 1),
        ("head", 1, 0, "GET", "/", [(":scheme", scheme), (":authority", "h")]),
        ("tail", 1, None),
    ]
    conn.write_head(1, 200, "", "", [("a", "b")], False)
    assert conn.kinds() == "W"
    assert conn.write_data(1, b"hello", True) == 5
    log = conn.take()
    assert [event[0] for event in log] == ["W", "end"]
    assert log[1] == ("end", 1, raw.CNO_RST_NO_ERROR, raw.CNO_LOCAL)


@pytest.mark.parametrize("http2", [False, True])
def test_post_with_trailers(http2: bool) -> None:
    conn = server(http2=http2)
    if http2:
        conn.data_received(frame("HEADERS 1 END_HEADERS @post") + frame("DATA 1 - t:hello"))
        conn.data_received(frame("HEADERS 1 END_STREAM|END_HEADERS a=b"))
    else:
        conn.data_received(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        conn.data_received(b"5\r\nhello\r\n0\r\na: b\r\n\r\n")
    log = conn.take()
    assert [event[0] for event in log] == ["start", "head", "data", "tail"]
    assert log[2:] == [("data", 1, b"hello"), ("tail", 1, [("a", "b")])]


def test_the_end_of_a_request_behind_its_answer() -> None:
    conn = server(http2=True)
    conn.data_received(frame("HEADERS 1 END_HEADERS @post"))
    conn.write_head(1, 204, "", "", [], True)
    assert conn.kinds() == "start head W"
    conn.data_received(frame("DATA 1 END_STREAM"))
    assert conn.take() == [("tail", 1, None), ("end", 1, 0, raw.CNO_REMOTE)]


def test_resets() -> None:
    conn = server(http2=True)
    conn.data_received(frame("HEADERS 1 END_HEADERS @post") + frame("RST_STREAM 1 - u32:8"))
    assert conn.take()[2:] == [("end", 1, raw.CNO_RST_CANCEL, raw.CNO_REMOTE)]
    conn.data_received(frame("HEADERS 3 END_HEADERS @post"))
    conn.take()
    conn.write_reset(3, raw.CNO_RST_REFUSED_STREAM)
    log = conn.take()
    assert log[0] == ("W", frame("RST_STREAM 3 - u32:7"))
    assert log[1:] == [("end", 3, raw.CNO_RST_REFUSED_STREAM, raw.CNO_LOCAL)]


def test_a_reset_with_a_code_nobody_knows() -> None:
    conn = server(http2=True)
    conn.data_received(
        frame("HEADERS 1 END_HEADERS @post") + frame("RST_STREAM 1 - u32:0xfffffffe")
    )
    assert conn.take()[2:] == [("end", 1, 0xFFFFFFFE, raw.CNO_REMOTE)]


def test_a_malformed_request_is_no_message() -> None:
    conn = server(http2=True)
    conn.data_received(frame("HEADERS 1 END_STREAM|END_HEADERS @get A=b"))
    assert conn.take() == [
        ("W", frame("RST_STREAM 1 - u32:1")),
        ("start", 1),
        ("end", 1, raw.CNO_RST_PROTOCOL_ERROR, raw.CNO_LOCAL),
    ]


def test_windows() -> None:
    conn = server(http2=True)
    conn.data_received(frame("SETTINGS 0 - s:4=3") + frame("HEADERS 1 END_STREAM|END_HEADERS @get"))
    conn.write_head(1, 200, "", "", [], False)
    assert conn.write_data(1, b"hello", True) == 3
    conn.take()
    conn.data_received(frame("WINDOW_UPDATE 1 - u32:5") + frame("WINDOW_UPDATE 0 - u32:5"))
    assert conn.take() == [("flow", 1), ("flow", 0)]
    assert conn.write_data(1, b"lo", True) == 2
    assert conn.kinds() == "W end"
    conn.data_received(frame("SETTINGS 0 - s:4=7"))
    assert conn.kinds() == "W flow settings"


def test_limits() -> None:
    conn = Recorder(server=True)
    conn.limit(fields=4, head=200)
    with pytest.raises(raw.UsageError, match="range"):
        conn.limit(resets=65536)
    conn.connection_made()
    with pytest.raises(raw.UsageError, match="begun"):
        conn.limit(fields=5)
    with pytest.raises(raw.ProtocolError) as caught:
        conn.data_received(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a: b\r\n" * 4 + b"\r\n")
    assert (caught.value.reason, caught.value.wire) == ("too-many-fields", 431)


def test_ping() -> None:
    conn = server(http2=True)
    conn.write_ping(b"12345678")
    assert conn.take() == [("W", frame("PING 0 - t:12345678"))]
    conn.data_received(frame("PING 0 ACK t:12345678"))
    assert conn.take() == [("pong", b"12345678")]
    with pytest.raises(ValueError, match="8 bytes"):
        conn.write_ping(b"1")


def test_push() -> None:
    conn = server(http2=True)
    conn.data_received(frame("HEADERS 1 END_STREAM|END_HEADERS @get"))
    conn.take()
    assert conn.next_stream == 2
    conn.write_push(1, "GET", "/a", REQUEST)
    assert conn.next_stream == 4
    log = conn.take()
    assert log[0][0] == "W"
    assert log[1:] == [("start", 2), ("head", 2, 0, "GET", "/a", REQUEST), ("tail", 2, None)]
    conn.write_head(2, 204, "", "", [], True)
    assert conn.take()[1:] == [("end", 2, 0, raw.CNO_LOCAL)]


def test_requests_wait_for_the_answer_before() -> None:
    conn = server(http2=False)
    conn.data_received(GET + b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert conn.kinds() == "start head tail"
    conn.data_received(b"")
    assert conn.take() == []
    conn.write_head(1, 204, "", "", [], True)
    conn.take()
    conn.data_received(b"")
    assert [event[:5] for event in conn.take()][1] == ("head", 3, 0, "GET", "/2")


def test_the_first_octet_begins_a_stream() -> None:
    conn = server(http2=False)
    conn.data_received(b"G")
    assert conn.take() == [("start", 1)]
    conn.data_received(GET[1:])
    assert conn.kinds() == "head tail"


def test_the_end_of_the_transport() -> None:
    conn = server(http2=False)
    conn.connection_lost()
    assert conn.take() == [("close",)]
    conn.connection_lost()
    assert conn.take() == []
    for call in (
        lambda: conn.data_received(b"x"),
        lambda: conn.write_head(1, 200, "", "", [], True),
    ):
        with pytest.raises(raw.Disconnected):
            call()
    with pytest.raises(raw.StreamGone):
        conn.write_data(1, b"x", True)

    conn = server(http2=True)
    conn.data_received(frame("HEADERS 1 END_HEADERS @post"))
    conn.take()
    with pytest.raises(raw.ProtocolError, match="1 stream") as caught:
        conn.connection_lost()
    assert caught.value.reason == "cut"
    assert conn.take() == [("end", 1, raw.CNO_RST_CANCEL, raw.CNO_LOCAL)]


def test_shutdown() -> None:
    conn = server(http2=True)
    conn.data_received(frame("HEADERS 1 END_STREAM|END_HEADERS @get"))
    conn.take()
    conn.shutdown()
    conn.write_head(1, 204, "", "", [], True)
    assert conn.kinds() == "W W end close"
    conn = server(http2=True)
    conn.write_reset(0, raw.CNO_RST_NO_ERROR)
    assert conn.kinds() == "W close"


# ---- errors ------------------------------------------------------------------------------------


def test_what_the_peer_did_wrong() -> None:
    conn = server(http2=False)
    with pytest.raises(raw.ProtocolError) as caught:
        conn.data_received(b"GET / HTTP/1.1\r\nHost: h\r\nx: \0\r\n\r\n")
    error = caught.value
    assert (error.reason, error.wire, error.offset) == ("bad-field-value", 400, 28)
    assert str(error)
    log = conn.take()
    assert log[0][1].startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert log[1:] == [
        ("start", 1),
        ("end", 1, raw.CNO_RST_PROTOCOL_ERROR, raw.CNO_LOCAL),
        ("close",),
    ]
    assert conn.refused is None
    with pytest.raises(raw.Disconnected):
        conn.data_received(GET)

    conn = server(http2=True)
    with pytest.raises(raw.ProtocolError) as caught:
        conn.data_received(frame("PING 1 - t:12345678"))
    assert (caught.value.reason, caught.value.wire) == ("frame-with-stream", 1)
    assert conn.kinds() == "W close"


@pytest.mark.parametrize("http2", [False, True])
def test_what_the_caller_did_wrong_harms_nothing(http2: bool) -> None:
    conn = server(http2=http2)
    conn.data_received(frame("HEADERS 1 END_STREAM|END_HEADERS @get") if http2 else GET)
    conn.take()
    for status, fields in (
        (200, [("a", "b\r\nc: d")]),
        (200, [("a b", "c")]),
        (200, [("content-length", "x")]),
        (99, []),
        (1000, []),
        (101, []),
    ):
        with pytest.raises(raw.UsageError):
            conn.write_head(1, status, "", "", fields, True)
    with pytest.raises(raw.UsageError):
        conn.write_data(1, b"x", True)
    with pytest.raises(raw.UsageError):
        conn.write_tail(1, [])
    with pytest.raises(raw.StreamGone):
        conn.write_head(3, 200, "", "", [], True)
    with pytest.raises(raw.StreamGone):
        conn.write_reset(3, raw.CNO_RST_CANCEL)
    with pytest.raises(raw.UsageError):
        conn.connection_made(is_http2=http2)
    assert conn.take() == []
    conn.write_head(1, 200, "", "", [("content-length", "3")], False)
    conn.take()
    with pytest.raises(raw.UsageError) as caught:
        conn.write_data(1, b"hello", True)
    assert caught.value.reason == "body-too-long"
    assert conn.take() == []
    conn.write_data(1, b"abc", True)
    assert conn.kinds() == "W end"


def test_a_client_waits_for_its_turn() -> None:
    conn = Recorder(server=False)
    conn.connection_made()
    conn.write_head(1, 0, "GET", "/", REQUEST, True)
    with pytest.raises(raw.WouldBlock):
        conn.write_head(conn.next_stream, 0, "GET", "/", REQUEST, True)
    conn.data_received(b"HTTP/1.1 204 No Content\r\n\r\n")
    conn.write_head(conn.next_stream, 0, "GET", "/", REQUEST, True)


class Failing(Recorder):
    """A connection in which one event raises, once."""

    fails_in = ""

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "fails_in"):
            self.fails_in = ""
            raise LookupError(name)
        return super().__getattribute__(name)


KINDS = {
    "on_stream_start": "start",
    "on_message_head": "head",
    "on_message_data": "data",
    "on_message_tail": "tail",
}


@pytest.mark.parametrize("body", [False, True])
@pytest.mark.parametrize(
    "event", ["on_stream_start", "on_message_head", "on_message_data", "on_message_tail"]
)
def test_an_event_that_raises(event: str, body: bool) -> None:
    order = list(KINDS)
    octets = frame("HEADERS 1 END_HEADERS @post") + frame("DATA 1 END_STREAM t:x")
    if not body:
        order.remove("on_message_data")
        octets = frame("HEADERS 1 END_STREAM|END_HEADERS @get")
    if event not in order:
        return
    conn = server(http2=True, cls=Failing)
    assert isinstance(conn, Failing)
    conn.fails_in = event
    with pytest.raises(LookupError):
        conn.data_received(octets)
    at = order.index(event)
    assert conn.kinds().split() == [KINDS[name] for name in order[:at]]
    # The next call of any kind reports the remaining events, and the connection goes on.
    conn.write_ping(b"abcdefgh")
    assert conn.kinds().split() == ["W", *(KINDS[name] for name in order[at + 1 :])]
    conn.write_head(1, 204, "", "", [], True)
    assert conn.kinds() == "W end"


def test_an_event_that_raises_does_not_hide_what_the_peer_did() -> None:
    conn = server(http2=True, cls=Failing)
    assert isinstance(conn, Failing)
    conn.data_received(frame("HEADERS 1 END_HEADERS @post"))
    conn.fails_in = "on_stream_end"
    with pytest.raises(LookupError):
        conn.data_received(frame("PING 1 - t:12345678"))
    with pytest.raises(raw.ProtocolError):
        conn.connection_lost()


class Nesting(Recorder):
    """A server that answers within an event, and notes the end of the event."""

    answers_in = "head"

    def answer(self, stream: int, where: str) -> None:
        if where == self.answers_in:
            self.write_head(stream, 200, "", "", [], False)
            self.write_data(stream, b"hi", True)
        self.log.append((f"{where} left",))

    def on_message_head(self, *head: Any) -> None:
        super().on_message_head(*head)
        self.answer(head[0], "head")

    def on_message_tail(self, *tail: Any) -> None:
        super().on_message_tail(*tail)
        self.answer(tail[0], "tail")


@pytest.mark.parametrize("where", ["head", "tail"])
def test_events_do_not_nest(where: str) -> None:
    conn = server(http2=True, cls=Nesting)
    assert isinstance(conn, Nesting)
    conn.answers_in = where
    conn.data_received(frame("HEADERS 1 END_HEADERS @post") + frame("DATA 1 END_STREAM t:x"))
    told = [kind for kind in conn.kinds().replace(" left", "-left").split() if kind != "W"]
    assert told == ["start", "head", "head-left", "data", "tail", "tail-left", "end"]


@pytest.mark.parametrize("http2", [False, True])
def test_a_request_of_ours_begins_when_it_is_written(http2: bool) -> None:
    conn = Recorder(server=False)
    conn.connection_made(is_http2=http2)
    conn.take()
    conn.write_head(1, 0, "GET", "/", REQUEST, True)
    assert ("start", 1) in conn.take()


def test_as_many_fields_as_may_be_sent() -> None:
    conn = server(http2=False)
    conn.data_received(GET)
    with pytest.raises(raw.UsageError):
        conn.write_head(1, 200, "", "", [("a", "b")] * 257, True)
    conn.write_head(1, 204, "", "", [("a", "b")] * 256, True)


# ---- text and octets ---------------------------------------------------------------------------


@pytest.mark.parametrize("http2", [False, True])
def test_fields_in(http2: bool) -> None:
    conn = server(http2=http2)
    if http2:
        conn.data_received(
            frame("HEADERS 1 END_STREAM|END_HEADERS @get a=\\xe9 b=\\xc3\\xa9 c=x\\tq d=")
        )
    else:
        conn.data_received(GET[:-2] + b"A: \xe9\r\nB: \xc3\xa9\r\nC: x\tq\r\nD:\r\n\r\n")
    fields = conn.take()[1][-1]
    assert fields[2:] == [("a", "é"), ("b", "é"), ("c", "x\tq"), ("d", "")]


class Octets(Recorder):
    """A connection that notes heads, trailers and promises as bytes."""

    def on_raw_head(self, *head: Any) -> None:
        self.log.append(("raw head", *head))

    def on_raw_tail(self, *tail: Any) -> None:
        self.log.append(("raw tail", *tail))

    def on_raw_push(self, *push: Any) -> None:
        self.log.append(("raw push", *push))


@pytest.mark.parametrize("http2", [False, True])
def test_octets_of_requests(http2: bool) -> None:
    conn = server(http2=http2, cls=Octets)
    if http2:
        conn.data_received(frame("HEADERS 1 END_HEADERS @post a=\\xe9 b=\\xc3\\xa9 te=trailers"))
        conn.data_received(frame("HEADERS 1 END_STREAM|END_HEADERS c=\\xe9"))
    else:
        conn.data_received(
            b"POST / HTTP/1.1\r\nHost: h\r\nA: \xe9\r\nb: \xc3\xa9\r\nTE: trailers\r\n"
        )
        conn.data_received(b"Transfer-Encoding: chunked\r\n\r\n0\r\nC: \xe9\r\n\r\n")
    start, head, tail = conn.take()
    assert start == ("start", 1)
    assert head[:5] == ("raw head", 1, 0, b"POST", b"/")
    assert [pair for pair in head[5] if pair[0] in (b"a", b"b")] == [
        (b"a", b"\xe9"),
        (b"b", b"\xc3\xa9"),
    ]
    assert head[6] == raw.CNO_MESSAGE_TRAILERS
    assert tail == ("raw tail", 1, [(b"c", b"\xe9")])


def test_octets_of_a_target_and_of_a_reason() -> None:
    conn = server(http2=False, cls=Octets)
    conn.data_received(b"GET /a%E9 HTTP/1.0\r\n\r\n")
    head, tail = conn.take()[1:]
    assert head[3:5] == (b"GET", b"/a%E9")
    assert head[6] == raw.CNO_MESSAGE_FINAL | raw.CNO_MESSAGE_HTTP1_0
    assert tail == ("raw tail", 1, None)
    client = Octets(server=False)
    client.connection_made()
    client.write_head(1, 0, "GET", "/", REQUEST, True)
    client.data_received(b"HTTP/1.1 404 Pas trouv\xe9\r\nContent-Length: 0\r\n\r\n")
    assert client.take()[2][:5] == ("raw head", 1, 404, b"Pas trouv\xe9", b"")


def test_octets_of_a_promise() -> None:
    client, other = Octets(server=False), Recorder(server=True)
    client.configure(enable_push=1)
    for side in (client, other):
        side.connection_made(is_http2=True)
    talk(client, other)
    client.write_head(1, 0, "GET", "/", REQUEST, True)
    talk(client, other)
    other.write_push(1, "GET", "/p", [*REQUEST, (b"a", b"\xe9")])
    mine, _ = talk(client, other)
    fields = [(b":scheme", b"http"), (b":authority", b"h"), (b"a", b"\xe9")]
    assert mine == [("raw push", 2, 1, b"GET", b"/p", fields)]


@pytest.mark.parametrize("http2", [False, True])
def test_fields_out(http2: bool) -> None:
    conn = server(http2=http2)
    conn.data_received(frame("HEADERS 1 END_STREAM|END_HEADERS @get") if http2 else GET)
    conn.take()
    fields: list[tuple[str | bytes, str | bytes]] = [("a", "é"), (b"b", b"\xe9"), ("c", b"x")]
    conn.write_head(1, 204, "", "", iter(fields), True)
    out = conn.take()[0][1]
    if http2:
        expected = ["HEADERS 1 END_STREAM|END_HEADERS :status=204 a=\\xc3\\xa9 b=\\xe9 c=x"]
        assert list(FrameReader().lines(out)) == expected
    else:
        assert out == b"HTTP/1.1 204 No Content\r\na: \xc3\xa9\r\nb: \xe9\r\nc: x\r\n\r\n"


def test_names_are_written_as_they_were_given_on_http1() -> None:
    conn = server(http2=False)
    conn.data_received(GET)
    conn.take()
    conn.write_head(1, 200, "", "", [("X-Head", "1")], False)
    conn.write_tail(1, [("X-Tail", "2")])
    out = b"".join(event[1] for event in conn.take() if event[0] == "W")
    assert b"\r\nX-Head: 1\r\n" in out
    assert b"\r\nX-Tail: 2\r\n" in out


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_kinds_of_octets(kind: Any) -> None:
    conn = server(http2=False)
    conn.data_received(kind(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"))
    data = [event for event in conn.take() if event[0] == "data"]
    assert data == [("data", 1, b"hi")]
    assert type(data[0][2]) is bytes
    conn.write_head(1, 200, "", "", [("content-length", "5")], False)
    assert conn.write_data(1, kind(b"hello"), True) == 5
    assert conn.take()[1][1] == b"hello"


def test_octets_that_are_changed_later() -> None:
    conn = server(http2=True)
    octets = bytearray(frame("HEADERS 1 END_HEADERS @post") + frame("DATA 1 - t:hello"))
    conn.data_received(octets)
    octets[:] = bytes(len(octets))
    assert conn.take()[-1] == ("data", 1, b"hello")


# ---- the whole engine --------------------------------------------------------------------------


def test_what_is_refused_on_one_stream_is_told() -> None:
    class Faults(Recorder):
        def on_fault(self, stream: int, error: raw.ProtocolError) -> None:
            self.log.append(("fault", stream, error.reason, error.wire))
            refused.append(self.refused)

    refused: list[tuple[str, bytes] | None] = []
    conn = server(http2=True, cls=Faults)
    conn.data_received(frame("HEADERS 1 END_STREAM|END_HEADERS @get A=b"))
    assert ("fault", 1, "bad-field-name", raw.CNO_RST_PROTOCOL_ERROR) in conn.take()
    with pytest.raises(raw.ProtocolError) as caught:
        conn.data_received(frame("PING 1 - t:12345678"))
    assert ("fault", 0, caught.value.reason, caught.value.wire) in conn.take()
    conn = server(http2=False, cls=Faults)
    with pytest.raises(raw.ProtocolError):
        conn.data_received(b"PUT /a?b HTTP/1.1\r\n\r\n")
    assert refused == [("GET", b"/"), None, ("PUT", b"/a?b")]


def test_a_shutdown_that_is_announced() -> None:
    conn = server(http2=True)
    conn.shutdown(final=False)
    assert conn.take() == [("W", frame("GOAWAY 0 - u32:0x7fffffff u32:0"))]
    conn.data_received(frame("HEADERS 1 END_STREAM|END_HEADERS @get"))
    conn.take()
    conn.shutdown()
    assert conn.take() == [("W", frame("GOAWAY 0 - u32:1 u32:0"))]
    conn.write_head(1, 204, "", "", [], True)
    assert conn.kinds() == "W end close"


@pytest.mark.parametrize("http2", [False, True])
def test_messages_in_one_call(http2: bool) -> None:
    client, server = couple(http2)
    assert client.write_message(1, 0, "POST", "/", REQUEST, b"hello", False) == 5
    log = client.take()
    assert [event[0] for event in log] == ["W", "start"]
    client.log = log
    client.write_data(1, b"", True)
    assert [event[0] for event in talk(client, server)[1]] == ["head", "data", "tail"]
    with pytest.raises(raw.UsageError):
        server.write_message(1, 200, "", "", [("content-length", "4")], b"hello", True)
    assert server.take() == []
    octets = memoryview(b"hello")
    assert server.write_message(1, 200, "", "", [("content-length", "5")], octets, True) == 5
    assert [event[0] for event in server.log] == ["W", "end"]
    mine, _ = talk(client, server)
    assert mine[1] == ("data", 1, b"hello")


def test_what_is_no_setting_and_no_limit() -> None:
    conn = Recorder(server=True)
    for name, change in (("setting", conn.configure), ("limit", conn.limit)):
        with pytest.raises(TypeError, match=f"no {name} 'nothing'"):
            change(nothing=1)
    for change, member in ((conn.configure, "max_frame_size"), (conn.limit, "fields")):
        for number in (-1, 1, 2**32):
            with pytest.raises(raw.UsageError, match="range"):
                change(**{member: number})


def test_flow_by_hand() -> None:
    conn = Recorder(server=True)
    conn.manual_flow(connection=True)
    conn.connection_made(is_http2=True)
    conn.data_received(HELLO + frame("HEADERS 1 END_HEADERS @post"))
    piece = frame("DATA 1 - 16384*t:x")
    conn.take()
    conn.data_received(piece * 3)
    assert conn.kinds() == "data data data"
    conn.open_flow(1, 3 * 16384)
    assert conn.take() == [("W", frame("WINDOW_UPDATE 1 - u32:49152"))]


# ---- who owns what -----------------------------------------------------------------------------


def test_a_connection_is_freed_by_its_references() -> None:
    gc.collect()
    gc.disable()
    try:
        conn = server(http2=True)
        conn.data_received(frame("HEADERS 1 END_STREAM|END_HEADERS @get"))
        engine = weakref.ref(conn._engine.batch)
        wrapper = weakref.ref(conn)
        del conn
        assert wrapper() is None
        assert engine() is None
    finally:
        gc.enable()


def test_p1_ten_thousand_connections_are_freed_without_the_collector() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    gc.collect()
    gc.disable()
    try:
        for number in range(10_000):
            http2 = bool(number % 2)
            sides = Recorder(server=False), Recorder(server=True)
            for side in sides:
                alive.add(side._engine.batch)
                side.connection_made(is_http2=http2)
            talk(*sides)
            sides[0].write_head(1, 0, "GET", "/", REQUEST, True)
            talk(*sides)
            if number % 3:
                sides[1].write_head(1, 204, "", "", [], True)
                talk(*sides)
        del side, sides
        assert not alive
    finally:
        gc.enable()


def test_an_error_keeps_nobody() -> None:
    gc.collect()
    gc.disable()
    try:
        conn = server(http2=False)
        for error in (raw.ProtocolError, raw.Disconnected):
            with contextlib.suppress(error):
                conn.data_received(b"no request\r\n\r\n")
        wrapper = weakref.ref(conn)
        del conn
        assert wrapper() is None
    finally:
        gc.enable()


def test_subclasses_have_their_own_events() -> None:
    # The seed looked the events of a class up once, for all classes below it.
    base = raw.Connection(server=True)
    base.connection_made()

    class Heads(raw.Connection):
        seen = ""

        def on_message_head(self, stream: int, *head: Any) -> None:
            self.seen += f"head {stream} "

    class Tails(Heads):
        def on_message_tail(self, stream: int, trailers: Any) -> None:
            self.seen += f"tail {stream}"

    heads, tails = Heads(server=True), Tails(server=True)
    for conn in (heads, tails):
        conn.connection_made()
        conn.data_received(GET)
    assert heads.seen == "head 1 "
    assert tails.seen == "head 1 tail 1"


# ---- two of them -------------------------------------------------------------------------------


def couple(http2: bool, *, push: bool = False) -> tuple[Recorder, Recorder]:
    client, server = Recorder(server=False), Recorder(server=True)
    if push:
        client._engine.configure(enable_push=1)
    for side in (client, server):
        side.connection_made(is_http2=http2)
    assert talk(client, server) == ([], [])
    return client, server


@pytest.mark.parametrize("http2", [False, True])
def test_messages_both_ways(http2: bool) -> None:
    client, server = couple(http2)
    for _ in range(3):
        stream = client.next_stream
        client.write_head(stream, 0, "POST", "/p?q", REQUEST, False)
        client.write_data(stream, b"request " * 1000, False)
        client.write_tail(stream, [("sum", "1")])
        mine, theirs = talk(client, server)
        assert mine == []
        body = b"".join(event[2] for event in theirs if event[0] == "data")
        assert body == b"request " * 1000
        assert theirs[0][:5] == ("head", stream, 0, "POST", "/p?q")
        assert theirs[-1] == ("tail", stream, [("sum", "1")])

        server.write_head(stream, 103, "", "", [("link", "</a>")], False)
        server.write_head(stream, 200, "", "", [("a", "b")], False)
        server.write_data(stream, b"response", False)
        server.write_tail(stream, [("sum", "2")])
        mine, theirs = talk(client, server)
        reason = "" if http2 else "OK"
        assert mine == [
            ("head", stream, 103, "" if http2 else "Early Hints", "", [("link", "</a>")]),
            ("head", stream, 200, reason, "", [("a", "b")]),
            ("data", stream, b"response"),
            ("tail", stream, [("sum", "2")]),
            ("end", stream, 0, raw.CNO_REMOTE),
        ]
        assert theirs == [("end", stream, 0, raw.CNO_LOCAL)]
    client.shutdown()
    mine, theirs = talk(client, server)
    assert mine == [("close",)]
    assert theirs == ([("close",)] if http2 else [])


def test_a_push_is_answered() -> None:
    client, server = couple(True, push=True)
    client.write_head(1, 0, "GET", "/", REQUEST, True)
    talk(client, server)
    server.write_push(1, "GET", "/a.css", [*REQUEST, ("x-a", "1")])
    server.write_head(2, 200, "", "", [], False)
    server.write_data(2, b"pushed", True)
    server.write_head(1, 204, "", "", [], True)
    mine, theirs = talk(client, server)
    assert mine == [
        ("push", 2, 1, "GET", "/a.css", [*REQUEST, ("x-a", "1")]),
        ("head", 2, 200, "", "", []),
        ("data", 2, b"pushed"),
        ("tail", 2, None),
        ("end", 2, 0, raw.CNO_REMOTE),
        ("head", 1, 204, "", "", []),
        ("tail", 1, None),
        ("end", 1, 0, raw.CNO_REMOTE),
    ]
    assert [event[0] for event in theirs] == ["head", "tail", "end", "end"]

    client.write_head(3, 0, "GET", "/", REQUEST, True)
    talk(client, server)
    server.write_push(3, "GET", "/b", REQUEST)
    talk(client, server)
    client.write_reset(4, raw.CNO_RST_CANCEL)
    assert talk(client, server)[1] == [("end", 4, raw.CNO_RST_CANCEL, raw.CNO_REMOTE)]


def test_a_large_body_waits_for_windows_of_both() -> None:
    client, server = couple(True)
    client.write_head(1, 0, "GET", "/", REQUEST, True)
    talk(client, server)
    server.write_head(1, 200, "", "", [], False)
    body = bytes(range(256)) * 4000
    sent, got, rounds = 0, b"", 0
    while sent < len(body):
        taken = server.write_data(1, body[sent : sent + 300000], sent + 300000 >= len(body))
        sent += taken
        rounds += 1
        mine, _ = talk(client, server)
        got += b"".join(event[2] for event in mine if event[0] == "data")
        assert rounds < 100
    assert got == body
    assert rounds > 10


def test_what_the_collector_finds_is_freed_when_it_is_through() -> None:
    """Finalizers of the same garbage may still call the engine."""
    conn = engine.Engine(server=True)
    engine._on_collection("start", {})
    try:
        del conn
        assert len(engine._found) == 1
    finally:
        engine._on_collection("stop", {})
    assert not engine._found


def test_on_fault_knows_the_request_that_was_refused() -> None:
    seen = []

    class Mine(raw.Connection):
        def on_fault(self, stream: int, error: raw.ProtocolError) -> None:
            seen.append((stream, error.wire, self.refused))

    conn = Mine(server=True)
    conn.connection_made()
    with pytest.raises(raw.ProtocolError):
        conn.data_received(b"GET /a HTTP/1.1\r\n\r\n")
    assert seen == [(0, 400, ("GET", b"/a"))]
    assert conn.refused is None
