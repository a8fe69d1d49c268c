"""The binding to libcno, the engine in C: connections, events, errors, fields."""
