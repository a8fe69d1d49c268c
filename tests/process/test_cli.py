"""cno/process/cli.py: the command, its help, its errors, and the effect of its flags."""

from pathlib import Path

import pytest
from servers import FREE, TESTS, ask, command, running

import cno
from cno.config.options import OPTIONS
from cno.process import compiled

# ---- usage --------------------------------------------------------------------------------------


def test_version() -> None:
    done = command("--version")
    assert done.returncode == 0
    assert f"cno {cno.__version__} " in done.stdout
    assert done.stdout.endswith(f", {compiled.describe()}\n")


def test_help_has_every_option_in_its_group() -> None:
    done = command("--help")
    assert done.returncode == 0
    for option in OPTIONS:
        assert option.flag in done.stdout
        assert option.argument or f"{option.group}:" in done.stdout
    for flag in ("--no-http2", "--no-access-log", "--no-server-header", "--no-date-header"):
        assert flag in done.stdout
    assert "--no-factory" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "no application"),
        (("apps:hello", "--port", "70000"), "--port: '70000' is above 65535"),
        (("apps:hello", "--loop", "other"), "--loop: 'other' is none of auto, asyncio, uvloop"),
        (("apps:hello", "--nosuch"), "--nosuch"),
        (("apps:hello", "--header", "no colon"), "--header: "),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], reason: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


# ---- the flags ----------------------------------------------------------------------------------


def test_a_request_and_its_line_in_the_log() -> None:
    with running("apps:hello", *FREE) as server:
        response = ask(server.ready(), "/a%20b?c")
        assert response.text.splitlines() == ["/a b", "", "yes"]
        assert response.headers["server"]
        assert response.headers["date"]
        line = server.expect('"GET /a%20b?c HTTP/1.1" 200 OK')
        assert line.startswith("INFO:     127.0.0.1:")
        assert server.stop() == 0


def test_headers() -> None:
    flags = [
        "--no-server-header",
        "--no-date-header",
        "--header",
        "X-One: 1",
        "--header",
        "x-two:2",
    ]
    with running("apps:hello", *FREE, *flags) as server:
        headers = ask(server.ready()).headers
    assert headers["server"] is None
    assert headers["date"] is None
    assert (headers["x-one"], headers["x-two"]) == ("1", "2")


def test_a_server_header_of_our_own() -> None:
    with running("apps:hello", *FREE, "--header", "Server: mine") as server:
        assert ask(server.ready()).headers.get_all("server") == ["mine"]


def test_no_access_log_no_lifespan() -> None:
    with running("apps:hello", *FREE, "--no-access-log", "--lifespan", "off") as server:
        assert ask(server.ready()).status == 500  # the application needs the state of its lifespan
        assert server.stop() == 0
    assert '"GET' not in server.output
    assert "application startup" not in server.output


@pytest.mark.parametrize(
    "arguments",
    [("apps:factory", "--factory"), ("apps:Nested.app",), ("apps:double",)],
    ids=["factory", "nested", "asgi2"],
)
def test_forms_of_applications(arguments: tuple[str, ...]) -> None:
    with running(*arguments, *FREE) as server:
        assert ask(server.ready()).text.splitlines()[2] == "yes"


def test_app_dir(tmp_path: Path) -> None:
    with running("apps:hello", *FREE, "--app-dir", str(TESTS), cwd=tmp_path) as server:
        assert ask(server.ready()).status == 200


def test_variables() -> None:
    env = {"UVICORN_APP": "apps:hello", "UVICORN_PORT": "1", "CNO_PORT": "0"}
    with running(env=env) as server:
        assert ask(server.ready()).status == 200
