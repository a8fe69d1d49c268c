"""cno/gateway/loader.py: names to applications, and ASGI 2 to ASGI 3 (id A15)."""

import asyncio
import functools
import sys
from pathlib import Path

import pytest

from cno.config.errors import StartupFailed
from cno.gateway.loader import adapt, load

TESTS = str(Path(__file__).parent.parent / "support")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a module that only this test can see; returns the directory for --app-dir."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(**sources: str) -> str:
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
        return str(tmp_path)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


APP = "async def app(scope, receive, send): pass\n"


def test_module_and_attributes(module) -> None:
    where = module(loaded=APP + "class box: app = app\n")
    assert load("loaded:app", app_dir=where).__name__ == "app"
    assert load("loaded:box.app", app_dir=where).__name__ == "app"
    assert sys.path.count(where) == 1


def test_an_application_is_itself() -> None:
    async def app(scope, receive, send) -> None: ...

    assert load(app) is app


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nosuch:app", "cannot import 'nosuch:app': no module named 'nosuch' in {where}"),
        ("loaded.deep:app", "cannot import 'loaded.deep:app': no module named 'loaded.deep'"),
        ("loaded:nope", "module 'loaded' ({where}/loaded.py) has no 'nope'"),
        ("loaded:app.nope", "has no 'nope'"),
        ("loaded", "cannot import 'loaded': expected module:attribute"),
        (":app", "expected module:attribute"),
        ("loaded:number", "'loaded:number' is not an application"),
        (None, "no application given"),
    ],
)
def test_wrong_names_say_what_and_where(module, target, reason: str) -> None:
    where = module(loaded=APP + "number = 5\n")
    with pytest.raises(StartupFailed) as caught:
        load(target, app_dir=where)
    assert reason.format(where=where) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_import_error_inside_the_module_is_not_disguised(module) -> None:
    where = module(outer="import nosuchthing\n")
    with pytest.raises(ModuleNotFoundError, match="nosuchthing"):
        load("outer:app", app_dir=where)


def test_factory(module) -> None:
    where = module(made=APP + "def make(): return app\ndef bad(): return 5\n")
    assert load("made:make", app_dir=where, factory=True).__name__ == "app"
    with pytest.raises(StartupFailed, match="returned 5"):
        load("made:bad", app_dir=where, factory=True)


# ---- ASGI 2 and 3 -------------------------------------------------------------------------------


async def plain(scope, receive, send) -> None:
    await send(scope["type"])


class Callable3:
    async def __call__(self, scope, receive, send) -> None:
        await send(scope["type"])


class Awaitable3:
    def __init__(self, scope, receive, send) -> None:
        self.said = send(scope["type"])

    def __await__(self):
        return self.said.__await__()


def wrapped(scope, receive, send):
    return plain(scope, receive, send)


def anything(*arguments):
    return plain(*arguments)


async def with_extra(extra, scope, receive, send) -> None:
    await plain(scope, receive, send)


class Class2:
    def __init__(self, scope) -> None:
        self.scope = scope

    async def __call__(self, receive, send) -> None:
        await send(self.scope["type"])


class Loose2(Class2):
    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)


class Callable2:
    def __call__(self, scope):
        return Class2(scope)


def function2(scope):
    return Class2(scope)


def with_extra2(extra, scope):
    return Class2(scope)


@functools.wraps(function2)
def decorated2(*arguments, **options):
    return function2(*arguments, **options)


SINGLE = [plain, Callable3(), Awaitable3, wrapped, anything, functools.partial(with_extra, 1)]
DOUBLE = [Class2, Loose2, Callable2(), function2, functools.partial(with_extra2, 1), decorated2]


def said(app) -> list[str]:
    """What an application sends when it is called as ASGI 3."""
    found = []

    async def send(message) -> None:
        found.append(message)

    async def main() -> None:
        await app({"type": "http"}, None, send)

    asyncio.run(main())
    return found


@pytest.mark.parametrize("app", SINGLE)
def test_asgi3_is_left_alone(app) -> None:
    assert adapt(app) is app
    assert said(adapt(app)) == ["http"]


@pytest.mark.parametrize("app", DOUBLE)
def test_a15_asgi2_is_adapted(app) -> None:
    assert adapt(app) is not app
    assert said(adapt(app)) == ["http"]
