"""examples/server.c and client.c under sanitizers: against curl, nghttp, h2load and each other."""

import os
import re
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import PATIENCE, read_all

from tools import tool

ROOT = Path(__file__).resolve().parent.parent.parent

DIGITS = b"0123456789"

CURL_VERSIONS = ["--http1.1", "--http2-prior-knowledge"]

CLIENT_VERSIONS = [1, 2]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def programs() -> Path:
    """The directory with both programs, built with ASan and UBSan: a leak is an exit code."""
    made = [f"obj/san/example_{name}" for name in ("server", "client")]
    command = ["env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", tool("make"), "-s", *made]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return ROOT / "obj" / "san"


class Server:
    """A process of examples/server.c on a free port."""

    def __init__(self, programs: Path) -> None:
        self.process = subprocess.Popen(
            [programs / "example_server", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().decode().split()[-1]
        self.host, self.port = self.url.removeprefix("http://").split(":")

    def connect(self) -> socket.socket:
        """Opens a socket to the server."""
        return socket.create_connection((self.host, int(self.port)), timeout=PATIENCE)

    def stop(self) -> None:
        """Ends the server, which has to exit with 0."""
        self.process.send_signal(signal.SIGTERM)
        log = self.process.communicate(timeout=PATIENCE)[1].decode()
        assert self.process.returncode == 0, log


@pytest.fixture
def server(programs: Path) -> Iterator[Server]:
    """A server that has to exit with 0 after the test."""
    it = Server(programs)
    try:
        yield it
        if it.process.returncode is None:
            it.stop()
    finally:
        it.process.kill()
        it.process.communicate(timeout=PATIENCE)


def run(*command: object, code: int = 0, given: bytes = b"") -> bytes:
    """Runs a program that has to end with this exit code; returns its output."""
    done = subprocess.run(
        [str(part) for part in command], input=given, capture_output=True, timeout=60
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr
    return done.stdout


def digits(size: int) -> bytes:
    """Returns a body that the server generates."""
    return (DIGITS * (size // 10 + 1))[:size]


# ---- the server and other clients ---------------------------------------------------------------


@pytest.mark.parametrize("version", CURL_VERSIONS)
def test_curl_gets_short_and_long_answers(server: Server, version: str) -> None:
    curl = (tool("curl"), "-sS", version)
    assert run(*curl, f"{server.url}/") == b"Hello from libcno\n"
    assert run(*curl, "-o", "/dev/null", "-w", "%{http_code}", f"{server.url}/no") == b"404"
    assert run(*curl, f"{server.url}/bytes/3000001") == digits(3000001)
    assert run(*curl, f"{server.url}/bytes/0") == b""
    assert b"content-length: 70" in run(*curl, "-I", f"{server.url}/bytes/70")


@pytest.mark.parametrize("version", CURL_VERSIONS)
def test_curl_sends(server: Server, version: str, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(os.urandom(2_000_003))
    curl = (tool("curl"), "-sS", version)
    assert run(*curl, "-T", body, "-X", "POST", f"{server.url}/count") == b"2000003\n"
    assert run(*curl, "-d", "", f"{server.url}/count") == b"0\n"
    expect = ("-H", "Expect: 100-continue", "--expect100-timeout", str(int(PATIENCE)))
    assert run(*curl, *expect, "--data-binary", "hello", f"{server.url}/count") == b"5\n"
    assert run(*curl, "--data-binary", f"@{body}", f"{server.url}/") == b"Hello from libcno\n"


def test_nghttp_gets_several_things_at_once(server: Server) -> None:
    urls = [f"{server.url}/bytes/{size}" for size in (100_000, 200_000)]
    got = run(tool("nghttp"), "-w", "10", *urls, f"{server.url}/")
    assert len(got) == 300_000 + len(b"Hello from libcno\n")
    assert b"Hello from libcno\n" in got


@pytest.mark.parametrize(
    ("how", "path"),
    [
        (("-n400", "-c4", "-m10"), "/"),
        (("-n200", "-c2", "-m20", "-w4"), "/"),  # windows of 15 bytes
        (("-n200", "-c2", "-m32", "-w10"), "/bytes/20000"),
        (("-n400", "-c4", "-m4", "--h1"), "/"),
        (("-n100", "-c2", "-m4", "--h1"), "/bytes/20000"),
        (("-n100", "-c2", "-m32", "-d", __file__), "/count"),
        (("-n100", "-c2", "-m4", "--h1", "-d", __file__), "/count"),
    ],
)
def test_h2load_is_served(server: Server, how: tuple[str, ...], path: str) -> None:
    seen = run(tool("h2load"), *how, f"{server.url}{path}").decode()
    asked = how[0].removeprefix("-n")
    assert re.search(rf"status codes: {asked} 2xx, 0 3xx, 0 4xx, 0 5xx", seen), seen


# ---- the server and a socket --------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    paths = ["/bytes/100000", "/", "/bytes/30", "/no", "/bytes/200000"]
    close = {"/bytes/200000": "connection: close\r\n"}
    asked = "".join(f"GET {p} HTTP/1.1\r\nhost: a\r\n{close.get(p, '')}\r\n" for p in paths)
    with server.connect() as peer:
        peer.sendall(asked.encode())
        got = read_all(peer)
    bodies = [digits(100000), b"Hello from libcno\n", digits(30), b"no such thing\n"]
    for body in [*bodies, digits(200000)]:
        head, _, rest = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 ")
        assert rest.startswith(body)
        got = rest.removeprefix(body)
    assert got == b""


def test_a_bad_request_gets_its_answer_before_the_end(server: Server) -> None:
    with server.connect() as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n" + b"x" * 200000)
        got = b""
        while piece := peer.recv(65536):  # a reset of the connection would raise here
            got += piece
    assert got.startswith(b"HTTP/1.1 400 ")


def test_who_does_not_read_holds_up_nobody(server: Server) -> None:
    with server.connect() as idle:
        idle.sendall(b"GET /bytes/1000000000 HTTP/1.1\r\nhost: a\r\n\r\n")
        assert idle.recv(100, socket.MSG_WAITALL)
        for version in CURL_VERSIONS:
            got = run(tool("curl"), "-sS", version, f"{server.url}/bytes/1000")
            assert got == digits(1000)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Returns a frame (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def test_all_answers_have_their_turn(server: Server) -> None:
    # With windows that never close, the long responses would leave no room in the output.
    paths = [b"/bytes/4000000000"] * 8 + [b"/bytes/30"]
    asked = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"\0\4\x7f\xff\xff\xff")
    asked += frame(8, 0, 0, b"\x7f\xff\0\0")
    for i, path in enumerate(paths):  # :method GET, :scheme http, :path, :authority
        block = b"\x82\x86\x04" + bytes([len(path)]) + path + b"\x01\x01a"
        asked += frame(1, 5, 2 * i + 1, block)
    with server.connect() as peer, peer.makefile("rb") as read:
        peer.sendall(asked)
        for _ in range(1000):
            size, kind = divmod(int.from_bytes(read.read(4), "big"), 256)
            flags, stream = struct.unpack(">BI", read.read(5))
            body = read.read(size)
            if (kind, stream) == (0, 17):
                assert (body, flags & 1) == (digits(30), 1)
                return
    raise AssertionError("the last one never had its turn")


def test_a_signal_lets_answers_end(server: Server) -> None:
    with server.connect() as peer:
        peer.sendall(b"GET /bytes/8000000 HTTP/1.1\r\nhost: a\r\n\r\n")
        first = peer.recv(100, socket.MSG_WAITALL)
        server.process.send_signal(signal.SIGTERM)
        got = first + read_all(peer)
    assert got.partition(b"\r\n\r\n")[2] == digits(8000000)
    server.stop()


# ---- the client ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", CLIENT_VERSIONS)
def test_the_client_gets(programs: Path, server: Server, version: int) -> None:
    client = (programs / "example_client", version, server.host, server.port)
    got = run(*client, "/")
    assert got == b"HTTP/%d 200\ncontent-length: 18\n\nHello from libcno\n" % version
    assert run(*client, "/none", code=1).endswith(b"\n\nno such thing\n")
    assert run(*client, "/bytes/3000000").endswith(b"\n\n" + digits(3000000))


@pytest.mark.parametrize("version", CLIENT_VERSIONS)
def test_the_client_posts(programs: Path, server: Server, version: int, tmp_path: Path) -> None:
    client = (programs / "example_client", version, server.host, server.port, "/count")
    body = os.urandom(2_000_003)
    (tmp_path / "body").write_bytes(body)
    assert run(*client, tmp_path / "body").endswith(b"\n\n2000003\n")
    assert run(*client, "/dev/stdin", given=body).endswith(b"\n\n2000003\n")
    assert run(*client, os.devnull).endswith(b"\n\n0\n")


def answering(what: bytes) -> tuple[int, Callable[[], None]]:
    """Starts a server that answers one connection with `what`. Returns its port and a function that
    waits for its end."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE)

    def serve() -> None:
        with listener, listener.accept()[0] as peer:
            peer.recv(65536)
            peer.sendall(what)
            peer.shutdown(socket.SHUT_WR)
            read_all(peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener.getsockname()[1], lambda: thread.join(PATIENCE)


OK = b"HTTP/1.1 200 OK\r\n"

CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "code", "printed"),
    [
        (OK + b"\r\nuntil the end", 0, b"HTTP/1 200\n\nuntil the end"),
        (b"HTTP/1.1 103 \r\n\r\n" + OK + b"\r\n", 0, b"HTTP/1 103\n\nHTTP/1 200\n\n"),
        (OK + CHUNKED + b"2\r\nhi\r\n0\r\nx-sum: 5\r\n\r\n", 0, b"HTTP/1 200\n\nhi\nx-sum: 5\n"),
        (OK + b"content-length: 9\r\n\r\nhalf", 3, b"HTTP/1 200\ncontent-length: 9\n\nhalf"),
        (b"nonsense\r\n\r\n", 3, b""),
        (b"", 3, b""),
    ],
)
def test_the_client_tells_what_was_cut(
    programs: Path, said: bytes, code: int, printed: bytes
) -> None:
    port, join = answering(said)
    client = (programs / "example_client", 1, "127.0.0.1", port)
    assert run(*client, "/", code=code) == printed
    join()


# SETTINGS, then HEADERS with 204 and END_STREAM (RFC 7541: static index 9).
H2_NO_CONTENT = bytes.fromhex("000000 04 00 00000000 000001 01 05 00000001 89")


@pytest.mark.parametrize(
    ("version", "said"), [(1, b"HTTP/1.1 204 No Content\r\n\r\n"), (2, H2_NO_CONTENT)]
)
def test_the_client_does_not_wait_for_a_body_that_nobody_wants(
    programs: Path, version: int, said: bytes
) -> None:
    port, join = answering(said)
    client = (programs / "example_client", version, "127.0.0.1", port, "/", "/dev/zero")
    assert run(*client) == b"HTTP/%d 204\n\n" % version
    join()


def test_the_client_tells_what_it_cannot_do(programs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        client = (programs / "example_client", 1, "127.0.0.1", port, "/")
        assert run(*client, "/no/such/file", code=3) == b""
    assert run(*client, code=3) == b""
    assert run(*client[:4], code=2) == b""


def test_make_examples_prints_what_to_try(programs: Path) -> None:
    said = run("env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", tool("make"), "-C", ROOT, "examples")
    for name in ("server", "client"):
        assert f"obj/examples/{name} ".encode() in said
        assert os.access(ROOT / "obj" / "examples" / name, os.X_OK)
