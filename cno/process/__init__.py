"""The process around a server: the command, signals, listening sockets, TLS, the event loop."""
