"""Serves one application on the running event loop: its lifespan, its listeners, their end."""

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
from cno.process import compiled, listen, tls
from cno.process.site import Site

# Seconds that a client has for the TLS handshake.
HANDSHAKE = 10.0

# Seconds that applications have to end their responses once timeout_graceful_shutdown has passed.
FAREWELL = 1.0

# Seconds to wait for the transports and the applications of connections that were cut.
ABORT = 5.0


class Service:
    """Serves an application from `start` to `stop`, once, on one event loop.

    The application is `app`, or else `config.app`. After `start`, `sockets` are the listening
    sockets and `url` is the address of the first one.
    """

    def __init__(self, config: Config, app: Any = None) -> None:
        self.config = config
        self.sockets: list[socket.socket] = []
        self.url = ""
        self._target = config.app if app is None else app
        self._site: Site | None = None
        self._lifespan: Lifespan | None = None
        self._servers: list[asyncio.Server] = []
        self._stopping: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._forced = asyncio.Event()

    # ---- starting -----------------------------------------------------------------------------

    async def start(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application and listens; returns when requests are served.

        `sockets` are bound sockets, which the service takes over; without them the service binds
        those of the configuration. Raises StartupFailed with the reason in one line, or whatever
        exception the import of the application raised. After a failure no socket is left open and
        no task is left running.
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
        compiled.announce()
        self._lifespan = Lifespan(app, config.lifespan)
        if config.lifespan != "off":
            log.info("Waiting for application startup.")
        await self._lifespan.startup()
        if config.lifespan != "off":
            log.info("Application startup complete.")
        loop = asyncio.get_running_loop()
        self._site = Site(app, config, loop=loop, state=self._lifespan.state)
        for sock in self.sockets:
            await self._listen(sock, self._site, secure)
        self.url = listen.url(self.sockets[0], secure=secure is not None)
        log.info("cno running on %s (Press CTRL+C to quit)", self.url)

    async def _listen(self, sock: socket.socket, site: Site, secure: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if listen.is_unix(sock) else loop.create_server
        try:
            server = await create(
                site.protocol,
                sock=sock,
                backlog=self.config.backlog,
                ssl=secure,
                ssl_handshake_timeout=None if secure is None else HANDSHAKE,
            )
        except OSError as error:
            raise listen.failure(listen.describe(sock), error) from None
        self._servers.append(server)

    async def _give_up(self) -> None:
        """Undoes what a start has done before it failed."""
        self._close_listeners()
        if self._lifespan is not None:
            if self._site is not None:
                await self._lifespan.shutdown()
            await self._lifespan.cancel()
        self._stopped.set()

    # ---- stopping -----------------------------------------------------------------------------

    async def stop(self) -> None:
        """Drains: no new connections, no new requests, then the application's shutdown.

        Requests under way have config.timeout_graceful_shutdown seconds. Then receive() returns
        http.disconnect to their applications, which have FAREWELL seconds to end the responses.
        The connections that are still open then are cut.
        """
        self.close()
        await self.wait_closed()

    def close(self) -> None:
        """Begins to stop. Further calls do nothing."""
        if self._stopping is None and not self._stopped.is_set():
            self._stopping = asyncio.get_running_loop().create_task(self._stop())

    async def wait_closed(self) -> None:
        """Returns when the server has stopped."""
        await self._stopped.wait()
        if self._stopping is not None:
            await self._stopping

    @property
    def closing(self) -> bool:
        """Whether the server has begun to stop."""
        return self._stopping is not None

    def force(self) -> None:
        """Stops without waiting for requests or for the application's shutdown.

        Also shortens a stop that has begun.
        """
        self._forced.set()
        self.close()

    async def _stop(self) -> None:
        log.info("Shutting down")
        try:
            self._close_listeners()
            if self._site is not None:
                await self._drain(self._site)
            if self._lifespan is not None:
                await self._end_lifespan(self._lifespan)
        finally:
            self._stopped.set()
        log.info("Finished server process [%d]", os.getpid())

    async def _drain(self, site: Site) -> None:
        site.shutdown()
        closed = asyncio.ensure_future(site.wait_closed())
        # Idle connections close within a turn of the loop. The message is about the others.
        await asyncio.wait({closed}, timeout=0)
        if not closed.done():
            log.info("Waiting for connections to close. (Press CTRL+C to force quit)")
            limit = self.config.timeout_graceful_shutdown
            if not await self._unless_forced(closed, timeout=limit):
                await self._part(site, closed, limit)
        closed.cancel()

    async def _part(self, site: Site, closed: asyncio.Future[None], limit: float | None) -> None:
        """Ends the connections that a drain of `limit` seconds has left.

        The applications get FAREWELL seconds to end their responses, unless force() was called.
        """
        if not self._forced.is_set():
            log.error("Connections are still open after %g s", limit)
            if site.tell() and await self._unless_forced(closed, timeout=FAREWELL):
                return
        if not self._forced.is_set():
            log.error("Cutting the connections that are left")
        site.abort()
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
        """Waits until `what` is done, the timeout is over or force() was called.

        Returns whether `what` is done; raises its exception.
        """
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
    """Serves `app` on the running event loop while the block runs; drains at the end of the block.

    The block gets an object with `.url`, `.sockets`, `.close()` and `.wait_closed()`. The options
    are those of the command line; `port=0` picks a free port. Neither signal handlers nor loggers
    are set up. Raises StartupFailed when the start fails, ConfigError for the value of an option,
    TypeError for its name.
    """
    service = Service(Config(app=app, **options))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
