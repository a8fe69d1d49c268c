"""cno.Server with curl, nghttp, h2load, httpx and aiohttp, and bodies larger than memory."""

import asyncio
import hashlib
import io
import re
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from bulk import MIB, PAUSE, SMALL, peak
from native import SERVED, Site
from peer import over
from servers import running

import cno
from tools import Certificate, tool

ROOT = Path(__file__).resolve().parent.parent.parent

LARGE = bytes(range(256)) * 8192  # 2 MiB


async def handle(request: cno.Request) -> None:
    """The handler for all clients of this file."""
    if request.path == "/push":
        request.push("GET", "/style.css", [("x-extra", "1")])
        await request.respond(200, [("content-type", "text/html")], b"page")
    elif request.path == "/large":
        await request.respond(200, [], LARGE)
    elif request.path == "/stream":
        await request.respond(200, [], (LARGE[at : at + 9999] for at in range(0, 99990, 9999)))
    elif request.path == "/digest":
        digest = hashlib.sha256()
        while data := await request.payload.read(65536):
            digest.update(data)
        await request.respond(200, [], digest.hexdigest().encode())
    elif request.path == "/fails":
        raise KeyError("made up")
    else:
        request.inform(103, [("link", "</style.css>")])
        version = request.conn.http_version.encode()
        await request.respond(200, [("x-path", request.path)], b"hello over " + version)


def context(certificate: Certificate) -> ssl.SSLContext:
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(certificate.cert, certificate.key)
    secure.set_alpn_protocols(["h2", "http/1.1"])
    return secure


async def command(*arguments: str, data: bytes | None = None) -> str:
    """Runs a program that has to succeed; returns its output."""
    run = asyncio.get_running_loop().run_in_executor
    done = await run(None, lambda: subprocess.run(arguments, input=data, capture_output=True))
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout.decode("latin-1")


def url(peer: Site, path: str, scheme: str = "http") -> str:
    host, port = peer.server.sockets[0].getsockname()[:2]
    return f"{scheme}://{host}:{port}{path}"


CURL = {"h1": ["--http1.1"], "h2": ["--http2-prior-knowledge"]}

served = over("h1", "h2", loops=SERVED, make=Site)


@served
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_curl(peer: Site, scheme: str, certificate: Certificate) -> None:
    await peer.start(handle, tls=context(certificate) if scheme == "https" else None)
    curl = [tool("curl"), "-sS", "--max-time", "20", "--cacert", str(certificate.cert)]
    curl += ["--http2" if scheme == "https" and peer.version == "h2" else CURL[peer.version][0]]
    version = {"h1": "1.1", "h2": "2"}[peer.version]
    said = await command(*curl, "-i", url(peer, "/hello?q", scheme))
    assert f"HTTP/{version} 103" in said
    assert f"HTTP/{version} 200" in said
    assert "x-path: /hello?q" in said
    assert said.endswith(f"hello over {version}")
    assert await command(*curl, url(peer, "/large", scheme)) == LARGE.decode("latin-1")
    assert await command(*curl, url(peer, "/stream", scheme)) == LARGE[:99990].decode("latin-1")
    assert "content-length: 2097152" in await command(*curl, "-I", url(peer, "/large", scheme))
    digest = hashlib.sha256(LARGE).hexdigest()
    for upload in (["-T", "-"], ["--data-binary", "@-"]):
        path = url(peer, "/digest", scheme)
        assert await command(*curl, *upload, path, data=LARGE) == digest
    # The command curl 7.88 cannot use a connection with prior knowledge twice.
    if (scheme, peer.version) != ("http", "h2"):
        codes = "|%{http_code} %{num_connects},"
        pages = [item for path in ("/", "/push") for item in ("-o", "-", url(peer, path, scheme))]
        said = await command(*curl, "-w", codes, *pages)
        assert re.findall(r"\|(\d+) (\d+),", said) == [("200", "1"), ("200", "0")]
    assert not peer.log, peer.log


@over("h2", loops=SERVED, make=Site)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_nghttp_sees_the_push(peer: Site, scheme: str, certificate: Certificate) -> None:
    await peer.start(handle, tls=context(certificate) if scheme == "https" else None)
    said = await command(tool("nghttp"), "-nv", url(peer, "/push", scheme))
    said = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert "PUSH_PROMISE" in said
    assert re.search(r"recv \(stream_id=\d+\) :path: /style.css", said)
    assert re.search(r"recv \(stream_id=\d+\) x-extra: 1", said)
    assert re.search(r"recv \(stream_id=2\) :status: 200", said)
    assert re.search(r"recv DATA frame <length=\d+, flags=0x01, stream_id=2>", said)
    assert not peer.log, peer.log


