"""One serving unit: an application, its lifespan and its listeners, on the running event loop."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cno.config.options import Config
from cno.gateway.lifespan import Lifespan
from cno.gateway.loader import load
from cno.observe.logs import error as log
from cno.process import listen, tls
from cno.process.site import Gateway

# Seconds for a TLS handshake.
HANDSHAKE = 10.0

# Seconds that applications have, when timeout_graceful_shutdown is over, to end their responses.
FAREWELL = 1.0

# Seconds that connections may take to close once they were cut.
ABORT = 5.0


class Service:
    """Serves `config.app` between `start` and `stop`. For one use, on one event loop."""

    def __init__(self, config: Config, app: Any = None) -> None:
        self.config = config
        self.sockets: list[socket.socket] = []
        self.url = ""
        self._target = config.app if app is None else app
        self._gateway: Gateway | None = None
        self._lifespan: Lifespan | None = None
        self._servers: list[asyncio.Server] = []
        self._stopping: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._forced = asyncio.Event()

    # ---- starting -----------------------------------------------------------------------------

    async def start(self, sockets: list[socket.socket] | None = None) -> None:
        """Returns when requests are served: on `sockets`, which it then owns, or on its own.

        Raises StartupFailed with the reason in one line, or what importing the application raised;
        nothing is left behind then.
        """
        self.sockets = sockets or listen.bind(self.config)
        try:
            await self._start()
        except BaseException:
            await self._give_up()
            raise

    async def _start(self) -> None:
        config = self.config
        app = load(self._target, app_dir=config.app_dir, factory=config.factory)
        secure = tls.context(config)
        log.info("Started server process [%d]", os.getpid())
        self._lifespan = Lifespan(app, config.lifespan)
        if config.lifespan != "off":
            log.info("Waiting for application startup.")
        await self._lifespan.startup()
        if config.lifespan != "off":
            log.info("Application startup complete.")
        loop = asyncio.get_running_loop()
        self._gateway = Gateway(app, config, loop=loop, state=self._lifespan.state)
        for sock in self.sockets:
            await self._listen(sock, self._gateway, secure)
        self.url = listen.url(self.sockets[0], secure=secure is not None)
        log.info("cno running on %s (Press CTRL+C to quit)", self.url)

    async def _listen(
        self, sock: socket.socket, gateway: Gateway, secure: ssl.SSLContext | None
    ) -> None:
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if listen.is_unix(sock) else loop.create_server
        try:
            server = await create(
                gateway.protocol,
                sock=sock,
                backlog=self.config.backlog,
                ssl=secure,
                ssl_handshake_timeout=None if secure is None else HANDSHAKE,
            )
        except OSError as error:
            raise listen.failure(listen.describe(sock), error) from None
        self._servers.append(server)

    async def _give_up(self) -> None:
        self._close_listeners()
        if self._lifespan is not None:
            if self._gateway is not None:
                await self._lifespan.shutdown()
            await self._lifespan.cancel()
        self._stopped.set()

    # ---- stopping -----------------------------------------------------------------------------

    async def stop(self) -> None:
        """Drains: no new connections, no new requests, then the application's shutdown.

        Requests under way may take config.timeout_graceful_shutdown seconds. Then the applications
        are told, and have FAREWELL seconds to end their responses before these are cut.
        """
        self.close()
        await self.wait_closed()

    def close(self) -> None:
        """Begins to stop, once."""
        if self._stopping is None and not self._stopped.is_set():
            self._stopping = asyncio.get_running_loop().create_task(self._stop())

    async def wait_closed(self) -> None:
        """Returns when everything has been stopped."""
        await self._stopped.wait()
        if self._stopping is not None:
            await self._stopping

    @property
    def closing(self) -> bool:
        """Whether close() was called."""
        return self._stopping is not None

    def force(self) -> None:
        """Begins to stop, or goes on with it, without waiting for anybody."""
        self._forced.set()
        self.close()

    async def _stop(self) -> None:
        log.info("Shutting down")
        try:
            self._close_listeners()
            if self._gateway is not None:
                await self._drain(self._gateway)
            if self._lifespan is not None:
                await self._end_lifespan(self._lifespan)
        finally:
            self._stopped.set()
        log.info("Finished server process [%d]", os.getpid())

    async def _drain(self, gateway: Gateway) -> None:
        gateway.shutdown()
        closed = asyncio.ensure_future(gateway.wait_closed())
        # Let idle connections go before saying that there is something to wait for.
        await asyncio.wait({closed}, timeout=0)
        if not closed.done():
            log.info("Waiting for connections to close. (Press CTRL+C to force quit)")
            limit = self.config.timeout_graceful_shutdown
            if not await self._unless_forced(closed, timeout=limit):
                await self._part(gateway, closed, limit)
        closed.cancel()

    async def _part(
        self, gateway: Gateway, closed: asyncio.Future[None], limit: float | None
    ) -> None:
        """Ends what is left: lets applications end their responses, then cuts the connections."""
        if not self._forced.is_set():
            log.error("Connections are still open after %g s: telling their applications", limit)
            gateway.tell()
            if await self._unless_forced(closed, timeout=FAREWELL):
                return
        if not self._forced.is_set():
            log.error("Connections are still open %g s later: cutting them", FAREWELL)
        gateway.abort()
        await asyncio.wait({closed}, timeout=ABORT)

    async def _end_lifespan(self, lifespan: Lifespan) -> None:
        if self.config.lifespan != "off":
            log.info("Waiting for application shutdown.")
        ended = asyncio.ensure_future(lifespan.shutdown())
        if await self._unless_forced(ended):
            if self.config.lifespan != "off":
                log.info("Application shutdown complete.")
        else:
            ended.cancel()
            await lifespan.cancel()

    async def _unless_forced(
        self, what: asyncio.Future[None], timeout: float | None = None
    ) -> bool:
        """Whether `what` came to its end before the timeout and before force()."""
        forced = asyncio.ensure_future(self._forced.wait())
        both: set[asyncio.Future[Any]] = {what, forced}
        await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        if what.done():
            what.result()
        return what.done()

    def _close_listeners(self) -> None:
        if self.config.fd is None:
            listen.unlink(self.sockets)
        for server in self._servers:
            server.close()
        for sock in self.sockets:
            sock.close()


@asynccontextmanager
async def serve(app: Any, **options: Any) -> AsyncIterator[Service]:
    """Serves `app` on the running event loop while the block runs; drains it at the end.

    Gives an object with `.url`, `.sockets`, `.close()` and `.wait_closed()`. The options are those
    of the command line (`port=0` picks a free one). No signal handlers, no logging set-up. Raises
    StartupFailed, or ConfigError and TypeError for the options.
    """
    service = Service(Config(app=app, **options))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
