"""Servers for the tests of clients: other projects' and cno's. Each starts at its first use."""

import contextlib
import importlib.util
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import PATIENCE, TESTS, Server, running

from tools import Certificate, tool

APPS = TESTS / "sites"

# The size of the file /large in bytes.
LARGE = 20_000_000

# The limit of concurrent streams at http://few, and of requests per connection at http://brief.
FEW = 4
BRIEF = 20


class Origins:
    """The running servers. `url("nginx", "https")` is the URL of one, without a path."""

    def __init__(self, home: Path, certificate: Certificate) -> None:
        self.home = home
        self.certificate = certificate
        self._stack = contextlib.ExitStack()
        self._urls: dict[str, dict[str, str]] = {}
        self._servers: list[Server] = []
        self._ours: list[Server] = []
        os.chmod(home, 0o755)
        self.root = home / "root"
        self.root.mkdir()
        (self.root / "hello").write_bytes(b"hello")
        (self.root / "empty").write_bytes(b"")
        (self.root / "large").write_bytes(body(LARGE))
        (self.root / "style.css").write_bytes(b"css")

    def url(self, name: str, kind: str) -> str:
        """Returns the URL of a server, starting the server if necessary.

        `kind` is http, https or another kind that the server offers.
        """
        if kind not in self._urls.get(name, {}):
            self._urls.setdefault(name, {}).update(STARTS[name](self, kind))
        return self._urls[name][kind]

    def close(self) -> None:
        """Ends all servers. Those of cno must exit with code 0."""
        with self._stack:
            for server in reversed(self._servers):
                code = server.stop()
                if server in self._ours:
                    assert code == 0, server.output
                    assert "Traceback" not in server.output, server.output

    def port(self) -> int:
        """Reserves a port: only a server that sets SO_REUSEADDR can bind it."""
        holder = socket.socket()
        self._stack.callback(holder.close)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])

    def run(self, port: int, *command: str, **options: Any) -> Server:
        """Starts a program and waits until it listens on the port."""
        server = self._stack.enter_context(running(*command, **options))
        self._servers.append(server)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return server
            except ConnectionRefusedError:
                if server.process.poll() is not None or time.monotonic() > end:
                    server.stop(signal.SIGKILL)
                    raise AssertionError(f"{command} does not come up:\n{server.output}") from None
                time.sleep(0.01)

    def own(self, *arguments: str, **options: Any) -> Server:
        """Starts a server of cno, which chooses its port."""
        server = self._stack.enter_context(running(*arguments, **options))
        self._servers.append(server)
        self._ours.append(server)
        return server

    def module(self, port: int, name: str, *arguments: str) -> Server:
        """Starts a server that is a Python package; skips the test if it is not installed."""
        if importlib.util.find_spec(name) is None:
            say = pytest.fail if os.environ.get("CNO_REQUIRE_TOOLS") else pytest.skip
            say(f"{name} is not installed (see requirements-test.txt)")
        return self.run(port, *arguments, program=("-m", name), cwd=APPS)


def body(size: int) -> bytes:
    """Returns random bytes, always the same for one size."""
    return random.Random(1).randbytes(size)


def address(scheme: str, port: int) -> str:
    return f"{scheme}://127.0.0.1:{port}"


# ---- servers of others --------------------------------------------------------------------------

NGINX = """
{user}
daemon off;
worker_processes 1;
error_log stderr notice;
pid {home}/pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    client_max_body_size 0;
    keepalive_requests 100000;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    root {root};
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl http2;
        location ~ ^/(echo|digest|events|gone|stream)$ {{
            proxy_pass {backend};
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_buffering off;
        }}
        location /discard {{ return 200 "not read"; }}
        location /status/503 {{ return 503 "as you like it"; }}
    }}
    server {{
        listen 127.0.0.1:{few} ssl http2;
        http2_max_concurrent_streams {max_streams};
    }}
    server {{
        listen 127.0.0.1:{brief};
        listen 127.0.0.1:{briefs} ssl http2;
        keepalive_requests {requests};
    }}
}}
"""


def start_nginx(origins: Origins, home: Path) -> tuple[Server, dict[str, str]]:
    """nginx with a directory of its own; `few` and `briefs` have TLS, `brief` does not."""
    program = tool("nginx")
    home.mkdir(exist_ok=True)
    backend = origins.url("cno-asgi", "http")
    ports = {name: origins.port() for name in ("http", "https", "few", "brief", "briefs")}
    settings = NGINX.format(
        user="user root;" if os.getuid() == 0 else "",  # other users cannot read the folder
        home=home, root=origins.root, backend=backend, max_streams=FEW, requests=BRIEF,
        cert=origins.certificate.cert, key=origins.certificate.key, **ports,
    )  # fmt: skip
    (home / "nginx.conf").write_text(settings)
    files = ("-p", str(home), "-c", str(home / "nginx.conf"), "-e", "stderr")
    server = origins.run(ports["http"], *files, program=(), executable=program)
    plain = ("http", "brief")
    return server, {
        name: address("http" if name in plain else "https", port) for name, port in ports.items()
    }


def _nginx(origins: Origins, kind: str) -> dict[str, str]:
    return start_nginx(origins, origins.home / "nginx")[1]


