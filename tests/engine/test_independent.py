"""The engine talks to other implementations, in memory: h2 on HTTP/2, h11 on HTTP/1.

h2 and h11 check their input and raise exceptions. The output of each side is the input of the other
side, until neither has output.
"""

import struct
from collections import defaultdict

import h2.config
import h2.connection
import h2.events
import h11
import pytest

from cno import raw

REQUEST = [(":method", "POST"), (":scheme", "https"), (":path", "/a?b"), (":authority", "h")]
LARGE = [(f"x-{n}", "~" * 5000) for n in range(6)]  # CONTINUATION in both directions
BODY = bytes(range(256)) * 1000

# Flags that a type defines (RFC 9113 section 6), by type.
FLAGS = {0: 0x9, 1: 0x2D, 2: 0, 3: 0, 4: 1, 5: 0xC, 6: 1, 7: 0, 8: 0, 9: 4}


class Ours(raw.Connection):
    """Collects messages by stream, and writes bodies as the windows allow."""

    def __init__(self, *, server: bool) -> None:
        super().__init__(server=server)
        self.out = b""
        self.heads: dict[int, list[tuple[int, dict[str, str]]]] = defaultdict(list)
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self.tails: dict[int, list[tuple[str, str]] | None] = {}
        self.ends: dict[int, int] = {}
        self.rest: dict[int, bytes] = {}

    def on_writev(self, chunks: list[bytes]) -> None:
        self.out += b"".join(chunks)

    def on_message_head(
        self, stream: int, code: int, method: str, path: str, headers: list[tuple[str, str]]
    ) -> None:
        self.heads[stream].append((code, dict(headers)))

    def on_message_data(self, stream: int, data: bytes) -> None:
        self.bodies[stream] += data

    def on_message_tail(self, stream: int, trailers: list[tuple[str, str]] | None) -> None:
        self.tails[stream] = trailers

    def on_stream_end(self, stream: int, code: int, side: int) -> None:
        self.ends[stream] = code

    def take(self) -> bytes:
        out, self.out = self.out, b""
        return out

    def write(self, stream: int, body: bytes) -> None:
        """Writes a body, then trailers. Bytes that do not fit into the window wait for `go_on`."""
        self.rest[stream] = body
        self.go_on()

    def go_on(self) -> None:
        for stream, body in list(self.rest.items()):
            self.rest[stream] = body = body[self.write_data(stream, body, False) :]
            if not body:
                del self.rest[stream]
                self.write_tail(stream, [("x-sum", "1")])


def check_frames(octets: bytes) -> None:
    """Checks that a frame has no undefined flag and no reserved bit (sections 4.1, 5.1.1 and 6)."""
    if octets.startswith(b"PRI "):
        octets = octets[24:]
    while octets:
        high, low, kind, flags, stream = struct.unpack_from(">BHBBI", octets)
        assert not flags & ~FLAGS[kind]
        assert stream < 1 << 31
        octets = octets[9 + (high << 16 | low) :]


