"""From the text "module:attribute", or from any ASGI callable, to an ASGI 3 application."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from typing import Any, cast

from cno.config.errors import StartupFailed
from cno.gateway.interface import App, Receive, Scope, Send


def load(target: Any, *, app_dir: str = ".", factory: bool = False) -> App:
    """The application that `target` names, or is; with `factory`, what it returns.

    Raises StartupFailed where the name leads nowhere, and whatever the imported code raises.
    """
    if target is None:
        raise StartupFailed("no application given; expected module:attribute")
    found = _import(target, os.path.abspath(app_dir)) if isinstance(target, str) else target
    if not callable(found):
        raise StartupFailed(f"{target!r} is not an application: it cannot be called")
    if factory:
        found = found()
        if not callable(found):
            raise StartupFailed(f"the factory {target!r} returned {found!r}: no application")
    return adapt(found)


def _import(target: str, app_dir: str) -> Any:
    name, _, attributes = target.partition(":")
    if not name or not attributes:
        raise StartupFailed(f"cannot import {target!r}: expected module:attribute")
    if app_dir not in sys.path:
        sys.path.insert(0, app_dir)
    try:
        found: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        # What is missing may also be something that the application itself wants to import.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise StartupFailed(
            f"cannot import {target!r}: no module named {error.name!r} in {app_dir} or on sys.path"
        ) from None
    origin = getattr(found, "__file__", None) or "built in"
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise StartupFailed(
                f"cannot import {target!r}: module {name!r} ({origin}) has no {attribute!r}"
            ) from None
    return found


# ---- ASGI 2 -------------------------------------------------------------------------------------


def adapt(app: Any) -> App:
    """`app` itself, or an ASGI 3 callable around it if it is an ASGI 2 double callable."""
    if not _is_double(app):
        return cast(App, app)

    async def single(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope)(receive, send)

    return functools.update_wrapper(single, app) if hasattr(app, "__name__") else single


def _is_double(app: Any) -> bool:
    """Whether `app` takes the scope alone. What takes anything is ASGI 3, unless it is a class."""
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return False
    takes_one, takes_three = _takes(signature, 1), _takes(signature, 3)
    return takes_one and (not takes_three or inspect.isclass(app))


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