def _nghttpd(origins: Origins, kind: str) -> dict[str, str]:
    """nghttpd. `few` has a limit of FEW streams; `hasty` answers before the upload is complete."""
    program, port = tool("nghttpd"), origins.port()
    flags = ["-a", "127.0.0.1", "-d", str(origins.root), "--push=/hello=/style.css,/empty"]
    flags += {
        "few": ["-m", str(FEW), "--echo-upload"],
        "hasty": ["--early-response"],
        "padded": ["--padding=255", "--no-content-length", "--echo-upload"],
    }.get(kind, ["--echo-upload"])
    if kind != "hasty":  # a stream that is reset has no trailers
        flags += ["--trailer", "x-trailer: behind it"]
    if kind == "https":
        flags += [str(port), str(origins.certificate.key), str(origins.certificate.cert)]
    else:
        flags += ["--no-tls", str(port)]
    origins.run(port, *flags, program=(), executable=program)
    return {kind: address("https" if kind == "https" else "http", port)}


HAPROXY = """
global
    maxconn 256
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    retries 0
frontend all
    bind 127.0.0.1:{http}
    bind 127.0.0.1:{https} ssl crt {pem} alpn h2,http/1.1
    use_backend away if {{ path /away }}
    use_backend over2 if {{ path_beg /trailers /hints }}
    default_backend here
backend here
    server one {here}
backend over2
    server two {native} proto h2
backend away
    server none 127.0.0.1:{away}
"""


def _haproxy(origins: Origins, kind: str) -> dict[str, str]:
    """haproxy, as a proxy of cno-asgi over HTTP/1 and of cno.Server over HTTP/2.

    The server behind /away does not exist.
    """
    program, home = tool("haproxy"), origins.home / "haproxy"
    home.mkdir(exist_ok=True)
    here, native = (
        origins.url(name, "http").removeprefix("http://") for name in ("cno-asgi", "cno.Server")
    )
    pem = home / "both.pem"
    pem.write_text(origins.certificate.cert.read_text() + origins.certificate.key.read_text())
    ports = {name: origins.port() for name in ("http", "https", "away")}
    settings = HAPROXY.format(pem=pem, here=here, native=native, **ports)
    (home / "haproxy.cfg").write_text(settings)
    flags = ("-db", "-f", str(home / "haproxy.cfg"))
    origins.run(ports["http"], *flags, program=(), executable=program)
    return {scheme: address(scheme, ports[scheme]) for scheme in ("http", "https")}


def _hypercorn(origins: Origins, kind: str) -> dict[str, str]:
    http, https = origins.port(), origins.port()
    files = (str(path) for path in (origins.certificate.cert, origins.certificate.key))
    secure = [
        word for pair in zip(("--certfile", "--keyfile"), files, strict=True) for word in pair
    ]
    binds = ("--bind", f"127.0.0.1:{https}", "--insecure-bind", f"127.0.0.1:{http}")
    origins.module(http, "hypercorn", "interop:app", *binds, *secure, "--workers", "0")
    return {"http": address("http", http), "https": address("https", https)}


def _granian(origins: Origins, kind: str) -> dict[str, str]:
    port = origins.port()
    flags = ["--interface", "asginl", "--port", str(port)]
    if kind == "https":
        flags += ["--ssl-certificate", str(origins.certificate.cert)]
        flags += ["--ssl-keyfile", str(origins.certificate.key)]
    origins.module(port, "granian", "interop:app", *flags)
    return {kind: address(kind, port)}


def _uvicorn(*more: str) -> Callable[[Origins, str], dict[str, str]]:
    def start(origins: Origins, kind: str) -> dict[str, str]:
        port = origins.port()
        flags = ["--port", str(port), "--lifespan", "off", "--no-access-log", *more]
        if kind == "https":
            flags += ["--ssl-certfile", str(origins.certificate.cert)]
            flags += ["--ssl-keyfile", str(origins.certificate.key)]
        origins.module(port, "uvicorn", "interop:app", *flags)
        return {kind: address(kind, port)}

    return start


# ---- ours ---------------------------------------------------------------------------------------


def _cno_asgi(origins: Origins, kind: str) -> dict[str, str]:
    flags = ["--app-dir", str(APPS), "--lifespan", "off", "--no-access-log", "--port", "0"]
    if kind == "https":
        flags += ["--ssl-certfile", str(origins.certificate.cert)]
        flags += ["--ssl-keyfile", str(origins.certificate.key)]
    server = origins.own("interop:app", *flags)
    return {kind: server.ready()}


def _cno_server(origins: Origins, kind: str) -> dict[str, str]:
    files = (str(origins.certificate.cert), str(origins.certificate.key))
    server = origins.own(*files, program=("native.py",), cwd=APPS)
    return {"http": server.ready(), "https": server.ready()}


STARTS: dict[str, Callable[[Origins, str], dict[str, str]]] = {
    "nginx": _nginx,
    "nghttpd": _nghttpd,
    "haproxy": _haproxy,
    "hypercorn": _hypercorn,
    "granian": _granian,
    "uvicorn": _uvicorn("--http", "httptools"),
    "uvicorn-h11": _uvicorn("--http", "h11"),
    "cno-asgi": _cno_asgi,
    "cno.Server": _cno_server,
}
