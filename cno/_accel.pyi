from collections.abc import Callable
from typing import Any

class Connection:
    def attach(self, engine: Any, address: int, /) -> None: ...

class Request: ...
class Send: ...

def bind(
    addresses: tuple[int, ...],
    quantum: int,
    loads: Callable[[Any], Any],
    http_scope: Callable[..., Any],
    asgi: dict[str, str],
    awaited: Callable[[Any], Any],
    /,
) -> None: ...
