"""Server-sent events with sse-starlette; the streams never end by themselves."""

import asyncio
from collections.abc import AsyncIterator

from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route


async def numbers() -> AsyncIterator[dict[str, int]]:
    """Yields an event every hundredth of a second."""
    number = 0
    while True:
        number += 1
        yield {"data": number}
        await asyncio.sleep(0.01)


async def events(request: Request) -> EventSourceResponse:
    return EventSourceResponse(numbers())


app = Starlette(routes=[Route("/", events)])
