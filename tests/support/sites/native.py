"""The exchanges of interop.py on cno.Server: `native.py CERT KEY` serves with and without TLS."""

import asyncio
import hashlib
import signal
import ssl
import sys

from interop import BLOCK

import cno

gone = 0


async def handle(request):
    """Answers like the application in interop.py; `/push` also pushes a response."""
    name, _, size = request.path[1:].partition("/")
    if name == "bytes":
        body = (BLOCK * (int(size) // len(BLOCK) + 1))[: int(size)]
        await request.respond(200, [], body)
    elif name == "status":
        await request.respond(int(size), [], b"as you like it")
    elif name == "gone":
        await request.respond(200, [], b"%d" % gone)
    elif name in SPECIAL:
        await SPECIAL[name](request)
    else:
        await request.respond(200, [], b"hello over " + request.conn.http_version.encode())


async def stream(request):
    await request.respond(200, [], (b"%099d\n" % number for number in range(100)))


async def parts(request):
    while part := await request.payload.read(65536):
        yield part


async def echo(request):
    """Sends the body and the trailers back."""
    await request.respond(200, [], parts(request), trailers=lambda: request.trailers)


async def digest(request):
    found = hashlib.sha256()
    async for part in parts(request):
        found.update(part)
    await request.respond(200, [], found.hexdigest().encode())


async def events(request):
    global gone

    async def ever():
        while True:
            yield b"data: x\n\n"
            await asyncio.sleep(0.01)

    try:
        await request.respond(200, [("content-type", "text/event-stream")], ever())
    finally:
        gone += 1


async def hints(request):
    request.inform(103, [("link", "</style.css>; rel=preload")])
    await request.respond(200, [], b"hinted")


async def trailers(request):
    await request.respond(200, [], b"body", trailers=[("x-sum", "4")])


async def push(request):
    for number in range(3):
        request.push("GET", f"/bytes/{number}", [("x-number", str(number))])
    await request.respond(200, [], b"page")


SPECIAL = {
    "stream": stream,
    "echo": echo,
    "digest": digest,
    "events": events,
    "hints": hints,
    "trailers": trailers,
    "push": push,
}


async def main():
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(*sys.argv[1:3])
    secure.set_alpn_protocols(["h2", "http/1.1"])
    loop = asyncio.get_running_loop()
    group = cno.ServerGroup(loop)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    servers = []
    for scheme, tls in (("http", None), ("https", secure)):
        make = lambda: cno.Server(loop, handle, group=group)  # noqa: E731
        server = await loop.create_server(make, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        print(f"cno running on {scheme}://127.0.0.1:{port} (", flush=True)
        servers.append(server)
    await stop.wait()
    for server in servers:
        server.close()
    await group.drain(timeout=5)


asyncio.run(main())
