"""A `cno.raw.Connection` that records its events."""

from __future__ import annotations

from typing import Any

from vectors import PREFACE, frame

from cno import raw

HELLO = PREFACE + frame("SETTINGS 0 -") + frame("SETTINGS 0 ACK")


class Recorder(raw.Connection):
    """Records every event as a tuple, in order, and output as ("W", bytes)."""

    def __init__(self, *, server: bool) -> None:
        super().__init__(server=server)
        self.log: list[tuple[Any, ...]] = []

    def on_writev(self, chunks: list[bytes]) -> None:
        self.log.append(("W", b"".join(chunks)))

    def on_close(self) -> None:
        self.log.append(("close",))

    def on_stream_start(self, stream: int) -> None:
        self.log.append(("start", stream))

    def on_stream_end(self, stream: int, code: int, side: int) -> None:
        self.log.append(("end", stream, code, side))

    def on_flow_increase(self, stream: int) -> None:
        self.log.append(("flow", stream))

    def on_message_head(self, *head: Any) -> None:
        self.log.append(("head", *head))

    def on_message_tail(self, *tail: Any) -> None:
        self.log.append(("tail", *tail))

    def on_message_data(self, stream: int, data: bytes) -> None:
        self.log.append(("data", stream, data))

    def on_message_push(self, *push: Any) -> None:
        self.log.append(("push", *push))

    def on_settings(self) -> None:
        self.log.append(("settings",))

    def on_pong(self, payload: bytes) -> None:
        self.log.append(("pong", payload))

    def take(self) -> list[tuple[Any, ...]]:
        log, self.log = self.log, []
        return log

    def kinds(self) -> str:
        return " ".join(str(event[0]) for event in self.take())


def server(*, http2: bool, cls: type[Recorder] = Recorder) -> Recorder:
    conn = cls(server=True)
    conn.connection_made(is_http2=http2)
    if http2:
        conn.data_received(HELLO)
    conn.take()
    return conn


def talk(client: Recorder, server: Recorder) -> tuple[list[Any], list[Any]]:
    """Carries output to the other side until there is none; returns the events of each side."""
    events: tuple[list[Any], list[Any]] = ([], [])
    sides = (client, server)
    busy, gone = True, set()
    while busy:
        busy = False
        for side, other, told in zip(sides, sides[::-1], events, strict=True):
            for event in side.take():
                if event[0] == "W" and other not in gone:
                    busy = True
                    other.data_received(event[1])
                elif event[0] == "close":
                    gone.add(side)
                    told.append(event)
                elif event[0] not in ("W", "start", "settings", "flow"):
                    told.append(event)
    return events
