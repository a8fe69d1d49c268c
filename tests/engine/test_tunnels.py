"""Tunnels and changes of protocol through the binding, between two engines and with other
clients."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from marshal import dumps
from typing import Any

import pytest
from recorder import HELLO, Recorder, talk
from servers import PATIENCE
from vectors import FrameReader, frame

from cno import raw
from cno.engine.binding import Engine
from cno.engine.events import CONSTANTS
from tools import tool

FIELDS = [(":scheme", "http"), (":authority", "h")]

# ---- two of ours --------------------------------------------------------------------------------


class Told(Recorder):
    """A recorder that notes on_upgrade as well."""

    def on_upgrade(self, stream: int) -> None:
        self.log.append(("upgrade", stream))


def pair(http2: bool, **options: bool) -> tuple[Told, Told]:
    client, server = Told(server=False), Told(server=True)
    if http2:
        server.configure(enable_connect_protocol=1)
    client.connection_made(http2, **options)
    server.connection_made(http2, offer_upgrade=True, **options)
    assert talk(client, server) == ([], [])
    return client, server


def ask(client: Told) -> None:
    """Returns the request for a WebSocket, by version."""
    if client.is_http2:
        client.write_head(1, 0, "CONNECT", "/chat", [(":protocol", "websocket"), *FIELDS], False)
    else:
        client.write_head(1, 0, "GET", "/chat", [*FIELDS, ("upgrade", "websocket")], False)


def grant(server: Told) -> None:
    if server.is_http2:
        server.write_head(1, 200, "", "", [], False)
    else:
        server.write_head(1, 101, "", "", [("upgrade", "websocket")], False)


@pytest.mark.parametrize("http2", [False, True])
def test_a_tunnel_has_the_same_events_on_both_protocols(http2: bool) -> None:
    client, server = pair(http2)
    ask(client)
    mine, theirs = talk(client, server)
    assert [event[0] for event in theirs] == ["head", "upgrade"]
    assert mine == []
    grant(server)
    server.write_data(1, b"\x81\x05hello", False)
    mine, theirs = talk(client, server)
    assert [event[0] for event in mine] == ["head", "upgrade", "data"]
    assert mine[2] == ("data", 1, b"\x81\x05hello")
    assert theirs == []
    octets = bytes(range(256)) * 40
    client.write_data(1, octets, False)
    mine, theirs = talk(client, server)
    assert b"".join(event[2] for event in theirs) == octets
    server.write_data(1, b"bye", True)
    mine, theirs = talk(client, server)
    assert mine[0] == ("data", 1, b"bye")
    if http2:
        assert mine[1:] == [("tail", 1, None)]
        client.write_data(1, b"", True)
        mine, theirs = talk(client, server)
        assert theirs == [("tail", 1, None), ("end", 1, 0, raw.CNO_REMOTE)]
    else:
        assert theirs == [("end", 1, 0, raw.CNO_LOCAL), ("close",)]
        client.connection_lost()
        assert [event[0] for event in client.take()] == ["tail", "end", "close"]


@pytest.mark.parametrize("http2", [False, True])
def test_a_tunnel_that_is_refused(http2: bool) -> None:
    client, server = pair(http2)
    ask(client)
    talk(client, server)
    server.write_head(1, 403, "", "", [("content-length", "2")], False)
    server.write_data(1, b"no", True)
    mine, theirs = talk(client, server)
    assert [event[0] for event in mine] == ["head", "data", "tail", "end"]
    # Both sides have ended the stream, and the connection goes on.
    assert sorted(event[0] for event in theirs) == ["end", "tail"]
    client.write_head(3, 0, "GET", "/", FIELDS, True)
    assert [event[0] for event in talk(client, server)[1]] == ["head", "tail"]


@pytest.mark.parametrize("http2", [False, True])
def test_connect(http2: bool) -> None:
    client, server = pair(http2)
    client.write_head(1, 0, "CONNECT", "a:443", [], False)
    _, theirs = talk(client, server)
    assert theirs[0][3] == "CONNECT"
    assert (":authority", "a:443") in theirs[0][5]
    assert theirs[1] == ("upgrade", 1)
    server.write_head(1, 200, "", "", [], False)
    mine, _ = talk(client, server)
    assert [event[0] for event in mine] == ["head", "upgrade"]
    client.write_data(1, b"raw", False)
    assert talk(client, server)[1] == [("data", 1, b"raw")]


def test_octets_that_waited_for_the_grant() -> None:
    server = Told(server=True)
    server.connection_made(offer_upgrade=True)
    server.data_received(
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw"
    )
    server.take()
    assert server.pending == 3
    grant(server)
    server.take()
    server.data_received(b"")
    assert server.take() == [("data", 1, b"raw")]
    assert server.pending == 0


def test_http2_by_upgrade() -> None:
    client, server = pair(False, h2c=True)
    client.write_head(1, 0, "GET", "/a", FIELDS, True)
    mine, theirs = talk(client, server)
    assert [event[0] for event in theirs] == ["head", "tail"]
    assert client.is_http2
    assert server.is_http2
    assert (client.settings_unacked, server.settings_unacked) == (0, 0)
    server.write_head(1, 200, "", "", [], False)
    server.write_data(1, b"hello", True)
    client.write_head(3, 0, "GET", "/b", FIELDS, True)
    mine, theirs = talk(client, server)
    assert [event[0] for event in mine] == ["head", "data", "tail", "end"]
    assert [event[0] for event in theirs if event[1] == 3] == ["head", "tail"]


def test_settings_of_a_running_connection() -> None:
    client, server = pair(True)
    server.configure(initial_window_size=3)
    assert server.settings_unacked == 1
    with pytest.raises(raw.WouldBlock):
        server.configure(initial_window_size=4)
    talk(client, server)
    assert server.settings_unacked == 0
    client.write_head(1, 0, "POST", "/", FIELDS, False)
    assert client.write_data(1, b"hello", True) == 3
    assert [event[0] for event in talk(client, server)[1]] == ["head", "data"]
    server.write_reset(0, raw.CNO_RST_SETTINGS_TIMEOUT)
    log = server.take()
    assert log[0][1].endswith(raw.CNO_RST_SETTINGS_TIMEOUT.to_bytes(4, "big"))
    assert log[1:] == [("end", 1, raw.CNO_RST_SETTINGS_TIMEOUT, raw.CNO_LOCAL), ("close",)]
    with pytest.raises(raw.UsageError):
        Told(server=True).configure(max_frame_size=1)


# ---- what a gateway sees ------------------------------------------------------------------------


def heads(engine: Engine, octets: bytes) -> list[tuple[int, int]]:
    """Returns stream and flags, without CNO_BATCH_START, of each head."""
    events = engine.feed(octets)
    start = CONSTANTS["CNO_BATCH_START"]
    return [(e[1], e[2] & ~start) for e in events if e[0] == CONSTANTS["CNO_EVENT_HEAD"]]


ASKED = CONSTANTS["CNO_BATCH_WEBSOCKET"] | CONSTANTS["CNO_MESSAGE_UPGRADE"]
REFUSED = CONSTANTS["CNO_BATCH_WEBSOCKET"] | CONSTANTS["CNO_MESSAGE_FINAL"]


def upgrade(protocol: str, method: str = "GET") -> bytes:
    lines = f"{method} / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    return lines.encode()


def test_a_gateway_is_told_of_websockets_on_http1() -> None:
    engine = Engine(server=True, gateway=True)
    engine.begin(http2=False, offer_upgrade=True)
    # An upgrade to another protocol is a plain request without a body.
    assert heads(engine, upgrade("h2c")) == [(1, CONSTANTS["CNO_MESSAGE_FINAL"])]
    engine.answer(1, 204, dumps([], 2), b"", 0)
    # A request for a WebSocket that cannot be upgraded has the one flag and not the other.
    assert heads(engine, upgrade("websocket", "PUT")) == [(3, REFUSED)]
    engine.answer(3, 400, dumps([], 2), b"", 0)
    assert not engine.events()
    assert heads(engine, upgrade("x, WebSocket") + b"raw") == [(5, ASKED)]
    engine.output()
    engine.answer(5, 101, dumps([(b"upgrade", b"websocket")], 2), b"", -1)
    assert engine.output() == (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    )
    assert engine.pending == 3
    assert engine.feed(b"") == [(CONSTANTS["CNO_EVENT_DATA"], 5, -1, b"raw")]
    engine.write(5, b"bye", True)
    assert engine.output() == b"bye"
    assert engine.events() == [(CONSTANTS["CNO_EVENT_CLOSE"], 0)]


def test_a_gateway_is_told_of_websockets_on_http2() -> None:
    engine = Engine(server=True, gateway=True)
    engine.configure(enable_connect_protocol=1)
    engine.begin(http2=True)
    engine.feed(HELLO)
    engine.output()
    connect = "END_HEADERS :method=CONNECT :scheme=http :path=/a?b :authority=h :protocol="
    assert heads(engine, frame(f"HEADERS 1 {connect}websocket")) == [(1, ASKED)]
    engine.answer(1, 200, dumps([], 2), b"", -1)
    frames = FrameReader()
    assert list(frames.lines(engine.output())) == ["HEADERS 1 END_HEADERS :status=200"]
    # Other protocols and plain CONNECT get 501, and the application does not see the request.
    assert heads(engine, frame(f"HEADERS 3 {connect}x")) == []
    assert heads(engine, frame("HEADERS 5 END_HEADERS :method=CONNECT :authority=a:1")) == []
    assert list(frames.lines(engine.output())) == [
        f"HEADERS {stream} END_STREAM|END_HEADERS :status=501 content-length=0" for stream in (3, 5)
    ]


# ---- clients that others wrote ------------------------------------------------------------------


class Peer(raw.Connection):
    """A server that answers with version and path; a tunnel carries such a connection."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(server=True)
        self.sock = sock
        self.inner: Peer | None = None
        self.over = False

    def on_writev(self, chunks: list[bytes]) -> None:
        self.sock.sendall(b"".join(chunks))

    def on_close(self) -> None:
        self.over = True

    def on_message_head(self, stream: int, code: int, method: str, path: str, fields: Any) -> None:
        if method == "CONNECT":
            self.write_head(stream, 200, "", "", [], False)
            self.inner = InTunnel(self, stream)
            self.inner.connection_made()
            return
        body = f"{2 if self.is_http2 else 1} {path}\n".encode()
        self.write_head(stream, 200, "", "", [("content-length", str(len(body)))], False)
        self.write_data(stream, body, True)

    def on_message_data(self, stream: int, data: bytes) -> None:
        if self.inner:
            self.inner.data_received(data)