@served
async def test_h2load(peer: Site) -> None:
    await peer.start(handle)
    load = [tool("h2load"), "-n3000", "-c4", *(["--h1"] if peer.version == "h1" else ["-m25"])]
    for path in ("/", "/stream"):
        said = await command(*load, url(peer, path))
        assert "3000 succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert not peer.log, peer.log


@served
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_httpx(peer: Site, scheme: str, certificate: Certificate) -> None:
    if scheme == "http" and peer.version == "h2":
        options: dict[str, Any] = {"http1": False, "http2": True}
    else:
        options = {"http2": peer.version == "h2"}
    await peer.start(handle, tls=context(certificate) if scheme == "https" else None)
    trust = ssl.create_default_context(cafile=str(certificate.cert))
    async with httpx.AsyncClient(verify=trust, trust_env=False, **options) as client:
        response = await client.get(url(peer, "/", scheme))
        assert response.http_version == {"h1": "HTTP/1.1", "h2": "HTTP/2"}[peer.version]
        assert response.status_code == 200
        answers = await asyncio.gather(
            *(client.get(url(peer, path, scheme)) for path in ["/large", "/stream"] * 5)
        )
        assert {len(answer.content) for answer in answers} == {len(LARGE), 99990}
        response = await client.post(url(peer, "/digest", scheme), content=LARGE)
        assert response.text == hashlib.sha256(LARGE).hexdigest()
        assert (await client.get(url(peer, "/fails", scheme))).status_code == 500
    assert len(peer.log) == 1


@over("h1", loops=SERVED, make=Site)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_aiohttp(peer: Site, scheme: str, certificate: Certificate) -> None:
    await peer.start(handle, tls=context(certificate) if scheme == "https" else None)
    trust = ssl.create_default_context(cafile=str(certificate.cert))
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector, raise_for_status=True) as session:
        for path, size in [("/", 14), ("/large", len(LARGE)), ("/stream", 99990)] * 3:
            async with session.get(url(peer, path, scheme)) as response:
                assert len(await response.read()) == size
        for expect in (False, True):
            path = url(peer, "/digest", scheme)
            async with session.post(path, data=io.BytesIO(LARGE), expect100=expect) as response:
                assert await response.text() == hashlib.sha256(LARGE).hexdigest()
    assert not peer.log, peer.log


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_the_example_over_tls(version: str, certificate: Certificate) -> None:
    flags = ["--port", "0", "--cert", str(certificate.cert), "--key", str(certificate.key)]
    with running(*flags, program=("examples/server.py",), cwd=ROOT) as server:
        address = server.ready()
        assert address.startswith("https://")

        def curl(*arguments: str, data: bytes = b"") -> bytes:
            trust = ["--cacert", str(certificate.cert)]
            line = [tool("curl"), "-sS", version, *trust, *arguments]
            return subprocess.run(line, input=data, capture_output=True, check=True).stdout

        assert b"Hello" in curl(f"{address}/")
        assert curl("-T", "-", f"{address}/upload-size", data=LARGE) == b"%d\n" % len(LARGE)
        assert curl("-T", "-", f"{address}/echo", data=LARGE) == LARGE
        assert curl(f"{address}/stream").count(b"line") == 10
        if version == "--http2":
            line = [tool("nghttp"), "-nv", f"{address}/"]
            said = subprocess.run(line, capture_output=True, check=True).stdout
            assert b"PUSH_PROMISE" in said
        assert server.stop() == 0


# ---- bodies larger than memory -----------------------------------------------------------------

SIZE = 200 * MIB


def curl(version: str, *more: str, **pipes: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([tool("curl"), "-sS", "-N", *CURL[version], *more], **pipes)


def download(version: str, address: str, size: int) -> None:
    """Reads `size` bytes with pauses, then leaves."""
    with curl(version, address, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        got = 0
        while got < size and (data := client.stdout.read(4 * MIB)):
            got += len(data)
            time.sleep(PAUSE)
        client.stdout.close()
        client.kill()
    assert got >= size


def upload(version: str, address: str, size: int) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with curl(version, "-T", "-", address, **pipes) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        for _ in range(size // MIB):
            client.stdin.write(bytes(MIB))
        client.stdin.close()
        assert client.stdout.read() == b"%d" % size


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("version", ["h1", "h2"])
@pytest.mark.parametrize("transfer", [download, upload])
@pytest.mark.parametrize("loop", [loop for loop in SERVED if isinstance(loop, str)] + ["uvloop"])
def test_200_mib_with_a_slow_other_side(version: str, transfer: Any, loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with running("serve", loop, program=("bulk.py",)) as server:
        address = f"{server.ready()}/{SIZE}/{'slow' if transfer is upload else 'fast'}"
        transfer(version, address, SMALL)
        before = peak(server.process.pid)
        transfer(version, address, SIZE)
        assert peak(server.process.pid) - before < 20 * MIB
