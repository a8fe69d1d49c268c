"""The command, as a user starts it: processes, sockets, signals, exit codes."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers import PATIENCE, TESTS, read_all, running

import cno
from cno.config.options import OPTIONS
from tools import Certificate, tool

FREE = ("--port", "0")


def ask(url: str, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    """The response to a GET, read to its end: `.text` is its body."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.text = response.read().decode()
        return response
    finally:
        connection.close()


def half_a_request(url: str) -> socket.socket:
    """A connection whose request lacks its body of five octets."""
    where = urlsplit(url)
    client = socket.create_connection((where.hostname, where.port), PATIENCE)
    client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n")
    return client


# ---- usage --------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cno", *arguments],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )


def test_version() -> None:
    done = command("--version")
    assert done.returncode == 0
    assert f"cno {cno.__version__} " in done.stdout


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


# ---- starts that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nosuch:app",), f"cannot import 'nosuch:app': no module named 'nosuch' in {TESTS}"),
        (("apps:nosuch",), "has no 'nosuch'"),
        (("apps:not_callable",), "'apps:not_callable' is not an application"),
        (("apps:failing",), "application startup failed: no database"),
        (("apps:hello", "--fd", "77"), "cannot listen on fd 77: "),
        (("apps:hello", "--host", "192.0.2.1"), "cannot listen on 192.0.2.1:"),
        (("apps:hello", "--ssl-certfile", "absent"), "--ssl-certfile: cannot read 'absent'"),
    ],
)
def test_a_start_that_fails_says_so_in_one_line(arguments: tuple[str, ...], reason: str) -> None:
    done = command(*FREE, *arguments)
    assert done.returncode == 3
    errors = [line for line in done.stderr.splitlines() if not line.startswith("INFO:")]
    assert len(errors) == 1
    assert errors[0].startswith("ERROR:    ")
    assert reason in errors[0]


def test_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = command("apps:hello", "--port", str(port))
    assert done.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}: the address is already in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_error_inside_the_application_shows_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nosuchthing\n")
    done = command("broken:app", "--app-dir", str(tmp_path), *FREE)
    assert done.returncode == 3
    assert f'File "{tmp_path}/broken.py", line 1' in done.stderr
    assert "No module named 'nosuchthing'" in done.stderr


# ---- signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_signal_ends_it_in_order(number: int, loop: str) -> None:
    pytest.importorskip(loop)
    with running("apps:hello", *FREE, "--loop", loop) as server:
        assert server.ready().startswith("http://127.0.0.1:")
        assert server.stop(number) == 0
        pid = server.process.pid
    where = [server.output.index(text) for text in (
        f"INFO:     Started server process [{pid}]",
        "INFO:     Waiting for application startup.",
        "app: startup",
        "INFO:     Application startup complete.",
        "INFO:     cno running on http://127.0.0.1:",
        "INFO:     Shutting down",
        "app: shutdown",
        "INFO:     Application shutdown complete.",
        f"INFO:     Finished server process [{pid}]",
    )]  # fmt: skip
    assert where == sorted(where)


def test_a_signal_during_startup() -> None:
    with running("apps:hanging", *FREE) as server:
        server.expect("app: startup")
        assert server.stop() == 0


def test_nothing_is_served_before_startup_is_complete() -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        with running(
            "apps:hanging", "--fd", str(given.fileno()), pass_fds=[given.fileno()]
        ) as server:
            server.expect("app: startup")
            with pytest.raises(ConnectionRefusedError), socket.socket() as client:
                client.connect(given.getsockname())


def test_requests_under_way_finish_first() -> None:
    with running("apps:slow", *FREE) as server:
        with half_a_request(server.ready()) as client:
            server.expect("app: request")
            server.send()
            server.expect("Waiting for connections to close")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(client.getpeername(), PATIENCE)
            client.sendall(b"hello")
            answer = read_all(client).lower()
        assert answer.startswith(b"http/1.1 200 ")
        assert answer.endswith(b"hello")
        assert b"connection: close" in answer
        assert server.wait() == 0
        assert server.output.index("app: request") < server.output.index("app: shutdown")


