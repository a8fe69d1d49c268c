"""A process that serves: the command, signals, listening sockets, TLS, the event loop."""
