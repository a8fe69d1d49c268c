"""What a user of cno writes, for mypy --strict: see tests/pages/test_typed.py. It is not run.

Each `type: ignore` is a mistake that a type checker is to find; one that is not needed is an error.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import BinaryIO

import cno
from cno import raw

# ---- the server ---------------------------------------------------------------------------------


async def handle(request: cno.Request) -> None:
    method: str = request.method
    path: str = request.path
    headers: list[tuple[str, str]] = request.headers
    octets: list[tuple[bytes, bytes]] = request.raw_headers
    payload: asyncio.StreamReader = request.payload
    server: cno.Server = request.conn
    upgrade: str | None = request.upgrade
    peer: tuple[str, int] | None = server.peer
    print(method, path, headers, octets, upgrade, peer, request.raw_path.hex(), request.trailers)
    request.push("GET", "/index.css", [("x-extra-header", "value")])
    request.inform(103, [(b"link", b"</style.css>")])
    if path == "/octets":
        await request.respond(200, [("content-length", "4"), (b"a", "b")], b"!!!\n")
    elif path == "/nothing":
        await request.respond(204)
        await request.respond(200, body=None)
    elif path == "/file":
        file: BinaryIO
        with open("file", "rb") as file:
            await request.respond(200, [], file)
    elif path == "/echo":
        await request.respond(200, [], payload, trailers=lambda: request.trailers)
    elif path == "/parts":
        await request.respond(200, [], parts(), trailers=[("a", "b")])
        await request.respond(200, [], [b"one", memoryview(b"two")])
    else:
        channel = cno.Channel(4, loop=server.loop)
        await channel.put(b"!!!")
        channel.close()
        channel.close(ValueError("no"))
        await request.respond(200, {"a": "b"}.items(), channel)

    await request.respond("200")  # type: ignore[arg-type]
    await request.respond(200, [], "text")  # type: ignore[arg-type]
    await request.respond(200, [("a", 1)])  # type: ignore[list-item]
    await request.respond(200, trailers=5)  # type: ignore[arg-type]
    request.push("GET")  # type: ignore[call-arg]
    print(request.bodies)  # type: ignore[attr-defined]
    request.path = 1  # type: ignore[misc, assignment]


async def parts() -> AsyncIterator[bytes]:
    yield b"part"


async def serve(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    group = cno.ServerGroup(loop, http2=False, header=["a: b"], timeout_keep_alive=30, upgrade=True)
    listener = await loop.create_server(lambda: cno.Server(loop, handle, group=group), "", 8000)
    await loop.create_server(lambda: cno.Server(None, handle, date_header=False), "", 8001)
    await stop.wait()
    listener.close()
    await group.drain(timeout=10)

    cno.Server(loop, handle, keep_alive=5)  # type: ignore[call-arg]
    cno.Server(loop, handle, http2="yes")  # type: ignore[arg-type]
    cno.Server(loop, stop)  # type: ignore[arg-type]
    cno.ServerGroup(loop, timeout_keep_alive="long")  # type: ignore[arg-type]


async def answers(request: cno.Request) -> int:
    """A handler may return anything."""
    await request.respond(200)
    return 1


cno.Server(None, answers)

# ---- the client ---------------------------------------------------------------------------------


def told(code: int, headers: list[tuple[str, str]]) -> None:
    print(code, headers)


async def ask(context: ssl.SSLContext) -> bytes:
    client = await cno.connect(
        None, "https://example.com/", ssl_ctx=context, ssl_hostname="h", timeout_connect=None
    )
    scheme: str = client.scheme
    loop: asyncio.AbstractEventLoop = client.loop
    transport: asyncio.Transport = client.transport
    is_http2: bool = client.is_http2
    print(scheme, client.authority, loop, transport, is_http2, client.is_closed)
    seconds: float = await client.ping()
    response = await client.request(
        "GET", "/", [("user-agent", "u")], timeout=seconds, inform=told, trailers=[]
    )
    code: int = response.code
    headers: list[tuple[str, str]] = response.headers
    payload: asyncio.StreamReader = response.payload
    print(code, headers, payload, response.raw_headers, response.tunnel, response.conn is client)
    async for push in response.pushed:
        push_path: str = push.path
        pushed: cno.Response = await push.response
        print(push.method, push_path, push.headers, pushed.trailers)
        push.cancel()
        push.nothing()  # type: ignore[attr-defined]
    response.close()
    client.close()
    await client.wait_closed()

    async with await cno.connect(loop, "h2c://h", push=False, ping_interval=5, http2=True) as other:
        same: cno.Client = other
        async with await same.request("POST", "/", (), parts(), timeout=None) as posted:
            print(await posted.payload.readline())
    async with await cno.request(
        None, "PUT", "http://h/", [], b"x", timeout=1, trailers=lambda: [("a", "b")], inform=told
    ) as once:
        once.conn.close()
        return await once.payload.read()


async def mistakes(client: cno.Client, response: cno.Response) -> None:
    await client.request("GET")  # type: ignore[call-arg]
    await client.request("GET", "/", timeout="1")  # type: ignore[arg-type]
    await client.request("GET", "/", [], "text")  # type: ignore[arg-type]
    await client.request("GET", "/", inform=lambda code: None)  # type: ignore[misc, arg-type]
    await cno.connect(None)  # type: ignore[call-arg]
    await cno.connect(None, "http://h", nothing=1)  # type: ignore[call-arg]
    await cno.request(None, "GET", "http://h", timeout="1")  # type: ignore[arg-type]
    await response.push  # type: ignore[attr-defined]
    response.code = "200"  # type: ignore[assignment]
    print(cno.Clinet)  # type: ignore[attr-defined]


async def failures(client: cno.Client) -> None:
    try:
        await client.request("GET", "/")
    except cno.Unprocessed as error:
        again: bool = error.unprocessed
        print(again)
    except cno.StreamReset as error:
        code: int = error.code
        print(code)
    except cno.BadResponse as error:
        print(error.reason.upper())
    except (cno.ConnectionLost, cno.RequestTimeout, cno.RequestFailed):
        pass
    except (cno.TLSFailed, cno.ConnectTimeout, cno.ConnectFailed, cno.ClientDisconnected) as error:
        print(error.unprocessed)  # type: ignore[union-attr]
        connection: ConnectionError = error
        print(connection)


# ---- the engine ---------------------------------------------------------------------------------


class Side(raw.Connection):
    def on_writev(self, chunks: list[bytes]) -> None:
        print(b"".join(chunks))

    def on_message_head(
        self, stream: int, code: int, method: str, path: str, headers: list[tuple[str, str]]
    ) -> None:
        taken: int = self.write_message(stream, 200, "", "", [(b"a", "b")], b"hello", False)
        self.write_tail(stream, [("taken", str(taken))])
        self.write_push(stream, "GET", "/", headers)

    def on_raw_tail(self, stream: int, trailers: list[tuple[bytes, bytes]] | None) -> None:
        super().on_raw_tail(stream, trailers)

    def on_message_tail(self, stream: int, trailers: list[tuple[str, str]] | None) -> None:
        self.write_reset(stream, raw.CNO_RST_CANCEL)

    def on_message_data(self, stream: int, data: str) -> None:  # type: ignore[override]
        pass

    def on_fault(self, stream: int, error: raw.ProtocolError) -> None:
        print(error.reason, error.wire, error.offset)


def engine(side: Side) -> None:
    client = raw.Connection(server=False)
    client.configure(enable_push=1)
    client.limit(fields=20)
    client.manual_flow(connection=True)
    client.connection_made(is_http2=True, h2c=False, prior_knowledge=True, offer_upgrade=False)
    stream: int = client.next_stream
    client.write_head(stream, 0, "GET", "/", [(":scheme", "http")], True)
    urgency, incremental = side.priority(stream)
    print(urgency + 1, incremental is True, client.pending, client.settings_unacked)
    try:
        left: int = client.write_data(stream, b"x", final=True)
        print(left)
    except (raw.StreamGone, raw.WouldBlock, raw.UsageError, raw.Disconnected) as error:
        known: raw.Error = error
        print(known)
    except raw.OutOfMemory as error:
        memory: MemoryError = error
        print(memory)
    client.shutdown(final=False)

    raw.Connection()  # type: ignore[call-arg]
    raw.Connection(True)  # type: ignore[call-arg]
    client.write_data(1, "text", True)  # type: ignore[arg-type]
    client.configure(enable_push="1")  # type: ignore[arg-type]
    client.next_stream = 5  # type: ignore[misc]
