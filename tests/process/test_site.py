"""cno/process/site.py: the root path and the versions of HTTP of an application's connections."""

import subprocess

import pytest
from servers import FREE, PATIENCE, ask, running

from cno.process.site import _root_path
from tools import tool


@pytest.mark.parametrize(
    ("option", "path"),
    [("", ""), ("/", ""), ("api", "/api"), ("/api", "/api"), ("/api/", "/api"), ("/a/b/", "/a/b")],
)
def test_the_root_path_has_one_form(option: str, path: str) -> None:
    assert _root_path(option) == path


def test_root_path() -> None:
    with running("apps:hello", *FREE, "--root-path", "/api") as server:
        url = server.ready()
        for path in ("/x", "/api/x"):
            assert ask(url, path).text.splitlines()[:2] == ["/api/x", "/api"]


@pytest.mark.parametrize(("flags", "works"), [((), True), (("--no-http2",), False)])
def test_http2_with_prior_knowledge(flags: tuple[str, ...], works: bool) -> None:
    with running("apps:hello", *FREE, *flags) as server:
        done = subprocess.run(
            [tool("curl"), "-sS", "--http2-prior-knowledge", server.ready()],
            capture_output=True,
            timeout=PATIENCE,
        )
    assert (done.returncode == 0) == works