class InTunnel(Peer):
    """A connection whose output goes into a stream of another connection."""

    def __init__(self, outer: Peer, stream: int) -> None:
        super().__init__(outer.sock)
        self.outer = outer
        self.stream = stream

    def on_writev(self, chunks: list[bytes]) -> None:
        self.outer.write_data(self.stream, b"".join(chunks), False)


def serve(sock: socket.socket, options: dict[str, bool]) -> None:
    peer = Peer(sock)
    peer.connection_made(**options)
    with sock:
        while not peer.over:
            data = sock.recv(65536)
            if not data:
                break
            peer.data_received(data)
            while peer.pending:
                peer.data_received(b"")
        peer.connection_lost()


@contextmanager
def listening(**options: bool) -> Iterator[int]:
    """Starts a server for one connection; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def accept() -> None:
            sock, _ = listener.accept()
            sock.settimeout(PATIENCE)
            serve(sock, options)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE)
        assert not thread.is_alive()


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [tool(name), *arguments], capture_output=True, timeout=PATIENCE, check=True
    )
    return done.stdout.decode()


def test_curl_upgrades_to_http2() -> None:
    with listening(h2c=True) as port:
        urls = [f"http://127.0.0.1:{port}/{path}" for path in "ab"]
        assert run("curl", "-sS", "--http2", *urls) == "2 /a\n2 /b\n"


def test_curl_is_not_upgraded_where_that_is_off() -> None:
    with listening() as port:
        urls = [f"http://127.0.0.1:{port}/{path}" for path in "ab"]
        assert run("curl", "-sS", "--http2", *urls) == "1 /a\n1 /b\n"


def test_nghttp_upgrades_to_http2() -> None:
    with listening(h2c=True) as port:
        assert run("nghttp", "-u", f"http://127.0.0.1:{port}/a") == "2 /a\n"


def test_curl_goes_through_a_tunnel() -> None:
    with listening() as port:
        out = run("curl", "-sS", "-p", "-x", f"http://127.0.0.1:{port}", "http://h:1/a")
        assert out == "1 /a\n"
