"""TCP connections to a host with several addresses, and a time limit that loses no cancellation."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Coroutine
from itertools import chain, zip_longest
from typing import Any, TypeVar

# Seconds after which the next address is tried while the attempts before it go on (RFC 8305
# section 5).
ATTEMPT_DELAY = 0.25

# Errors of this host, or of the way to the other host. An error of the other host itself, such as a
# refusal, explains more.
_NO_WAY = {
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EPERM,
    errno.EACCES,
}

_Result = TypeVar("_Result")

# As socket.getaddrinfo returns them: family, type, protocol, canonical name, address.
_Address = tuple[Any, Any, int, str, Any]


async def within(seconds: float | None, work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of a coroutine that has so many seconds. Raises asyncio.TimeoutError.

    Whenever the caller is cancelled before this function has returned, CancelledError is raised,
    even if the work is complete. asyncio.wait_for of CPython 3.10 and 3.11 returns the result
    instead, and the cancellation is lost (python/cpython#86296).
    """
    task = asyncio.Task(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        late = not task.done()
        if late:
            task.cancel()
            await asyncio.wait({task})
        if late and task.cancelled():
            raise asyncio.TimeoutError
        return task.result()
    except BaseException:
        if not task.done():
            task.add_done_callback(_forget)
            task.cancel()
            await asyncio.wait({task})
        raise
    finally:
        del task  # a raised exception keeps this frame, which would keep the task


async def open_socket(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """A socket that is connected to the host. Raises OSError.

    The addresses are tried by turns of their families, each ATTEMPT_DELAY after the one before it
    or as soon as the one before it has failed, and the first connection is taken (RFC 8305).
    """
    errors: list[BaseException] = []
    sock = await _first(loop, deque(_by_turns(await _look_up(loop, host, port))), errors)
    if sock is None:
        error = _most_telling(errors)
        errors.clear()
        try:
            raise error
        finally:
            del error  # the traceback of the error has this frame
    return sock


async def _first(
    loop: asyncio.AbstractEventLoop, addresses: deque[_Address], errors: list[BaseException]
) -> socket.socket | None:
    """The first connection to any of the addresses, or None; then `errors` has the error of each
    attempt."""
    running: set[asyncio.Task[socket.socket]] = set()
    try:
        while addresses or running:
            if addresses:
                # Not by the task factory of the loop: an eager task may be done already.
                running.add(asyncio.Task(_attempt(loop, addresses.popleft())))
            done, _ = await asyncio.wait(
                running,
                timeout=ATTEMPT_DELAY if addresses else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                running.remove(task)
                error = None if task.cancelled() else task.exception()
                if error is None:
                    return task.result()
                errors.append(error)
    finally:
        for task in running:
            task.add_done_callback(_close)
            task.cancel()
    return None


async def _look_up(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[_Address]:
    """The addresses of a host. An address needs no resolver, and so no thread."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise OSError(f"{host} has no address")
    return found


def _by_turns(addresses: list[_Address]) -> list[_Address]:
    """The addresses with their families in alternation, the family of the first address first (RFC
    8305 section 4)."""
    families: dict[Any, list[_Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    rows = zip_longest(*families.values())
    return [address for address in chain.from_iterable(rows) if address is not None]


async def _attempt(loop: asyncio.AbstractEventLoop, address: _Address) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _forget(task: asyncio.Task[Any]) -> None:
    """Retrieves the exception of a task: the loop complains about an exception that is not."""
    if not task.cancelled():
        task.exception()


def _close(task: asyncio.Task[socket.socket]) -> None:
    """Closes the socket of a second successful attempt."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _most_telling(errors: list[BaseException]) -> BaseException:
    """The error that explains best why there is no connection: the last error, but rather one that
    comes from the other host than one that says that there is no way to it."""
    telling = [error for error in errors if getattr(error, "errno", None) not in _NO_WAY]
    return (telling or errors)[-1]
