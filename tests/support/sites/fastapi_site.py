"""A FastAPI application that uses much of FastAPI."""

import asyncio
import time

from fastapi import (
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    Form,
    HTTPException,
    Request,
    Response,
    UploadFile,
)
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI()
app.add_middleware(CORSMiddleware, allow_origins=["http://localhost"], allow_methods=["*"])
seen = {"streams": 0, "cleaned": 0, "background": 0}


class Item(BaseModel):
    """The JSON body of a request."""

    name: str
    price: float = 0.0


async def resource():
    """A dependency with code that runs after the response."""
    seen["streams"] += 1
    try:
        yield "resource"
    finally:
        seen["cleaned"] += 1


@app.middleware("http")
async def timed(request: Request, call_next):
    began = time.perf_counter()
    response = await call_next(request)
    response.headers["x-time"] = f"{time.perf_counter() - began:.6f}"
    return response


@app.get("/item/{number}")
async def item(number: int, q: str = "nothing"):
    return {"number": number, "q": q}


@app.post("/items", status_code=201)
async def create(item: Item):
    return item


@app.post("/sync")
def sync(item: Item):
    """A plain function, which FastAPI runs in a thread."""
    return {"name": item.name[::-1]}


@app.post("/form")
async def form(file: UploadFile, note: str = Form()):
    return {"note": note, "name": file.filename, "size": len(await file.read())}


@app.get("/depends")
async def depends(name: str = Depends(resource)):
    return name


@app.get("/events")
async def events(name: str = Depends(resource)):
    async def ticks():
        number = 0
        while True:
            number += 1
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.01)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.get("/lines")
def lines():
    """A plain generator, which Starlette runs in threads."""
    return StreamingResponse((f"{number}\n" for number in range(1000)), media_type="text/plain")


@app.post("/upload")
async def upload(request: Request):
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return {"size": size}


@app.get("/cookies")
async def cookies(response: Response, one: str | None = Cookie(None)):
    response.set_cookie("one", "1")
    response.headers["x-mixed"] = "yes"
    return {"one": one}


@app.get("/background")
async def background(tasks: BackgroundTasks):
    tasks.add_task(lambda: seen.update(background=seen["background"] + 1))
    return {"ok": True}


@app.get("/teapot")
async def teapot():
    raise HTTPException(418, "short and stout", headers={"X-Pot": "tea"})


@app.get("/fail")
async def fail():
    raise RuntimeError("as it was asked to")


@app.get("/report")
async def report():
    return seen