class Theirs:
    """A connection of h2 that reopens its windows and keeps its events."""

    def __init__(self, *, server: bool) -> None:
        config = h2.config.H2Configuration(client_side=not server, header_encoding="latin-1")
        self.h2 = h2.connection.H2Connection(config)
        self.events: list[h2.events.Event] = []
        self.rest: dict[int, bytes] = {}
        self.h2.initiate_connection()

    def of(self, kind: type) -> list[h2.events.Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def body(self, stream: int) -> bytes:
        return b"".join(e.data for e in self.of(h2.events.DataReceived) if e.stream_id == stream)

    def feed(self, octets: bytes) -> None:
        for event in self.h2.receive_data(octets):
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.events.append(event)

    def write(self, stream: int, body: bytes) -> None:
        self.rest[stream] = body

    def go_on(self) -> None:
        for stream, body in list(self.rest.items()):
            # Each frame has eight bytes of padding.
            while body and (size := min(self.h2.local_flow_control_window(stream) - 8, 16000)) > 0:
                self.h2.send_data(stream, body[:size], pad_length=7)
                body = body[size:]
            self.rest[stream] = body
            if not body:
                del self.rest[stream]
                self.h2.send_headers(stream, [("x-sum", "1")], end_stream=True)


def talk(ours: Ours, theirs: Theirs) -> None:
    for _ in range(1000):
        theirs.go_on()
        octets, answer = ours.take(), theirs.h2.data_to_send()
        if not octets and not answer:
            return
        check_frames(octets)
        theirs.feed(octets)
        ours.data_received(answer)
        ours.go_on()
    pytest.fail("they never stop")


def test_a_server_of_ours() -> None:
    ours, theirs = Ours(server=True), Theirs(server=False)
    ours.connection_made(True)
    theirs.h2.send_headers(1, [*REQUEST, *LARGE])
    theirs.write(1, BODY)
    theirs.h2.send_headers(3, [(":method", "GET"), *REQUEST[1:]], end_stream=True)
    talk(ours, theirs)
    assert ours.heads[1] == [(0, dict([REQUEST[1], REQUEST[3], *LARGE]))]
    assert ours.bodies[1] == BODY
    assert ours.tails == {1: [("x-sum", "1")], 3: None}

    ours.write_head(1, 103, "", "", [("link", "</a>")], False)
    ours.write_push(1, "GET", "/a", [(":scheme", "https"), (":authority", "h")])
    ours.write_head(2, 200, "", "", [("content-length", "2")], False)
    ours.write_data(2, b"hi", True)
    ours.write_head(1, 200, "", "", LARGE, False)
    ours.write(1, BODY)
    ours.write_head(3, 204, "", "", [], True)
    ours.write_ping(b"01234567")
    talk(ours, theirs)
    [interim] = theirs.of(h2.events.InformationalResponseReceived)
    assert interim.headers == [(":status", "103"), ("link", "</a>")]
    [push] = theirs.of(h2.events.PushedStreamReceived)
    assert (":path", "/a") in push.headers
    assert theirs.body(1) == BODY
    assert theirs.body(2) == b"hi"
    assert [e.headers for e in theirs.of(h2.events.TrailersReceived)] == [[("x-sum", "1")]]
    assert {e.stream_id for e in theirs.of(h2.events.StreamEnded)} == {1, 2, 3}
    assert ours.ends == {1: 0, 2: 0, 3: 0}

    theirs.h2.send_headers(5, REQUEST)
    theirs.h2.send_headers(7, REQUEST)
    talk(ours, theirs)
    ours.write_reset(5, raw.CNO_RST_CANCEL)
    theirs.h2.reset_stream(7, 8)
    talk(ours, theirs)
    assert [e.error_code for e in theirs.of(h2.events.StreamReset)] == [8]
    assert ours.ends[7] == 8
    ours.shutdown()
    theirs.feed(ours.take())
    assert [e.last_stream_id for e in theirs.of(h2.events.ConnectionTerminated)] == [7]


def test_a_client_of_ours() -> None:
    ours, theirs = Ours(server=False), Theirs(server=True)
    ours.connection_made(True)
    ours.write_head(1, 0, "POST", "/a?b", [*REQUEST[1::2], *LARGE], False)
    ours.write(1, BODY)
    ours.write_head(3, 0, "HEAD", "/", REQUEST[1::2], True)
    talk(ours, theirs)
    requests = theirs.of(h2.events.RequestReceived)
    assert dict(requests[0].headers) == dict([*REQUEST, *LARGE])
    assert [event.stream_id for event in requests] == [1, 3]
    assert theirs.body(1) == BODY
    assert [e.headers for e in theirs.of(h2.events.TrailersReceived)] == [[("x-sum", "1")]]

    theirs.h2.send_headers(1, [(":status", "103"), ("link", "</a>")])
    theirs.h2.send_headers(1, [(":status", "200"), *LARGE])
    theirs.write(1, BODY)
    theirs.h2.send_headers(3, [(":status", "200"), ("content-length", "5")], end_stream=True)
    talk(ours, theirs)
    assert ours.heads[1] == [(103, {"link": "</a>"}), (200, dict(LARGE))]
    assert ours.heads[3] == [(200, {"content-length": "5"})]
    assert ours.bodies == {1: BODY}
    assert ours.tails == {1: [("x-sum", "1")], 3: None}
    assert ours.ends == {1: 0, 3: 0}

    ours.write_head(5, 0, "POST", "/", REQUEST[1::2], False)
    ours.write_head(7, 0, "POST", "/", REQUEST[1::2], False)
    talk(ours, theirs)
    ours.write_reset(5, raw.CNO_RST_CANCEL)
    theirs.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10})
    talk(ours, theirs)
    assert [e.error_code for e in theirs.of(h2.events.StreamReset)] == [8]
    theirs.h2.close_connection(last_stream_id=5)
    ours.data_received(theirs.h2.data_to_send())
    assert ours.ends[7] == raw.CNO_RST_REFUSED_STREAM


