"""The server: connections, groups of connections, replies, and the requests of `cno.Server`."""
