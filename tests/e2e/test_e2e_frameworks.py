"""Real applications of Starlette, FastAPI and Django, served by the command."""

import json
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import PATIENCE, TESTS, Server, running

from tools import tool

httpx = pytest.importorskip("httpx")

APPS = TESTS / "sites"
H1, H2 = "--http1.1", "--http2-prior-knowledge"
MEGABYTE = 1_000_000


class Site:
    """A server, a client with a pool of connections to it, and its memory."""

    def __init__(self, server: Server, version: str) -> None:
        self.server, self.version = server, version
        self.url = server.ready()
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE)

    def curl(self, flag: str, *arguments: str) -> bytes:
        """Runs curl; returns its output."""
        command = [tool("curl"), "-sS", flag, "--max-time", str(int(PATIENCE)), *arguments]
        done = subprocess.run(command, capture_output=True, timeout=2 * PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rss(self) -> int:
        """Returns the resident memory of the server in bytes."""
        text = Path(f"/proc/{self.server.process.pid}/statm").read_text()
        return int(text.split()[1]) * resource.getpagesize()

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Requests /report until the report is as expected."""
        end = time.monotonic() + PATIENCE
        while not condition(report := self.client.get("/report").json()):
            assert time.monotonic() < end, report
            time.sleep(0.01)
        return report


def site(app: str, *flags: str) -> Iterator[Site]:
    """Serves an application while a block runs. The server has to end without complaints."""
    with running(app, "--app-dir", str(APPS), "--port", "0", *flags) as server:
        it = Site(server, "")
        try:
            yield it
        finally:
            it.client.close()
        assert server.stop() == 0


@pytest.fixture(scope="module")
def starlette() -> Iterator[Site]:
    pytest.importorskip("starlette")
    yield from site("starlette_site:app", "--lifespan", "on")


@pytest.fixture(scope="module")
def wrapped() -> Iterator[Site]:
    """The application is Starlette with middlewares that wrap receive and send."""
    pytest.importorskip("starlette")
    yield from site("starlette_site:wrapped", "--lifespan", "on")


@pytest.fixture(scope="module")
def fastapi() -> Iterator[Site]:
    pytest.importorskip("fastapi")
    yield from site("fastapi_site:app")


@pytest.fixture(scope="module")
def django() -> Iterator[Site]:
    pytest.importorskip("django")
    # Without the deadline the server would hang: see test_django_sigterm_after_events.
    yield from site("django_site:app", "--timeout-graceful-shutdown", "1")


def events(site: Site, flag: str, path: str = "/events") -> None:
    """Reads a few server-sent events and leaves."""
    command = [tool("curl"), "-sSN", flag, f"{site.url}{path}"]
    client = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert client.stdout is not None
        for number in range(1, 6):
            assert client.stdout.readline() == f"data: {number}\n".encode()
            assert client.stdout.readline() == b"\n"
    finally:
        client.kill()
        client.wait(PATIENCE)
        client.stdout.close()


class Peak(threading.Thread):
    """Measures the highest memory of a server while a block runs."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site, self.before = site, site.rss()
        self.growth = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.005):
            self.growth = max(self.growth, self.site.rss() - self.before)

    def __enter__(self) -> "Peak":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a file of 50 MB."""
    path = tmp_path_factory.mktemp("large") / "file"
    with path.open("wb") as file:
        file.truncate(50 * MEGABYTE)
    return path


# ---- Starlette ----------------------------------------------------------------------------------


def test_starlette_json_and_parameters(starlette: Site) -> None:
    client = starlette.client
    assert client.get("/").json() == {"version": "1.1", "path": "/"}
    assert client.get("/item/7", params={"q": "a b&c"}).json() == {"id": 7, "q": "a b&c"}
    assert client.post("/double", json={"a": 1, "b": "x"}).json() == {"a": 2, "b": "xx"}
    assert client.get("/nosuch").status_code == 404
    assert client.delete("/item/7").status_code == 405
    assert client.head("/item/7").headers["content-length"] == "17"
    assert client.get("/empty").status_code == 204
    assert client.get("/").headers["x-plain"] == "yes"


def test_starlette_over_http2(starlette: Site) -> None:
    got = json.loads(starlette.curl(H2, f"{starlette.url}/"))
    assert got == {"version": "2", "path": "/"}
    got = json.loads(starlette.curl(H2, "--json", '{"a": 5}', f"{starlette.url}/double"))
    assert got == {"a": 10}


def test_starlette_lifespan_state(starlette: Site) -> None:
    first = starlette.client.get("/state").json()
    second = starlette.client.get("/state").json()
    assert first["name"] == second["name"] == "state!"
    assert len(second["numbers"]) == len(first["numbers"]) + 1


@pytest.mark.parametrize("flag", [H1, H2])
def test_starlette_form(starlette: Site, flag: str, large: Path) -> None:
    fields = ("-F", "note=a note", "-F", f"file=@{large};filename=f.bin")
    got = json.loads(starlette.curl(flag, *fields, f"{starlette.url}/form"))
    assert got == {"note": "a note", "name": "f.bin", "size": 50 * MEGABYTE}


def test_starlette_redirects_and_cookies(starlette: Site) -> None:
    with httpx.Client(base_url=starlette.url, follow_redirects=True) as client:
        response = client.get("/redirect")
        assert response.json() == {"id": 5, "q": "redirected"}
        assert response.history[0].status_code == 307
        assert client.get("/cookies").json() == {}
        assert client.get("/cookies").json() == {"one": "1", "two": "2"}


def test_starlette_cookies_over_http2(starlette: Site) -> None:
    cookies = ("-b", "one=1; two=2; three=3")
    got = json.loads(starlette.curl(H2, *cookies, f"{starlette.url}/cookies"))
    assert got == {"one": "1", "two": "2", "three": "3"}


def test_starlette_background_task(starlette: Site) -> None:
    before = starlette.client.get("/report").json()["background"]
    assert starlette.client.get("/background").json() == {"ok": True}
    starlette.until(lambda report: report["background"] == before + 1)


@pytest.mark.parametrize("site_name", ["starlette", "wrapped", "fastapi", "django"])
def test_an_exception_is_500(site_name: str, request: pytest.FixtureRequest) -> None:
    site = request.getfixturevalue(site_name)
    for flag in (H1, H2):
        code = site.curl(flag, "-o", "/dev/null", "-w", "%{http_code}", f"{site.url}/fail")
        assert code == b"500"
    if site_name != "django":  # which catches it, and tells its own loggers
        site.server.expect("RuntimeError: as it was asked to")
    assert site.client.get("/report").status_code == 200


@pytest.mark.parametrize("flag", [H1, H2])
def test_starlette_an_exception_in_the_middle(starlette: Site, flag: str) -> None:
    done = subprocess.run(
        [tool("curl"), "-sS", flag, f"{starlette.url}/fail-late"],
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode in (18, 56, 92)  # a transfer that was cut
    assert b"part".startswith(done.stdout)
    starlette.server.expect("RuntimeError: in the middle")


@pytest.mark.parametrize("flag", [H1, H2])
@pytest.mark.parametrize("site_name", ["starlette", "wrapped"])
def test_starlette_events_cut_by_the_client(
    site_name: str, flag: str, request: pytest.FixtureRequest
) -> None:
    site = request.getfixturevalue(site_name)
    before = site.client.get("/report").json()
    events(site, flag)
    began = time.monotonic()
    report = site.until(lambda report: report["cleaned"] > before["cleaned"])
    assert time.monotonic() - began < 2
    assert report["streams"] == before["streams"] + 1
    events(site, flag, "/events?fast")
    site.until(lambda report: report["cleaned"] == before["cleaned"] + 2)


@pytest.mark.parametrize("flag", [H1, H2])
@pytest.mark.parametrize("query", ["", "?slow"], ids=["fast", "slow"])
def test_starlette_upload_in_little_memory(
    starlette: Site, flag: str, query: str, large: Path
) -> None:
    url = f"{starlette.url}/upload{query}"
    starlette.curl(flag, "-d", "warm", url)
    with Peak(starlette) as peak:
        got = json.loads(starlette.curl(flag, "-T", str(large), url))
    assert got == {"size": 50 * MEGABYTE}
    assert peak.growth < 20 * MEGABYTE


@pytest.mark.parametrize("flag", [H1, H2])
def test_starlette_download_in_little_memory(starlette: Site, flag: str) -> None:
    size = 100 * MEGABYTE
    starlette.curl(flag, "-o", os.devnull, f"{starlette.url}/download/1000000")
    with Peak(starlette) as peak:
        command = ("--limit-rate", "120M", "-o", os.devnull, "-w", "%{size_download}")
        got = starlette.curl(flag, *command, f"{starlette.url}/download/{size}")
    assert int(got) == size
    assert peak.growth < 20 * MEGABYTE


def test_starlette_many_at_once_in_little_memory(starlette: Site) -> None:
    """Clients that read nothing, on both versions, cost a bounded amount of memory."""
    url = f"{starlette.url}/download/{100 * MEGABYTE}"
    command = [tool("curl"), "-sS", "--limit-rate", "1k", "-o", os.devnull, url]
    before = starlette.client.get("/report").json()["downloads"]
    clients = []
    with Peak(starlette) as peak:
        try:
            for flag in (H1, H2) * 10:
                clients.append(subprocess.Popen([*command, flag], stderr=subprocess.DEVNULL))
            starlette.until(lambda report: report["downloads"] == before + 20)
            for _ in range(100):
                assert starlette.client.get("/").status_code == 200
        finally:
            for client in clients:
                client.kill()
                client.wait(PATIENCE)
    assert peak.growth < 20 * MEGABYTE


@pytest.mark.parametrize("flag", [H1, H2])
def test_starlette_upload_cut_by_the_client(starlette: Site, flag: str) -> None:
    before = starlette.client.get("/report").json()
    url = f"{starlette.url}/upload"
    client = subprocess.Popen(
        [tool("curl"), "-sS", flag, "-H", "expect:", "-T", ".", url], stdin=subprocess.PIPE
    )
    try:
        assert client.stdin is not None
        client.stdin.write(bytes(100_000))
        client.stdin.flush()
        starlette.until(lambda report: report["uploads"] == before["uploads"] + 1)
    finally:
        client.kill()
        client.wait(PATIENCE)
        client.stdin.close()
    starlette.until(lambda report: report["disconnects"] == before["disconnects"] + 1)


def test_starlette_middlewares(wrapped: Site) -> None:
    response = wrapped.client.get("/download/100000", headers={"accept-encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["x-stamp"] == "GET"
    assert response.content == bytes(100_000)
    response = wrapped.client.post("/double", json={"a": 1})
    assert response.json() == {"a": 2}
    assert response.headers["x-stamp"] == "POST"
    assert wrapped.client.get("/empty").status_code == 204
    assert wrapped.client.head("/").status_code == 200


# ---- FastAPI ------------------------------------------------------------------------------------


def test_fastapi_json_and_parameters(fastapi: Site) -> None:
    client = fastapi.client
    assert client.get("/item/7?q=x").json() == {"number": 7, "q": "x"}
    assert client.get("/item/x").status_code == 422
    response = client.post("/items", json={"name": "one", "price": 2})
    assert (response.status_code, response.json()) == (201, {"name": "one", "price": 2.0})
    assert float(response.headers["x-time"]) >= 0
    assert client.post("/items", json={"price": "x"}).status_code == 422
    assert client.post("/sync", json={"name": "abc"}).json() == {"name": "cba"}
    response = client.get("/teapot")
    assert (response.status_code, response.headers["x-pot"]) == (418, "tea")
    assert client.get("/openapi.json").json()["openapi"].startswith("3")
    assert client.get("/docs").status_code == 200


def test_fastapi_over_http2(fastapi: Site) -> None:
    got = fastapi.curl(H2, "--json", '{"name": "one"}', f"{fastapi.url}/items")
    assert json.loads(got) == {"name": "one", "price": 0.0}
    got = fastapi.curl(H2, "--json", '{"name": "abc"}', f"{fastapi.url}/sync")
    assert json.loads(got) == {"name": "cba"}


@pytest.mark.parametrize("flag", [H1, H2])
def test_fastapi_form(fastapi: Site, flag: str) -> None:
    fields = ("-F", "note=hello", "-F", "file=@-;filename=f")
    command = [tool("curl"), "-sS", flag, *fields, f"{fastapi.url}/form"]
    done = subprocess.run(command, input=bytes(300_000), capture_output=True, timeout=PATIENCE)
    assert json.loads(done.stdout) == {"note": "hello", "name": "f", "size": 300_000}


def test_fastapi_cookies_cors_background(fastapi: Site) -> None:
    with httpx.Client(base_url=fastapi.url) as client:
        assert client.get("/cookies").json() == {"one": None}
        assert client.get("/cookies").json() == {"one": "1"}
        response = client.options(
            "/items",
            headers={"origin": "http://localhost", "access-control-request-method": "POST"},
        )
        assert response.headers["access-control-allow-origin"] == "http://localhost"
        assert client.get("/background").json() == {"ok": True}
    fastapi.until(lambda report: report["background"] == 1)


@pytest.mark.parametrize("flag", [H1, H2])
def test_fastapi_streams(fastapi: Site, flag: str) -> None:
    got = fastapi.curl(flag, f"{fastapi.url}/lines")
    assert got == b"".join(b"%d\n" % number for number in range(1000))


@pytest.mark.parametrize("flag", [H1, H2])
def test_fastapi_events_cut_by_the_client(fastapi: Site, flag: str) -> None:
    """The dependency of the endpoint is closed as well."""
    before = fastapi.client.get("/report").json()
    assert fastapi.client.get("/depends").json() == "resource"
    events(fastapi, flag)
    report = fastapi.until(lambda report: report["cleaned"] == before["cleaned"] + 2)
    assert report["streams"] == before["streams"] + 2


@pytest.mark.parametrize("flag", [H1, H2])
def test_fastapi_upload_in_little_memory(fastapi: Site, flag: str, large: Path) -> None:
    fastapi.curl(flag, "-d", "warm", f"{fastapi.url}/upload")
    with Peak(fastapi) as peak:
        command = ("-X", "POST", "-T", str(large))
        got = json.loads(fastapi.curl(flag, *command, f"{fastapi.url}/upload"))
    assert got == {"size": 50 * MEGABYTE}
    assert peak.growth < 20 * MEGABYTE


# ---- Django -------------------------------------------------------------------------------------


def test_django_json_and_parameters(django: Site) -> None:
    client = django.client
    host = django.url.removeprefix("http://")
    assert client.get("/?a=1").json() == {"path": "/", "host": host, "q": {"a": "1"}}
    response = client.get("/sync/7")
    assert response.json() == {"number": 7, "scheme": "http"}
    assert response.headers["x-stamp"] == "GET"
    assert response.headers["x-frame-options"] == "DENY"
    assert client.get("/nosuch").status_code == 404
    assert client.post("/sync/7").status_code == 403  # CSRF
    assert client.head("/sync/7").status_code == 200


def test_django_over_http2(django: Site) -> None:
    got = json.loads(django.curl(H2, f"{django.url}/sync/7"))
    assert got == {"number": 7, "scheme": "http"}


@pytest.mark.parametrize("flag", [H1, H2])
def test_django_form(django: Site, flag: str, large: Path) -> None:
    fields = ("-F", "note=a note", "-F", f"file=@{large};filename=f.bin")
    got = json.loads(django.curl(flag, *fields, f"{django.url}/form"))
    assert got == {"note": "a note", "name": "f.bin", "size": 50 * MEGABYTE}


@pytest.mark.parametrize("flag", [H1, H2])
def test_django_upload_in_little_memory(django: Site, flag: str, large: Path) -> None:
    """Django keeps the body in a file."""
    django.curl(flag, "-d", "warm", f"{django.url}/upload")
    with Peak(django) as peak:
        got = json.loads(django.curl(flag, "-T", str(large), f"{django.url}/upload"))
    assert got == {"size": 50 * MEGABYTE}
    assert peak.growth < 20 * MEGABYTE


def test_django_redirects_and_cookies(django: Site) -> None:
    with httpx.Client(base_url=django.url, follow_redirects=True) as client:
        assert client.get("/redirect").json() == {"number": 5, "scheme": "http"}
        assert client.get("/cookies").json() == {}
        assert client.get("/cookies").json() == {"one": "1", "two": "2"}


def test_django_own_date_and_server(django: Site) -> None:
    headers = django.client.get("/headers").headers
    assert headers["x-mixed-case"] == "1"
    assert headers.get_list("date") == ["now"]
    assert headers.get_list("server") == ["own"]


@pytest.mark.parametrize("flag", [H1, H2])
def test_django_streams(django: Site, flag: str) -> None:
    got = django.curl(flag, f"{django.url}/lines")
    assert got == b"".join(b"%d\n" % number for number in range(1000))
    got = django.curl(flag, f"{django.url}/file")
    assert got == (APPS / "django_site.py").read_bytes()


@pytest.mark.parametrize("flag", [H1, H2])
def test_django_events_cut_by_the_client(django: Site, flag: str) -> None:
    before = django.client.get("/report").json()
    events(django, flag)
    report = django.until(lambda report: report["cleaned"] == before["cleaned"] + 1)
    assert report["streams"] == before["streams"] + 1


def test_django_sigterm_after_events() -> None:
    pytest.importorskip("django")
    with running("django_site:app", "--app-dir", str(APPS), "--port", "0") as server:
        it = Site(server, "")
        events(it, H1)
        it.until(lambda report: report["cleaned"] == 1)
        it.client.close()
        server.send()
        assert server.process.wait(1.5) == 0
