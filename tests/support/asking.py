"""Helpers that the tests of `cno.Client` share."""

import asyncio
import copy
import gc
import ssl
from typing import Any

import pytest
from peer import LOOPS, over
from scripted import Stage
from wire import soon

import cno
from tools import Certificate

BIG = bytes(range(256)) * 4096  # 1 MiB

RUN = [loop for loop in LOOPS if loop != "python"]
both = over("h1", "h2", loops=RUN, make=Stage)
h1 = over("h1", loops=RUN, make=Stage)
h2_only = over("h2", loops=RUN, make=Stage)


async def ask(client: cno.Client, server: Any, *args: Any, **options: Any) -> Any:
    """Begins a request; returns its task and the request as the server sees it."""
    task = asyncio.ensure_future(client.request(*(args or ("GET", "/")), **options))
    try:
        return task, await soon(server.request())
    except BaseException:
        task.cancel()
        await task  # the exception of the task tells more
        raise


async def exchange(client: cno.Client, server: Any, path: str = "/", body: bytes = b"ok") -> bool:
    """Makes a whole exchange; returns whether the connection was usable for that."""
    task, asked = await ask(client, server, "GET", path)
    assert asked.target == path
    await asked.respond(200, body)
    response = await soon(task)
    return response.code == 200 and await soon(response.payload.read()) == body


async def secure(peer: Stage, certificate: Certificate, **options: Any) -> Any:
    """A client inside TLS, and the server that it has connected to."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.cert, certificate.key)
    if peer.version == "h2":
        tls.set_alpn_protocols(["h2"])
    if peer.listener is None:
        peer.listen(tls)
    trust = ssl.create_default_context(cafile=str(certificate.cert))
    url = f"https://{peer.authority}"
    loop = options.pop("loop", None)
    connecting = asyncio.ensure_future(cno.connect(loop, url, ssl_ctx=trust, **options))
    server = await peer.accept()
    client = await soon(connecting)
    peer.ours.append(client)
    return client, server


async def cancel(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)


async def until(condition: Any) -> None:
    """Lets other tasks run until `condition()` is true."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0)

    await soon(look())


async def until_gone(channel: cno.Channel) -> None:
    """Fills a channel until put() reports that the reader has gone."""
    with pytest.raises(BrokenPipeError):
        while True:
            await channel.put(b"x")


def engines() -> int:
    from cno.engine.binding import Engine

    return sum(type(thing) is Engine for thing in gc.get_objects())


def check_failure(error: BaseException) -> None:
    """A failure can be copied, has a text, and is a ConnectionError."""
    assert isinstance(error, cno.RequestFailed)
    assert isinstance(error, ConnectionError)
    assert str(copy.copy(error)) == str(error)
    assert str(error)
