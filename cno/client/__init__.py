"""The client role: `cno.Client`, `cno.connect` and `cno.request`."""
