"""cno-asgi starlette_app:app --app-dir examples

A Starlette application (`pip install starlette`) with a lifespan, an upload, a download and
server-sent events.
"""

import asyncio
import contextlib

from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route


@contextlib.asynccontextmanager
async def lifespan(app):
    """Yields the attributes of request.state for every request."""
    yield {"greeting": "Hello"}


async def hello(request):
    """Answers with the state of the lifespan and the version of HTTP."""
    return JSONResponse(
        {
            "message": f"{request.state.greeting} from Starlette",
            "http_version": request.scope["http_version"],
        }
    )


async def upload(request):
    """Counts the bytes of the body while the body arrives."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return JSONResponse({"size": size})


async def download(request):
    """Sends zeros; the path has the number of MiB."""

    async def pieces():
        for _ in range(16 * request.path_params["mebibytes"]):
            yield bytes(65536)

    return StreamingResponse(pieces(), media_type="application/octet-stream")


async def events(request):
    """Sends server-sent events until the client leaves."""

    async def ticks():
        number = 0
        while True:
            number += 1
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(ticks(), media_type="text/event-stream")


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", hello),
        Route("/upload", upload, methods=["POST", "PUT"]),
        Route("/download/{mebibytes:int}", download),
        Route("/events", events),
    ],
)
