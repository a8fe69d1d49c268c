"""cno/process/supervisor.py: starts that fail, signals, exit codes, and cno.run."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers import FREE, PATIENCE, TESTS, command, half_a_request, read_all, running

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


# The command with less time for applications to end their responses.
HASTY = """
from cno.process import cli, service
service.FAREWELL = 0.05
cli.main()
"""


def test_patience_is_limited_by_the_flag() -> None:
    flags = ("--timeout-graceful-shutdown", "0.1")
    with running("apps:slow", *FREE, *flags, program=("-c", HASTY)) as server:
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
