"""The access log: one line at the end of each response."""

from __future__ import annotations

from cno.observe.logs import ACCESS, REFUSED, access


def request(
    peer: str,
    method: str,
    target: str,
    version: str,
    status: int,
    size: int,
    seconds: float,
    *,
    whole: bool,
) -> None:
    """A response has ended: `size` bytes of body were written, `seconds` after its request came.
    One that is not `whole` was cut."""
    access.info(
        ACCESS, peer, method, target, version, status, size, seconds * 1000, "" if whole else " cut"
    )


def refused(peer: str, method: str | None, target: bytes | None, status: int, reason: str) -> None:
    """The engine has answered a request itself. What is not known of it is "-"."""
    shown = target.decode("latin-1") if target else "-"
    access.info(REFUSED, peer, method or "-", shown, status, reason)
