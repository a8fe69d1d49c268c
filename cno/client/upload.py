"""Writing the body of a request."""

from __future__ import annotations

import asyncio

from cno.client.connection import ClientConnection
from cno.client.errors import RequestFailed
from cno.client.exchange import Exchange
from cno.engine.errors import Disconnected, StreamGone, UsageError
from cno.engine.fields import Trailers, trailing
from cno.transport.body import OCTETS, Body, octets_of, release, write_parts

# Seconds that a request with `expect: 100-continue` waits for the server to want its body (RFC 9110
# section 10.1.1): a server that does not know of the field says nothing.
EXPECT = 1.0


async def upload(
    conn: ClientConnection, exchange: Exchange, body: Body, trailers: Trailers
) -> None:
    """Writes the body, and releases it. An error of the body is an error of the exchange."""
    exchange.uploads = True
    try:
        try:
            if await exchange.is_wanted(EXPECT):
                exchange.rest()  # the server need do nothing while the first part is made
                await _write(conn, exchange, body, trailers)
                exchange.uploaded()
                conn.said_all()
            else:
                exchange.withhold()
                conn.doom(exchange)
        finally:
            await release(body)
    except (StreamGone, Disconnected, conn.gone_error):
        exchange.uploading = None  # the response is complete without the body, or has failed
    except UsageError as error:
        _fail(conn, exchange, ValueError(f"the request cannot be sent: {error}"))
    except asyncio.CancelledError:
        if exchange.uploading is not None:  # not by stop(): something in the body was cancelled
            _fail(conn, exchange, RequestFailed("the body of the request was cancelled"))
        raise
    except Exception as error:
        _fail(conn, exchange, error)


async def _write(
    conn: ClientConnection, exchange: Exchange, body: Body, trailers: Trailers
) -> None:
    if trailers is None and isinstance(body, OCTETS) and not exchange.tunnel:
        # The end of the body goes with its last byte: the response may be complete behind that.
        await conn.write_body(exchange, octets_of(body), 0, True)
        return
    await write_parts(conn, exchange, body)
    if exchange.tunnel and conn.half_close():
        pass
    elif trailers is None:
        conn.engine.write(exchange.id, b"", True)
    else:
        conn.engine.tail(exchange.id, trailing(trailers))


def _fail(conn: ClientConnection, exchange: Exchange, error: Exception) -> None:
    exchange.fail_upload(error)
    conn.abandon(exchange)
