"""The access log: one line at the end of each response, and one for each refused request."""

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
    """Logs the end of a response.

    `size` is the number of bytes of the body that were written, and `seconds` is the time since the
    head of the request has come. A response that is not `whole` is marked as cut.
    """
    access.info(
        ACCESS, peer, method, target, version, status, size, seconds * 1000, "" if whole else " cut"
    )


def refused(peer: str, method: str | None, target: bytes | None, status: int, reason: str) -> None:
    """Logs a request that the engine has answered by itself. Unknown parts are logged as "-".

    `reason` is the word of the fault, as in docs/engine.md.
    """
    shown = target.decode("latin-1") if target else "-"
    access.info(REFUSED, peer, method or "-", shown, status, reason)