# ---- HTTP/1 ----------------------------------------------------------------------------------


def heard(theirs: h11.Connection, octets: bytes) -> list[h11.Event]:
    """Returns the events of h11 until it needs more input. Chunks of a body are joined."""
    theirs.receive_data(octets)
    events: list[h11.Event] = []
    while (event := theirs.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        if isinstance(event, h11.Data) and events and isinstance(events[-1], h11.Data):
            event = h11.Data(data=bytes(events.pop().data + event.data))
        events.append(event)
    return events


def body_of(events: list[h11.Event]) -> bytes:
    return b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))


@pytest.mark.parametrize("framing", [[("content-length", "5")], [("transfer-encoding", "chunked")]])
def test_a_server_of_ours_on_http1(framing: list[tuple[str, str]]) -> None:
    ours, theirs = Ours(server=True), h11.Connection(h11.CLIENT)
    ours.connection_made(False)
    for stream in (1, 3, 5):
        head = [("host", "h"), *framing, ("expect", "100-continue")]
        octets = theirs.send(h11.Request(method="POST", target="/a?b", headers=head))
        ours.data_received(octets)
        ours.write_head(stream, 100, "", "", [], False)
        assert [event.status_code for event in heard(theirs, ours.take())] == [100]
        octets = theirs.send(h11.Data(data=b"hello"))
        octets += theirs.send(h11.EndOfMessage())
        ours.data_received(octets)
        assert ours.bodies[stream] == b"hello"

        ours.write_head(stream, 103, "", "", [("link", "</a>")], False)
        ours.write_head(stream, 200, "", "", [("x-a", "b")], False)
        ours.write(stream, BODY)
        interim, response, *rest, end = heard(theirs, ours.take())
        assert isinstance(interim, h11.InformationalResponse)
        assert response.status_code == 200
        assert body_of(rest) == BODY
        assert end.headers == [(b"x-sum", b"1")]
        assert ours.ends[stream] == 0
        theirs.start_next_cycle()


@pytest.mark.parametrize(
    ("method", "code", "fields"),
    [
        ("HEAD", 200, [("content-length", "5")]),
        ("GET", 204, []),
        ("GET", 304, []),
        ("GET", 205, []),
    ],
)
def test_answers_without_content_on_http1(
    method: str, code: int, fields: list[tuple[str, str]]
) -> None:
    ours, theirs = Ours(server=True), h11.Connection(h11.CLIENT)
    ours.connection_made(False)
    for stream in (1, 3):
        octets = theirs.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
        ours.data_received(octets + theirs.send(h11.EndOfMessage()))
        ours.write_head(stream, code, "", "", fields, False)
        ours.write_data(stream, b"hello", True)
        response, *rest, end = heard(theirs, ours.take())
        assert response.status_code == code
        assert body_of(rest) == b""
        assert isinstance(end, h11.EndOfMessage)
        theirs.start_next_cycle()


@pytest.mark.parametrize(
    "framing", [[("content-length", str(len(BODY)))], [("transfer-encoding", "chunked")], []]
)
def test_a_client_of_ours_on_http1(framing: list[tuple[str, str]]) -> None:
    ours, theirs = Ours(server=False), h11.Connection(h11.SERVER)
    ours.connection_made(False)
    ours.write_head(1, 0, "POST", "/a?b", [(":authority", "h"), ("x-a", "b")], False)
    ours.write(1, BODY)
    request, *rest, end = heard(theirs, ours.take())
    assert (request.method, request.target) == (b"POST", b"/a?b")
    assert (b"host", b"h") in request.headers
    assert body_of(rest) == BODY
    assert end.headers == [(b"x-sum", b"1")]

    octets = theirs.send(h11.InformationalResponse(status_code=103, headers=[("link", "</a>")]))
    octets += theirs.send(h11.Response(status_code=200, headers=[*framing, ("x-a", "b")]))
    octets += theirs.send(h11.Data(data=BODY))
    chunked = bool(framing) and framing[0][1] == "chunked"
    octets += theirs.send(h11.EndOfMessage(headers=[("x-sum", "2")] if chunked else []))
    ours.data_received(octets)
    if not framing and 1 not in ours.tails:
        ours.connection_lost()
    assert [code for code, _ in ours.heads[1]] == [103, 200]
    assert ours.bodies[1] == BODY
    assert ours.tails == {1: [("x-sum", "2")] if chunked else [] if not framing else None}
    assert ours.ends == {1: 0}
