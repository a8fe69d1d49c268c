"""python examples/client.py http://127.0.0.1:8000/

A client on cno.request: prints responses, and the responses that the server pushes. Besides http://
and https://, h2c:// is HTTP/2 without TLS, and h2:// is HTTP/2 over TLS whatever ALPN has chosen.
"""

import argparse
import asyncio
import contextlib
import ssl
import sys

import cno


async def show(response: cno.Response, title: str) -> None:
    """Prints a response while its body arrives."""
    print(f"--- {title}: {response.code}")
    for name, value in response.headers:
        print(f"{name}: {value}")
    print(flush=True)
    while data := await response.payload.read(65536):
        sys.stdout.buffer.write(data)
    sys.stdout.flush()
    for name, value in response.trailers:
        print(f"{name}: {value}")


async def show_pushes(response: cno.Response) -> None:
    """Prints the responses that the server pushes."""
    async for push in response.pushed:
        await show(await push.response, f"pushed: {push.method} {push.path}")


async def main() -> None:
    """Makes a request for each URL on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="+")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--data", help="a file to send as the body")
    parser.add_argument("--cacert", help="certificates (PEM) to trust instead of the system's")
    args = parser.parse_args()

    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=args.cacert) if args.cacert else None
    headers = [("user-agent", "cno-example")]
    for url in args.url:
        with open(args.data, "rb") if args.data else contextlib.nullcontext() as body:
            async with await cno.request(
                loop, args.method, url, headers, body, ssl_ctx=context
            ) as response:
                version = "HTTP/2" if response.conn.is_http2 else "HTTP/1.1"
                await show(response, f"{version} {args.method} {url}")
                await show_pushes(response)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (OSError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
