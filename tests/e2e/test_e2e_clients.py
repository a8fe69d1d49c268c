"""The command cno-asgi with other clients: curl, nghttp, h2load, and raw sockets."""

import json
import re
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers import PATIENCE, TESTS, Server, read_all, running

from tools import Certificate, tool

APPS = TESTS / "sites"
PLAIN = ("plain:app", "--app-dir", str(APPS), "--port", "0")
H1, H2 = "--http1.1", "--http2-prior-knowledge"


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The URL of a server for all tests of this file. The server has to end without complaints."""
    with running(*PLAIN, "--no-access-log") as server:
        yield server.ready()
        assert server.stop() == 0
    assert "Traceback" not in server.output


def program(name: str, *arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess:
    """Runs a client program to its end."""
    return subprocess.run(
        [tool(name), *arguments], input=data, capture_output=True, timeout=3 * PATIENCE
    )


def curl(*arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess:
    """Runs curl to its end; it must succeed."""
    done = program("curl", "-sS", *arguments, data=data)
    assert done.returncode == 0, done.stderr
    return done


def connect(url: str, timeout: float = PATIENCE) -> socket.socket:
    """Opens a TCP connection to the host of the URL."""
    where = urlsplit(url)
    return socket.create_connection((where.hostname, where.port), timeout)


# ---- curl ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flag", "version"), [(H1, "1.1"), (H2, "2"), ("--http1.0", "1.0")])
def test_curl(site: str, flag: str, version: str) -> None:
    done = curl(flag, "-w", "%{http_version} %{http_code}", f"{site}/")
    answered = "1.1" if version == "1.0" else version
    assert done.stdout.decode() == f"HTTP/{version} GET\n{answered} 200"


@pytest.mark.parametrize("flag", [H1, H2])
def test_curl_head(site: str, flag: str) -> None:
    done = curl(flag, "-I", f"{site}/bytes/1000000")
    assert b"content-length: 1000000" in done.stdout.lower()
    assert done.stdout.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("flag", [H1, H2])
@pytest.mark.parametrize("size", [0, 1, 65536, 3_000_000])
def test_curl_echo(site: str, flag: str, size: int, tmp_path: Path) -> None:
    sent = (bytes(range(256)) * (size // 256 + 1))[:size]
    (tmp_path / "body").write_bytes(sent)
    assert curl(flag, "--data-binary", f"@{tmp_path}/body", f"{site}/echo").stdout == sent


def test_curl_chunked_upload(site: str) -> None:
    data = bytes(2_000_000)
    done = curl(H1, "-T", "-", "-H", "transfer-encoding: chunked", f"{site}/count", data=data)
    assert done.stdout == b"2000000"


def test_curl_expect_100_continue(site: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(bytes(2_000_000))
    command = (H1, "-v", "--expect100-timeout", "15", "-H", "expect: 100-continue")
    done = curl(*command, "-T", f"{tmp_path}/body", f"{site}/count")
    assert b"< HTTP/1.1 100 Continue" in done.stderr
    assert done.stdout == b"2000000"


def test_curl_expect_100_continue_and_a_refusal(site: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(bytes(2_000_000))
    command = (H1, "-v", "--expect100-timeout", "15", "-H", "expect: 100-continue")
    done = curl(*command, "-T", f"{tmp_path}/body", "-w", "%{size_upload}", f"{site}/refuse")
    assert b"< HTTP/1.1 100" not in done.stderr
    assert b"< HTTP/1.1 413" in done.stderr
    assert done.stdout == b"too large0"


def test_a_refusal_of_a_large_upload(site: str, tmp_path: Path) -> None:
    """The response arrives although the application does not read the body."""
    (tmp_path / "body").write_bytes(bytes(20_000_000))
    done = program("curl", "-sS", H1, "-H", "expect:", "-T", f"{tmp_path}/body", f"{site}/refuse")
    assert done.stdout == b"too large"
    done = program("nghttp", "-H", ":method: POST", "-d", f"{tmp_path}/body", f"{site}/refuse")
    assert done.stdout == b"too large"
    assert done.returncode == 0


@pytest.mark.parametrize("flag", [H1, H2])
def test_curl_a_download_of_100_mb(site: str, flag: str) -> None:
    done = curl(flag, "-o", "/dev/null", "-w", "%{size_download}", f"{site}/bytes/100000000")
    assert done.stdout == b"100000000"


@pytest.fixture
def secure(certificate: Certificate) -> Iterator[str]:
    """The URL of a server with TLS."""
    files = ("--ssl-certfile", str(certificate.cert), "--ssl-keyfile", str(certificate.key))
    with running(*PLAIN, *files) as server:
        yield server.ready()
        assert server.stop() == 0
    assert "Traceback" not in server.output


@pytest.mark.parametrize(("flag", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
def test_curl_tls(secure: str, certificate: Certificate, flag: str, version: str) -> None:
    command = (flag, "--cacert", str(certificate.cert), "-w", "%{http_version}")
    assert curl(*command, f"{secure}/").stdout.decode() == f"HTTP/{version} GET\n{version}"
    done = curl(*command, "-o", "/dev/null", "-w", "%{size_download}", f"{secure}/bytes/5000000")
    assert done.stdout.decode() == f"{version}5000000" or done.stdout == b"5000000"


# curl 7.88 cannot use a connection twice after --http2-prior-knowledge.
@pytest.mark.parametrize("flag", ["--http2", "--http1.1"])
def test_curl_reuses_its_connection(secure: str, certificate: Certificate, flag: str) -> None:
    urls = [f"{secure}/", f"{secure}/once/10000", f"{secure}/bytes/100000"] * 3
    done = curl(flag, "--cacert", str(certificate.cert), "-w", " =%{num_connects}=", *urls)
    assert [int(count) for count in re.findall(rb" =(\d)=", done.stdout)] == [1, *[0] * 8]


def test_curl_in_parallel(secure: str, certificate: Certificate) -> None:
    """One connection has twenty large responses at a time."""
    done = curl(
        "-Z", "--parallel-max", "20", "--cacert", str(certificate.cert),
        "-w", "%{size_download} %{http_version} %{num_connects}\n",
        *[word for _ in range(20) for word in ("-o", "/dev/null", f"{secure}/bytes/1000000")],
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [[b"1000000", b"2"]] * 20
    assert sum(int(line[2]) for line in lines) <= 2


def test_pipelined(site: str) -> None:
    with connect(site) as client:
        client.sendall(
            b"".join(b"GET /once/%d HTTP/1.1\r\nhost: x\r\n\r\n" % size for size in range(50))
            + b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        got = read_all(client)
    heads = re.findall(rb"HTTP/1.1 200 OK\r\n(?:.*\r\n)*?content-length: (\d+)", got)
    assert list(map(int, heads)) == [*range(50), 13]
    assert got.endswith(b"HTTP/1.1 GET\n")


# ---- nghttp, h2load -----------------------------------------------------------------------------


def test_nghttp(site: str) -> None:
    done = program("nghttp", "-v", f"{site}/once/10")
    assert done.returncode == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode("latin-1"))
    assert "recv SETTINGS frame" in text
    assert "SETTINGS_MAX_CONCURRENT_STREAMS(0x03):100" in text
    assert text.count("recv SETTINGS frame") == 2
    assert ":status: 200" in text
    assert "recv GOAWAY" not in text
    assert "error_code=NO_ERROR" in text.split("send GOAWAY")[-1]


def test_nghttp_uploads_and_trailers(site: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(bytes(300_000))
    done = program(
        "nghttp", "-H", ":method: POST", "-d", f"{tmp_path}/body",
        "--trailer", "x-sum: 1", f"{site}/count",
    )  # fmt: skip
    assert done.stdout == b"300000"


def test_nghttp_sees_two_goaways() -> None:
    """The signal comes during a download."""
    with running(*PLAIN) as server:
        url = f"{server.ready()}/bytes/50000000"
        nghttp = subprocess.Popen(
            [tool("nghttp"), "-v", url], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        try:
            server.expect("app: begun")
            server.send()
            out, _ = nghttp.communicate(timeout=PATIENCE)
        finally:
            nghttp.kill()
            nghttp.wait(PATIENCE)
        assert nghttp.returncode == 0
        assert server.wait() == 0
    assert "app: done" in server.output
    text = r"recv GOAWAY frame.*\n\s*\(last_stream_id=(\d+), error_code=(\w+)"
    seen = re.findall(text, re.sub(r"\x1b\[[0-9;]*m", "", out.decode("latin-1")))
    assert seen[0] == ("2147483647", "NO_ERROR")
    assert len(seen) == 2
    assert seen[1] in [("1", "NO_ERROR"), ("13", "NO_ERROR")]  # nghttp counts from there


def h2load(*arguments: str) -> dict[str, int]:
    """Runs h2load. Returns the number of requests by their outcome."""
    done = program("h2load", *arguments)
    assert done.returncode == 0, done.stdout
    found = re.search(rb"^requests: (.*)$", done.stdout, re.MULTILINE)
    assert found
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", found[1].decode())}


def test_h2load_many_connections(site: str) -> None:
    got = h2load("-c8", "-m32", "-n20000", f"{site}/")
    assert got["succeeded"] == 20000
    assert got["failed"] == got["errored"] == got["timeout"] == 0


def test_h2load_small_windows(site: str) -> None:
    """Late frames on streams that have ended are not errors."""
    got = h2load("-c1", "-m20", "-w15", "-n2000", f"{site}/once/20480")
    assert got["succeeded"] == 2000


def test_h2load_one_long_connection(site: str) -> None:
    got = h2load("-c1", "-m100", "-n10000", f"{site}/")
    assert got["succeeded"] == 10000


def test_h2load_http_1(site: str) -> None:
    got = h2load("--h1", "-c8", "-m4", "-n10000", f"{site}/")
    assert got["succeeded"] == 10000


def test_h2load_uploads(site: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(bytes(100_000))
    got = h2load("-c2", "-m10", "-n500", "-d", f"{tmp_path}/body", f"{site}/count")
    assert got["succeeded"] == 500


@pytest.mark.parametrize("flag", [H1, H2])
def test_a_download_at_full_speed_does_not_starve_others(site: str, flag: str) -> None:
    command = [tool("curl"), "-sS", flag, "-o", "/dev/null", f"{site}/bytes/2000000000"]
    download = subprocess.Popen(command)
    try:
        answered = 0
        while answered < 20 and download.poll() is None:
            with connect(site) as client:
                client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                assert read_all(client).endswith(b"HTTP/1.1 GET\n")
                answered += 1
        assert answered > 2
    finally:
        download.kill()
        download.wait(PATIENCE)


# ---- malformed requests -------------------------------------------------------------------------

HOST = b"Host: x\r\n"
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n"

MALFORMED = {
    "length and coding": (400, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "coding and length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    "two equal lengths": (400, POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    "two lengths": (400, POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello"),
    "list of lengths": (400, POST + b"Content-Length: 5, 5\r\n\r\nhello"),
    "signed length": (400, POST + b"Content-Length: +5\r\n\r\nhello"),
    "empty length": (400, POST + b"Content-Length: \r\n\r\n"),
    "huge length": (400, POST + b"Content-Length: 99999999999999999999\r\n\r\n"),
    "gzip, chunked": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "unknown coding": (501, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "chunked not last": (400, POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    "coding in 1.0": (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "obs-fold": (400, GET + HOST + b"X: a\r\n b\r\n\r\n"),
    "bare LF": (400, b"GET / HTTP/1.1\nHost: x\n\n"),
    "bare LF in a field": (400, GET + HOST + b"X: a\nY: b\r\n\r\n"),
    "bare CR": (400, GET + HOST + b"X: a\rb\r\n\r\n"),
    "NUL": (400, GET + HOST + b"X: a\0b\r\n\r\n"),
    "space before the colon": (400, GET + HOST + b"X : a\r\n\r\n"),
    "no colon": (400, GET + HOST + b"X\r\n\r\n"),
    "no name": (400, GET + HOST + b": a\r\n\r\n"),
    "two hosts": (400, GET + HOST + HOST + b"\r\n"),
    "no host": (400, GET + b"\r\n"),
    "bad host": (400, GET + b"Host: a b\r\n\r\n"),
    "no version": (400, b"GET /\r\n\r\n"),
    "lower case": (400, b"GET / http/1.1\r\nHost: x\r\n\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
    "HTTP/3.0": (505, b"GET / HTTP/3.0\r\nHost: x\r\n\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "space in the target": (400, b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"),
    "octet in the target": (400, b"GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "bad method": (400, b"G@T / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "bad chunk size": (400, CHUNKS + b"0x5\r\nhello\r\n0\r\n\r\n"),
    "signed chunk size": (400, CHUNKS + b"+5\r\nhello\r\n0\r\n\r\n"),
    "bad chunk end": (400, CHUNKS + b"5\r\nhelloX\r\n0\r\n\r\n"),
    "large field": (431, GET + HOST + b"X: " + b"y" * 65536 + b"\r\n\r\n"),
    "huge field": (431, GET + HOST + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n"),
    "500 fields": (431, GET + HOST + b"".join(b"x-%d: y\r\n" % n for n in range(500)) + b"\r\n"),
    "64 KiB target": (414, b"GET /" + b"x" * 65536 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "TLS": (400, bytes.fromhex("16030100a5010000a10303") + b"\r\n\r\n"),
}  # fmt: skip


@pytest.fixture(scope="module")
def strict() -> Iterator[tuple[Server, str]]:
    """The URL of a server for malformed requests."""
    with running(*PLAIN, "--no-access-log") as server:
        yield server, server.ready()
        assert server.stop() == 0
    assert "Traceback" not in server.output


def exchange(url: str, data: bytes) -> tuple[bytes, str]:
    """Sends bytes; returns all bytes that come back, and the address of the socket."""
    with connect(url) as client:
        name = "{}:{}".format(*client.getsockname())
        with suppress(ConnectionError):  # the server may have closed the connection
            client.sendall(data)
        return read_all(client), name


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(strict: tuple[Server, str], case: str) -> None:
    server, url = strict
    status, data = MALFORMED[case]
    before = len(server.lines)
    got, name = exchange(url, data)
    assert got.startswith(b"HTTP/1.1 %d " % status), got[:100]
    assert got.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in got.lower()
    # The marker is a request that cannot be mistaken for the one before.
    _, marker = exchange(url, b"end of the case\r\n\r\n")
    server.expect(f"{marker} -")
    lines = [line for line in server.lines[before:] if name in line]
    assert len(lines) == 1, lines
    assert len(server.lines) - before == 2, server.lines[before:]
    found = re.search(r"refused: ([a-z0-9.-]+) at byte (\d+)", lines[0])
    assert found
    assert int(found[2]) <= len(data)
    with connect(url) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_all(client).endswith(b"HTTP/1.1 GET\n")


@pytest.mark.parametrize("case", ["huge field", "64 KiB target", "500 fields", "obs-fold"])
def test_malformed_in_pieces(strict: tuple[Server, str], case: str) -> None:
    """The response is the same however TCP cuts the bytes."""
    _, url = strict
    status, data = MALFORMED[case]
    with connect(url) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for at in range(0, len(data), 1361):
                client.sendall(data[at : at + 1361])
        except ConnectionError:
            pass
        assert read_all(client).startswith(b"HTTP/1.1 %d " % status)


def test_offsets_count_from_the_start_of_the_connection(strict: tuple[Server, str]) -> None:
    server, url = strict
    good = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    _, name = exchange(url, good * 3 + b"GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n")
    found = re.search(r"at byte (\d+)", server.expect(f"{name} -"))
    assert found
    assert 3 * len(good) <= int(found[1]) <= 4 * len(good) + 1


@pytest.mark.parametrize("version", [b"1.2", b"1.9"])
def test_minor_versions_are_served_as_1_1(strict: tuple[Server, str], version: bytes) -> None:
    _, url = strict
    got, _ = exchange(url, b"GET / HTTP/%b\r\nHost: x\r\nConnection: close\r\n\r\n" % version)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert got.endswith(b"HTTP/1.1 GET\n")


# ---- signals ------------------------------------------------------------------------------------


@contextmanager
def slowly_downloading(url: str, flag: str, size: int) -> Iterator[dict[str, str]]:
    """Runs curl at a limited speed; returns its output."""
    said: dict[str, str] = {}
    limit = ("--limit-rate", "100M")
    command = [tool("curl"), "-sS", flag, *limit, "-o", "/dev/null"]
    command += ["-w", '{"size": %{size_download}, "code": %{http_code}}', f"{url}/bytes/{size}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield said
        out, error = process.communicate(timeout=PATIENCE)
        said.update(json.loads(out), exit=process.returncode, error=error.decode())
    finally:
        process.kill()
        process.wait(PATIENCE)


@pytest.mark.parametrize("flag", [H1, H2])
def test_sigterm_during_a_download(flag: str) -> None:
    size = 100_000_000
    with running(*PLAIN) as server:
        url = server.ready()
        with slowly_downloading(url, flag, size) as said:
            server.expect("app: begun")
            server.send(signal.SIGTERM)
            server.expect("Waiting for connections to close")
            with pytest.raises(ConnectionRefusedError):
                connect(url)
        assert said == {"size": size, "code": 200, "exit": 0, "error": ""}
        assert server.wait() == 0
    assert "app: done" in server.output
    assert "Traceback" not in server.output


@pytest.mark.parametrize("flag", [H1, H2])
def test_sigterm_during_an_upload(flag: str) -> None:
    with running(*PLAIN) as server:
        command = [tool("curl"), "-sSN", flag, "-H", "expect:", "-T", ".", f"{server.ready()}/echo"]
        client = subprocess.Popen(command, stdin=-1, stdout=-1, bufsize=0)
        try:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(b"x" * 100_000)
            client.stdin.flush()
            assert select.select([client.stdout], [], [], PATIENCE)[0]
            assert client.stdout.read(1) == b"x"
            server.send(signal.SIGTERM)
            server.expect("Waiting for connections to close")
            out, _ = client.communicate(b"y" * 1_000_000, timeout=PATIENCE)
        finally:
            client.kill()
            client.wait(PATIENCE)
        assert out == b"x" * 99_999 + b"y" * 1_000_000
        assert client.returncode == 0
        assert server.wait() == 0


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


@pytest.mark.parametrize(
    ("kind", "closes"),
    [
        ("h1", True),
        ("h2", True),
        ("fresh", True),
        pytest.param("h1", False),
        pytest.param("h2", False),
    ],
)
def test_sigterm_with_an_idle_connection(kind: str, closes: bool) -> None:
    """An idle connection closes, whether its client notices the FIN or, like a pool, does not."""
    with running(*PLAIN) as server, connect(server.ready()) as client:
        if kind == "h1":
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1)
        elif kind == "h2":
            client.sendall(PREFACE)
            assert client.recv(1)
        if closes:  # like a client that reads all the time
            reader = threading.Thread(target=lambda: (read_all(client), client.close()))
            reader.start()
        assert server.stop(signal.SIGTERM) == 0  # before PATIENCE is over
        if closes:
            reader.join(PATIENCE)
    assert "Traceback" not in server.output
