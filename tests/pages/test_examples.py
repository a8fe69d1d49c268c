"""examples/: each is served by the command in the first line of its own docstring, and client.py
talks to server.py."""

import ast
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import PATIENCE, running

from tools import Certificate, tool

ROOT = Path(__file__).resolve().parent.parent.parent

CLIENT = ROOT / "examples" / "client.py"

EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.py")) if path != CLIENT]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_printed_command_serves_it(example: Path) -> None:
    for package in ("starlette", "django", "fastapi"):
        if example.stem.startswith(package):
            pytest.importorskip(package)
    first = (ast.get_docstring(ast.parse(example.read_text())) or "").splitlines()[0]
    command, *arguments = shlex.split(first)
    if command == "python":
        program = (arguments.pop(0),)
    else:
        assert command == "cno-asgi"
        program = ("-m", "cno")
    with running(*arguments, "--port", "0", cwd=ROOT, program=program) as server:
        with urllib.request.urlopen(server.ready(), timeout=PATIENCE) as response:
            assert response.status == 200
            assert b"Hello" in response.read()
        assert server.stop() == 0


# ---- client.py and server.py --------------------------------------------------------------------

PAGE = "<h1>Hello from cno!</h1>"

PUSHED = "--- pushed: GET /style.css: 200"


@pytest.fixture(params=["plain", "TLS"])
def url(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[str]:
    """The URL of a running server.py."""
    tls = ["--cert", str(certificate.cert), "--key", str(certificate.key)]
    arguments = ["--port", "0", *(tls if request.param == "TLS" else [])]
    with running(*arguments, cwd=ROOT, program=("examples/server.py",)) as server:
        yield server.ready()
        assert server.stop() == 0


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)


def client(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, str(CLIENT), *arguments)


def ways(url: str, certificate: Certificate) -> dict[str, tuple[str, list[str]]]:
    """The URLs of a server by version, with the further arguments of client.py."""
    if url.startswith("http:"):
        return {"HTTP/1.1": (url, []), "HTTP/2": (url.replace("http:", "h2c:"), [])}
    trust = ["--cacert", str(certificate.cert)]
    return {"HTTP/2": (url, trust), "HTTP/2 ": (url.replace("https:", "h2:"), trust)}


def test_the_client_prints_responses_and_pushes(url: str, certificate: Certificate) -> None:
    for version, (at, trust) in ways(url, certificate).items():
        done = client(*trust, f"{at}/", f"{at}/stream")
        assert (done.returncode, done.stderr) == (0, "")
        heads = [line for line in done.stdout.splitlines() if line.startswith("---")]
        get = f"--- {version.strip()} GET {at}"
        pushed = [PUSHED] if version.strip() == "HTTP/2" else []
        assert heads == [f"{get}/: 200", *pushed, f"{get}/stream: 200"]
        assert PAGE in done.stdout
        assert ("seagreen" in done.stdout) == bool(pushed)
        assert re.findall(r"^line \d$", done.stdout, re.MULTILINE) == [
            f"line {n}" for n in range(10)
        ]


def test_the_client_sends_a_file(url: str, certificate: Certificate) -> None:
    size = (ROOT / "README.md").stat().st_size
    for at, trust in ways(url, certificate).values():
        urls = [f"{at}/upload-size", f"{at}/echo", f"{at}/upload-size"]
        done = client(*trust, "--method", "POST", "--data", "README.md", *urls)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.findall(r"^\d+$", done.stdout, re.MULTILINE) == [str(size)] * 2
        assert (ROOT / "README.md").read_text() in done.stdout


def test_the_client_says_what_is_wrong(url: str) -> None:
    done = client(url)
    if url.startswith("https"):
        assert done.returncode == 1
        assert done.stderr.startswith("TLSFailed: ")
        assert "self-signed certificate" in done.stderr
    else:
        assert done.returncode == 0
        assert client(url.replace("http:", "ftp:")).stderr.startswith("ValueError: ")


def test_nobody_listens() -> None:
    done = client("http://127.0.0.1:1/")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ConnectFailed: http://127.0.0.1:1: ")


def test_curl_talks_to_the_server(url: str, certificate: Certificate) -> None:
    curl = [tool("curl"), "-sS", "--cacert", str(certificate.cert), "-w", " HTTP/%{http_version}"]
    versions = {"--http1.1": "1.1", "--http2" if "https" in url else "--http2-prior-knowledge": "2"}
    for flag, version in versions.items():
        done = run(*curl, flag, f"{url}/")
        assert (done.returncode, done.stderr) == (0, "")
        assert PAGE in done.stdout
        assert done.stdout.endswith(f" HTTP/{version}")
        done = run(*curl, flag, "-T", "LICENSE", f"{url}/echo")
        assert done.stdout == f"{(ROOT / 'LICENSE').read_text()} HTTP/{version}"


def test_the_client_talks_to_the_server_in_c() -> None:
    make = ["env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", tool("make"), "-s", "obj/examples/server"]
    subprocess.run(make, cwd=ROOT, check=True, timeout=50)
    with subprocess.Popen(
        ["obj/examples/server", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            port = re.search(r":(\d+)", server.stdout.readline())
            assert port
            for scheme, version in (("http", "HTTP/1.1"), ("h2c", "HTTP/2")):
                at = f"{scheme}://127.0.0.1:{port[1]}/count"
                done = client("--method", "POST", "--data", "LICENSE", at)
                assert (done.returncode, done.stderr) == (0, "")
                assert f"--- {version} POST {at}: 200" in done.stdout
                assert f"\n{(ROOT / 'LICENSE').stat().st_size}\n" in done.stdout
        finally:
            server.kill()
