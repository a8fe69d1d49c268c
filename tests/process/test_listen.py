"""cno/process/listen.py: the sockets of each option, and the errors of a bind."""

import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest
from servers import PATIENCE, ask, read_all, running

from cno.config.errors import StartupFailed
from cno.config.options import Config
from cno.process import listen


def test_a_free_port_of_the_host() -> None:
    (sock,) = listen.bind(Config(port=0))
    with closing(sock):
        port = sock.getsockname()[1]
        assert port > 0
        assert listen.describe(sock) == f"127.0.0.1:{port}"
        assert listen.url(sock, secure=True) == f"https://127.0.0.1:{port}"


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            StartupFailed, match=f"127.0.0.1:{port}: the address is already in use$"
        ):
            listen.bind(Config(port=port))


def test_a_host_that_is_not_ours_is_named() -> None:
    with pytest.raises(StartupFailed, match=r"cannot listen on 192\.0\.2\.1:8000: "):
        listen.bind(Config(host="192.0.2.1"))


def test_all_addresses_of_a_name_share_the_port() -> None:
    sockets = listen.bind(Config(host="localhost", port=0))
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
    finally:
        for sock in sockets:
            sock.close()


def test_unix_socket_and_a_stale_one(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for _ in range(2):  # the second time there is a stale socket
        (sock,) = listen.bind(Config(uds=path))
        assert stat.S_IMODE(path.stat().st_mode) == listen.UDS_MODE
        assert listen.url(sock, secure=False) == f"unix:{path}"
        sock.close()
    (sock,) = listen.bind(Config(uds=path))
    listen.unlink([sock])
    sock.close()
    assert not path.exists()


def test_unix_socket_in_use(tmp_path: Path) -> None:
    (sock,) = listen.bind(Config(uds=tmp_path / "socket"))
    with closing(sock):
        sock.listen()
        with pytest.raises(StartupFailed, match="socket: the address is already in use"):
            listen.bind(Config(uds=tmp_path / "socket"))


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "socket").write_text("precious")
    with pytest.raises(StartupFailed, match="in use"):
        listen.bind(Config(uds=tmp_path / "socket"))
    assert (tmp_path / "socket").read_text() == "precious"


def test_descriptor() -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        (sock,) = listen.bind(Config(fd=given.fileno()))
        with closing(sock):
            assert sock.getsockname() == given.getsockname()


def test_descriptors_that_will_not_do(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        number = file.fileno()
        with pytest.raises(StartupFailed, match=f"cannot listen on fd {number}: "):
            listen.bind(Config(fd=number))
    with pytest.raises(StartupFailed, match=f"cannot listen on fd {number}: Bad file"):
        listen.bind(Config(fd=number))
    with (
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        pytest.raises(StartupFailed, match="not a stream socket"),
    ):
        listen.bind(Config(fd=datagrams.fileno()))


def test_the_command_on_a_unix_socket(tmp_path: Path) -> None:
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


def test_the_command_on_a_descriptor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        number = given.fileno()
        with running("apps:hello", "--fd", str(number), pass_fds=[number]) as server:
            url = server.ready()
            assert url == f"http://127.0.0.1:{given.getsockname()[1]}"
            assert ask(url).status == 200
