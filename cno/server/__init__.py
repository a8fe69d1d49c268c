"""The server role: connections, requests of `cno.Server`, groups of connections. No ASGI."""