def test_idle_connections_do_not_hold_it_up() -> None:
    with running("apps:hello", *FREE) as server:
        url = urlsplit(server.ready())
        with socket.create_connection((url.hostname, url.port), PATIENCE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert client.recv(1) == b"H"
            assert server.stop() == 0


def test_patience_is_limited_by_the_flag() -> None:
    with running("apps:slow", *FREE, "--timeout-graceful-shutdown", "0.1") as server:
        with half_a_request(server.ready()) as client:
            server.expect("app: request")
            server.send()
            read_all(client)
        assert server.wait() == 0
        assert "still open after 0.1 s" in server.output
        assert "app: disconnect" in server.output
        assert "app: shutdown" in server.output


def test_a_second_signal_means_now() -> None:
    with running("apps:slow", *FREE) as server:
        with half_a_request(server.ready()) as client:
            server.expect("app: request")
            server.send()
            server.expect("Waiting for connections to close")
            server.send()
            read_all(client)
        assert server.wait() == 0


def test_a_second_signal_ends_a_shutdown_that_hangs() -> None:
    with running("apps:stubborn", *FREE) as server:
        server.ready()
        server.send()
        server.expect("app: shutdown")
        assert server.stop() == 0


# ---- what the flags do --------------------------------------------------------------------------


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


def test_root_path() -> None:
    with running("apps:hello", *FREE, "--root-path", "/api") as server:
        url = server.ready()
        for path in ("/x", "/api/x"):
            assert ask(url, path).text.splitlines()[:2] == ["/api/x", "/api"]


def test_no_access_log_no_lifespan() -> None:
    with running("apps:hello", *FREE, "--no-access-log", "--lifespan", "off") as server:
        assert ask(server.ready()).status == 500  # it needs the state that nobody made
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


def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running("apps:hello", "--uds", str(path)) as server:
        assert server.ready() == f"unix:{path}"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert read_all(client).startswith(b"HTTP/1.1 200 ")
        assert server.stop() == 0
        assert not path.exists()


def test_descriptor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        number = given.fileno()
        with running("apps:hello", "--fd", str(number), pass_fds=[number]) as server:
            url = server.ready()
            assert url == f"http://127.0.0.1:{given.getsockname()[1]}"
            assert ask(url).status == 200


@pytest.mark.parametrize(("flags", "version"), [((), "2"), (("--no-http2",), "1.1")])
def test_tls_and_alpn(flags: tuple[str, ...], version: str, certificate: Certificate) -> None:
    files = ("--ssl-certfile", str(certificate.cert), "--ssl-keyfile", str(certificate.key))
    with running("apps:hello", *FREE, *files, *flags) as server:
        url = server.ready()
        assert url.startswith("https://")
        done = subprocess.run(
            [
                tool("curl"),
                "-sS",
                "--http2",
                "--cacert",
                certificate.cert,
                "-w",
                "%{http_version}",
                url,
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == f"yes{version}"


@pytest.mark.parametrize(("flags", "works"), [((), True), (("--no-http2",), False)])
def test_http2_with_prior_knowledge(flags: tuple[str, ...], works: bool) -> None:
    with running("apps:hello", *FREE, *flags) as server:
        done = subprocess.run(
            [tool("curl"), "-sS", "--http2-prior-knowledge", server.ready()],
            capture_output=True,
            timeout=PATIENCE,
        )
    assert (done.returncode == 0) == works


# ---- cno.run ------------------------------------------------------------------------------------


def test_run_in_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import apps, cno\ncno.run(apps.hello, port=0)\nprint('after', flush=True)\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), *sys.path)))}
    done = subprocess.Popen(
        [sys.executable, str(script)],
        env=env,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for line in done.stderr:
            if "cno running on" in line:
                break
        done.send_signal(signal.SIGTERM)
        out, _ = done.communicate(timeout=PATIENCE)
    finally:
        done.kill()
        done.wait(PATIENCE)
    assert done.returncode == 0
    assert out.splitlines() == ["app: startup", "app: shutdown", "after"]
