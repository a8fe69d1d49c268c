"""Imports an application named "module:attribute" and adapts ASGI 2 applications to ASGI 3."""

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
    """Returns an ASGI 3 application.

    `target` is the application itself or its name "module:attribute", which is imported with
    `app_dir` on sys.path. With `factory`, `target` is a function that returns the application.
    Raises StartupFailed for a name without an application, and whatever exception the imported code
    or the factory raises.
    """
    if target is None:
        raise StartupFailed("no application given; expected module:attribute")
    found = _import(target, os.path.abspath(app_dir)) if isinstance(target, str) else target
    if not callable(found):
        raise StartupFailed(f"{target!r} is not an application: the object is not callable")
    if factory:
        found = found()
        if not callable(found):
            raise StartupFailed(f"the factory {target!r} returned {found!r}, not an application")
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
        # A module that the application itself imports may be the missing one.
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
    """Returns `app`, or an ASGI 3 callable around `app` if that is an ASGI 2 double callable."""
    if not _is_double(app):
        return cast(App, app)

    async def single(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope)(receive, send)

    return functools.update_wrapper(single, app) if hasattr(app, "__name__") else single


def _is_double(app: Any) -> bool:
    """Whether `app` is called with the scope alone, as in ASGI 2.

    A callable that accepts one argument and three counts as ASGI 3, unless it is a class.
    """
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return False
    takes_one, takes_three = _takes(signature, 1), _takes(signature, 3)
    return takes_one and (not takes_three or inspect.isclass(app))


def _takes(signature: inspect.Signature, count: int) -> bool:
    """Whether a callable accepts `count` positional arguments."""
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
