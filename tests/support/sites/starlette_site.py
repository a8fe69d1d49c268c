"""A Starlette application that uses much of Starlette."""

import asyncio
import contextlib

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

BLOCK = bytes(65536)
seen = dict.fromkeys(("streams", "cleaned", "uploads", "downloads", "disconnects", "background"), 0)


@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"numbers": [1, 2, 3], "name": "state"}


async def hello(request):
    return JSONResponse({"version": request.scope["http_version"], "path": request.url.path})


async def state(request):
    request.state.name += "!"
    request.state.numbers.append(4)
    return JSONResponse({"name": request.state.name, "numbers": request.state.numbers})


async def item(request):
    return JSONResponse({"id": request.path_params["id"], "q": request.query_params.get("q")})


async def double(request):
    data = await request.json()
    return JSONResponse({key: value * 2 for key, value in data.items()})


async def form(request):
    async with request.form() as fields:
        upload = fields["file"]
        size = len(await upload.read())
        return JSONResponse({"note": fields["note"], "name": upload.filename, "size": size})


async def upload(request):
    """Reads the body; with ?slow, at most a few hundred pieces per second."""
    size = 0
    slow = "slow" in request.query_params
    try:
        async for piece in request.stream():
            seen["uploads"] += not size
            size += len(piece)
            if slow:
                await asyncio.sleep(0.001)
    except ClientDisconnect:
        seen["disconnects"] += 1
        raise
    return JSONResponse({"size": size})


async def download(request):
    async def pieces():
        seen["downloads"] += 1
        for _ in range(request.path_params["size"] // len(BLOCK)):
            yield BLOCK
        yield BLOCK[: request.path_params["size"] % len(BLOCK)]

    return StreamingResponse(pieces(), media_type="application/octet-stream")


async def events(request):
    """Sends server-sent events; with ?fast, without a pause."""
    fast = "fast" in request.query_params

    async def ticks():
        seen["streams"] += 1
        number = 0
        try:
            while True:
                number += 1
                yield f"data: {number}\n\n"
                await asyncio.sleep(0 if fast else 0.01)
        finally:
            seen["cleaned"] += 1

    return StreamingResponse(ticks(), media_type="text/event-stream")


async def report(request):
    return JSONResponse(seen)


async def fail(request):
    raise RuntimeError("as it was asked to")


async def fail_late(request):
    async def pieces():
        yield b"part"
        raise RuntimeError("in the middle")

    return StreamingResponse(pieces())


async def redirect(request):
    return RedirectResponse("/item/5?q=redirected")


async def cookies(request):
    response = JSONResponse(request.cookies)
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", httponly=True)
    return response


async def empty(request):
    return Response(status_code=204)


async def background(request):
    from starlette.background import BackgroundTask

    async def work():
        seen["background"] += 1

    return JSONResponse({"ok": True}, background=BackgroundTask(work))


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["x-stamp"] = request.method
        return response


class Plain:
    """A middleware at the level of ASGI, without Starlette's request class."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def stamped(message):
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-plain", b"yes"))
            await send(message)

        await self.app(scope, receive, stamped)


routes = [
    Route("/", hello),
    Route("/state", state),
    Route("/item/{id:int}", item),
    Route("/double", double, methods=["POST"]),
    Route("/form", form, methods=["POST"]),
    Route("/upload", upload, methods=["POST", "PUT"]),
    Route("/download/{size:int}", download),
    Route("/events", events),
    Route("/report", report),
    Route("/fail", fail),
    Route("/fail-late", fail_late),
    Route("/redirect", redirect),
    Route("/cookies", cookies),
    Route("/empty", empty),
    Route("/background", background),
]

app = Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(Plain)])
wrapped = Starlette(
    routes=routes,
    lifespan=lifespan,
    middleware=[Middleware(GZipMiddleware), Middleware(Stamp), Middleware(Plain)],
)
