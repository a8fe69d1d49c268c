"""Binds the sockets of a server. Listening on them begins later, with the event loop's server."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable

from cno.config.errors import StartupFailed
from cno.config.options import Config

# The mode of a unix socket: every user can connect who has access to the directory.
UDS_MODE = 0o666


def bind(config: Config) -> list[socket.socket]:
    """Binds the address of --host and --port, or of --uds, or takes over the socket of --fd.

    A host name with several addresses gives one socket per address, all with the same port. The
    caller closes the sockets. Raises StartupFailed with a line that names the address and the
    reason.
    """
    if config.fd is not None:
        return [_adopt(config.fd)]
    if config.uds is not None:
        return [_bind_path(config.uds)]
    return _bind_host(config.host, config.port)


def describe(sock: socket.socket) -> str:
    """Returns the address of a bound socket as text: `host:port`, `[host]:port` or `unix:path`."""
    if is_unix(sock):
        return f"unix:{sock.getsockname()}"
    return _join(*sock.getsockname()[:2])


def url(sock: socket.socket, *, secure: bool) -> str:
    """Returns the URL of a bound socket, or `unix:path`."""
    where = describe(sock)
    return where if is_unix(sock) else f"{'https' if secure else 'http'}://{where}"


def is_unix(sock: socket.socket) -> bool:
    """Whether `sock` is a unix socket, whose address is a path."""
    return sock.family == getattr(socket, "AF_UNIX", None)


def unlink(sockets: Iterable[socket.socket]) -> None:
    """Removes the files of unix sockets, which must still be open."""
    for sock in sockets:
        if sock.fileno() >= 0 and is_unix(sock):
            path = sock.getsockname()
            if path and os.path.exists(path):
                os.unlink(path)


def failure(where: str, error: OSError) -> StartupFailed:
    """Returns the exception for the address `where`, on which the server cannot listen."""
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    if error.errno == errno.EADDRINUSE:
        reason = "the address is already in use"
    return StartupFailed(f"cannot listen on {where}: {reason}")


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind_host(host: str, port: int) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise StartupFailed(f"cannot listen on {_join(host, port)}: {error.strerror}") from None
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_bind_address(family, (address[0], port, *address[2:])))
        except OSError as error:
            problem = error
            if error.errno != errno.EADDRNOTAVAIL and error.errno != errno.EAFNOSUPPORT:
                break
        else:
            port = sockets[0].getsockname()[1]
    else:
        if sockets:
            return sockets
    for sock in sockets:
        sock.close()
    raise failure(_join(host, port), problem or OSError(errno.EADDRNOTAVAIL, ""))


def _bind_address(family: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_path(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(path)
        os.chmod(path, UDS_MODE)
    except OSError as error:
        sock.close()
        raise failure(f"unix:{path}", error) from None
    return sock


def _remove_stale(path: str) -> None:
    """Removes a unix socket on which no process listens, as a killed process leaves one behind."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def _adopt(number: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=os.dup(number))
    except OSError as error:
        raise StartupFailed(f"cannot listen on fd {number}: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM:
        sock.close()
        raise StartupFailed(f"cannot listen on fd {number}: this is not a stream socket")
    return sock
