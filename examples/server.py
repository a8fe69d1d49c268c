"""python examples/server.py --port 8000

A server on cno.Server. `/` is a page that pushes its style sheet, `/stream` sends lines one by one,
`/upload-size` counts the bytes of an upload, `/echo` sends an upload back. --cert and --key switch
TLS on, which browsers need for HTTP/2. Ctrl-C drains the server.
"""

import argparse
import asyncio
import contextlib
import signal
import ssl

import cno

PAGE = b"<!doctype html><link rel=stylesheet href=/style.css><h1>Hello from cno!</h1>\n"
STYLE = b"h1 { color: seagreen }\n"


async def handle(request: cno.Request) -> None:
    """Answers one request."""
    path = request.path.partition("?")[0]
    if path == "/":
        # Pushed resources inherit :authority and :scheme from the request unless overriden.
        request.push("GET", "/style.css", [("accept", "text/css")])
        await request.respond(200, [("content-type", "text/html")], PAGE)
    elif path == "/style.css":
        await request.respond(200, [("content-type", "text/css")], STYLE)
    elif path == "/stream":
        await stream(request)
    elif path == "/upload-size":
        size = 0
        while data := await request.payload.read(65536):
            size += len(data)
        await request.respond(200, [], b"%d\n" % size)
    elif path == "/echo":
        await request.respond(200, [], request.payload)
    else:
        await request.respond(404, [("content-length", "7")], b"no way\n")


async def stream(request: cno.Request, lines: int = 10) -> None:
    """Sends a body while another task makes the body. When the client leaves, put() raises."""
    channel = cno.Channel(1, loop=request.conn.loop)

    async def fill() -> None:
        with contextlib.suppress(BrokenPipeError):
            for number in range(lines):
                await channel.put(b"line %d\n" % number)
                await asyncio.sleep(0.1)
        channel.close()

    filling = asyncio.create_task(fill())
    await request.respond(200, [("content-type", "text/plain")], channel)
    await filling


async def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--cert", help="certificate (PEM); switches TLS on")
    parser.add_argument("--key", help="private key (PEM), if not in the certificate's file")
    args = parser.parse_args()

    context = None
    if args.cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(args.cert, args.key)
        # ALPN tells clients that the server has HTTP/2.
        context.set_alpn_protocols(["h2", "http/1.1"])

    loop = asyncio.get_running_loop()
    group = cno.ServerGroup(loop)
    server = await loop.create_server(
        lambda: cno.Server(loop, handle, group=group), args.host, args.port, ssl=context
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    scheme, port = "https" if context else "http", server.sockets[0].getsockname()[1]
    print(f"cno running on {scheme}://{args.host}:{port} (Press CTRL+C to quit)", flush=True)
    await stop.wait()
    server.close()
    await group.drain(timeout=10)


if __name__ == "__main__":
    asyncio.run(main())
