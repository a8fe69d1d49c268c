"""cno/process/compiled.py: the use of the compiled classes, and the details in which C differs.

The tests of ASGI and of connections run with both kinds of classes, and so show that these serve
alike.
"""

import asyncio
import gc
import logging
import os
import platform
import re
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import rig
from peer import Peer, answer, both, h1, note
from wire import soon

import cno
from cno.engine import fast
from cno.engine.binding import ADDRESSES
from cno.process import compiled

CPYTHON = platform.python_implementation() == "CPython"


@pytest.mark.skipif(not CPYTHON, reason="there is nothing compiled elsewhere")
def test_it_is_what_serves() -> None:
    from cno.engine import _fast

    assert compiled.REQUEST is _fast.Request
    assert compiled.CONNECTION.make_reply is _fast.Reply
    assert issubclass(compiled.CONNECTION, _fast.Connection)
    assert not fast.WHY_NOT


def test_none_is_returned_with_a_reference() -> None:
    """A wheel built with Python 3.12 or 3.13 also runs on 3.10 and 3.11. The macros in the newer
    headers take no reference, because None is immortal there. On the older versions the count of
    references to None would reach 0, and the process would end."""
    for source in (Path(__file__).parents[2] / "cno" / "engine").glob("_fast*.[ch]"):
        code = re.sub("//.*", "", source.read_text())
        assert not re.search(r"\bPy_RETURN_(NONE|TRUE|FALSE|NOTIMPLEMENTED)\b", code), source


class Listening(logging.Handler):
    """Collects the records of the access log, and calls `act` for each record."""

    def __init__(self, act: Any = lambda: None) -> None:
        super().__init__()
        self.act = act
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.act()

    def __enter__(self) -> "Listening":
        logging.getLogger("cno.access").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("cno.access").removeHandler(self)


# ---- what runs of Python -------------------------------------------------------------------------

CNO = str(Path(cno.__file__).parent)


def frames_of_one_request(*, python: bool) -> dict[str, list[str]]:
    """Returns the functions of cno that are entered while one request is served: on the way to the
    application, and on the way back to transport.write()."""
    entered: dict[str, list[str]] = {"before": [], "after": []}
    where = ""

    def profile(frame: Any, event: str, _: object) -> None:
        if event == "call" and where and frame.f_code.co_filename.startswith(CNO):
            entered[where].append(frame.f_code.co_qualname)

    async def app(scope, receive, send):
        nonlocal where
        where = where and "after"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
        await send({"type": "http.response.body", "body": b"hello"})

    async def main() -> None:
        nonlocal where
        server = rig.Rig(app, access_log=False)
        write = server.transport.write

        def written(data: bytes) -> None:
            nonlocal where
            where = ""
            write(data)

        server.transport.write = written
        for _ in range(2):  # the second time all is as it is from then on
            await server.settle()
            server.transport.output.clear()
            where = "before"
            sys.setprofile(profile)
            try:
                server.feed(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
                await server.settle()
            finally:
                sys.setprofile(None)
            assert server.transport.output.endswith(b"hello")
        await server.end()

    rig.run(main, python=python)
    return entered


@pytest.mark.skipif(not CPYTHON, reason="there is nothing compiled elsewhere")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the names of the functions are not known")
def test_an_ordinary_request_enters_no_python_of_cno() -> None:
    """Neither on the way from the transport to the application nor on the way back."""
    assert frames_of_one_request(python=False) == {"before": [], "after": []}
    python = frames_of_one_request(python=True)
    assert {"Connection.data_received", "Request.run"} <= set(python["before"])
    assert {"Request.send", "ServerConnection.responded"} <= set(python["after"])


# ---- without the compiled classes ----------------------------------------------------------------


def run_python(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs Python code in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    given = {**os.environ, **environment}
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60)


# Serves twice, and prints the lines of the log about the classes.
SERVE_TWICE = """
    import asyncio, logging
    from cno import asgi
    from cno.process import compiled

    class Print(logging.Handler):
        def emit(self, record):
            if "classes" in record.msg:
                print(record.levelname, record.getMessage())

    logging.getLogger("cno").addHandler(Print())  # behind all imports
    logging.getLogger("cno").setLevel(logging.INFO)

    import cno

    async def app(scope, receive, send):
        pass

    async def main():
        for _ in range(2):
            async with cno.serve(app, port=0, lifespan="off"):
                assert compiled.REQUEST is asgi.Request

    asyncio.run(main())
    print(compiled.describe())
"""


def test_python_serves_where_extensions_are_not_wanted() -> None:
    """That is a wish, and so no reason for a warning."""
    said = run_python(SERVE_TWICE, CNO_NO_EXTENSIONS="1")
    assert said.stdout.splitlines() == [
        "INFO Serving without the compiled classes: CNO_NO_EXTENSIONS is set",
        "Python classes (CNO_NO_EXTENSIONS is set)",
    ], said.stderr


def test_python_serves_where_extensions_are_missing() -> None:
    missing = """
    import sys
    sys.modules["cno.engine._fast"] = None
    """
    said = run_python(missing + SERVE_TWICE)
    line, described = said.stdout.splitlines()
    prefix = "WARNING Serving without the compiled classes, which is slower: "
    assert line.startswith(prefix + "cno.engine._fast cannot be imported: "), said.stderr
    assert described == f"Python classes ({line[len(prefix) :]})"


@pytest.mark.skipif(not CPYTHON, reason="there is nothing compiled elsewhere")
def test_an_engine_of_another_build_is_an_error() -> None:
    """It never means that Python serves instead."""
    said = run_python(
        """
        import sys, types
        import cno.engine._libcno as real

        class Larger:
            def __getattr__(self, name):
                return getattr(real.ffi, name)

            def sizeof(self, what):
                return real.ffi.sizeof(what) + 8

        sys.modules["cno.engine._libcno"] = types.SimpleNamespace(ffi=Larger(), lib=real.lib)
        from cno.process.cli import main
        """
    )
    assert said.returncode == 1
    size = ADDRESSES[0]
    assert said.stderr.splitlines()[-1] == (
        "ImportError: cno.engine._fast and cno.engine._libcno are of different builds"
        f" (a batch has {size} and {size + 8} bytes): install cno again"
    )


# Imports cno in a subinterpreter, one that shares the lock of the main one where there is a choice.
SUBINTERPRETER = """
    import sys
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    try:
        own = interpreters.create("legacy")
    except TypeError:
        own = interpreters.create(isolated=False)
    code = 'import sys; sys.path[:] = ' + repr(sys.path) + '; '
    code += "from cno.process import compiled; print(compiled.describe(), flush=True)"
    print(interpreters.run_string(own, code), flush=True)
    interpreters.destroy(own)
    from cno.process import compiled
    print(compiled.describe())
"""


@pytest.mark.skipif(not CPYTHON, reason="there are no subinterpreters elsewhere")
def test_a_subinterpreter_that_shares_the_lock() -> None:
    """Each interpreter has classes of its own."""
    said = run_python(SUBINTERPRETER)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == ["compiled classes", "None", "compiled classes"], said.stderr


@both
async def test_fields_are_as_they_were_when_they_were_sent(peer: Peer) -> None:
    async def app(scope, receive, send):
        headers = [(b"x-one", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        headers.append((b"x-two", b"2"))
        await send({"type": "http.response.body", "body": b"ok"})

    response = await (await peer.serve(app)).ask()
    assert response.one("x-one") == "1"
    assert response.one("x-two") is None


@both
async def test_what_send_returns_is_a_coroutine(peer: Peer) -> None:
    """The task groups of anyio and the tasks of asyncio accept nothing but coroutines."""

    async def app(scope, receive, send):
        first = send({"type": "http.response.start", "status": 200})
        assert isinstance(first, Coroutine)
        await asyncio.create_task(first)
        await asyncio.gather(send({"type": "http.response.body", "body": b"ok"}))
        await asyncio.wait_for(send({"type": "http.response.body"}), 5)

    app = note(app)
    assert (await (await peer.serve(app)).ask()).body == b"ok"
    assert await app.done() is None


@both
async def test_nothing_is_sent_before_it_is_awaited(peer: Peer) -> None:
    async def app(scope, receive, send):
        forgotten = send({"type": "http.response.start", "status": 500})
        forgotten.close()
        cancelled = asyncio.create_task(send({"type": "http.response.start", "status": 500}))
        cancelled.cancel()
        await asyncio.wait([cancelled])
        parts = [b"first ", b"second ", b"last"]
        await send({"type": "http.response.start", "status": 200})
        await asyncio.gather(
            *(
                send({"type": "http.response.body", "body": part, "more_body": part != b"last"})
                for part in parts
            )
        )

    assert (await (await peer.serve(app)).ask()).body == b"first second last"


@both
async def test_other_threads_send_through_the_loop(peer: Peer) -> None:
    """A thread calls run_coroutine_threadsafe(), as asgiref does."""
    logged = Listening()

    async def app(scope, receive, send):
        loop = asyncio.get_running_loop()

        def worker() -> None:
            for message in (
                {"type": "http.response.start", "status": 200},
                {"type": "http.response.body", "body": b"ok"},
            ):
                asyncio.run_coroutine_threadsafe(send(message), loop).result(10)

        assert asyncio.iscoroutinefunction(send)
        await loop.run_in_executor(None, worker)

    with logged:
        assert (await (await peer.serve(app)).ask()).body == b"ok"
    assert [record.thread for record in logged.records] == [threading.get_ident()]


@both
async def test_keys_that_cannot_be_compared_raise(peer: Peer) -> None:
    class Key(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            raise LookupError("not to be compared")

    async def app(scope, receive, send):
        for key in ("type", "body", "status"):
            message = {Key(key): "http.response.start"}
            if key != "type":
                message["type"] = f"http.response.{'start' if key == 'status' else key}"
            with pytest.raises(LookupError):
                await send(message)
        await answer(send)

    app = note(app)
    assert (await (await peer.serve(app)).ask()).body == b"ok"
    assert await app.done() is None


@both
async def test_a_task_that_is_running_cannot_be_driven(peer: Peer) -> None:
    async def app(scope, receive, send):
        own = asyncio.current_task().get_coro()
        for drive in (lambda: own.send(None), lambda: own.throw(ValueError()), own.close):
            with pytest.raises(ValueError, match="already executing"):
                drive()
        await answer(send)

    app = note(app)
    assert (await (await peer.serve(app)).ask()).body == b"ok"
    assert await app.done() is None


@h1
async def test_a_log_handler_may_change_the_message(peer: Peer) -> None:
    body = bytes(50000)
    message: dict[str, Any] = {"type": "http.response.body", "body": body[:] + b"."}

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send(message)

    with Listening(message.clear):
        assert (await (await peer.serve(app)).ask()).body == body + b"."


@both
async def test_an_application_may_return_any_awaitable(peer: Peer) -> None:
    class Later:
        def __init__(self, send: Any) -> None:
            self.send = send

        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            yield from answer(self.send).__await__()

    def app(scope, receive, send):
        return Later(send)

    assert (await (await peer.serve(app)).ask()).body == b"ok"


@both
@pytest.mark.parametrize("fails", [lambda *_: 1 / 0, lambda *_: None, lambda: None])
async def test_an_application_that_is_no_coroutine_function(peer: Peer, fails: Any) -> None:
    client = await peer.serve(fails)
    assert (await client.ask()).status == 500
    assert "The application failed" in "".join(peer.log)
    peer.log.clear()


@both
async def test_nothing_outlives_its_use(peer: Peer) -> None:
    """Requests end with their response and connections with their transport, without the help of
    the cyclic garbage collector."""
    requests: list[weakref.ref[Any]] = []
    connections: list[weakref.ref[Any]] = []

    async def app(scope, receive, send):
        requests.append(weakref.ref(send.__self__))
        connections.append(weakref.ref(send.__self__.connection))
        await answer(send)

    client = await peer.serve(app)
    gc.disable()
    try:
        assert (await client.ask()).status == 200
        assert (await client.ask()).status == 200
        assert requests[0]() is None
        client.close()
        await peer.barrier()
        assert connections[0]() is None
    finally:
        gc.enable()


@h1
async def test_a_task_shows_where_its_application_is(peer: Peer) -> None:
    shown = []

    async def deep():
        task = asyncio.current_task()
        assert task is not None
        shown.append((repr(task), [frame.f_code.co_name for frame in task.get_stack()]))

    async def app(scope, receive, send):
        await deep()
        await answer(send)

    assert (await (await peer.serve(app)).ask()).body == b"ok"
    text, frames = shown[0]
    assert "Request.run" in text
    assert frames[-1] in ("app", "run")


@both
async def test_a_task_that_is_cancelled_leaves_its_request_reset(peer: Peer) -> None:
    tasks: asyncio.Queue[Any] = asyncio.Queue()

    async def app(scope, receive, send):
        tasks.put_nowait(asyncio.current_task())
        await asyncio.Event().wait()

    exchange = await (await peer.serve(app)).start()
    (await soon(tasks.get())).cancel()
    assert (await exchange.response()).status == 500
    peer.log.clear()


@h1
async def test_the_coroutine_of_a_request_by_hand(peer: Peer) -> None:
    """A task behaves in the same way if the coroutine is written in Python."""
    turns = []

    async def app(scope, receive, send):
        if not turns:
            turns.append("first")
            await answer(send)
            drive(send.__self__)
        try:
            await asyncio.sleep(0)
        except RuntimeError:
            turns.append("threw")
        except GeneratorExit:
            turns.append("closed")
            raise

    def drive(request):
        run = request.run()
        assert isinstance(run, Coroutine)
        assert run.send(None) is None
        with pytest.raises(StopIteration):
            run.send(None)
        with pytest.raises(RuntimeError, match="already awaited"):
            run.send(None)

        run = request.run()
        run.send(None)
        with pytest.raises(StopIteration):
            run.throw(RuntimeError("in the middle"))
        run.close()

        run = request.run()
        run.send(None)
        run.close()

        run = request.run()
        with pytest.raises(asyncio.CancelledError):
            run.throw(asyncio.CancelledError())
        assert turns == ["first", "threw", "closed"]
        turns.append("driven")

    app = note(app)
    assert (await (await peer.serve(app)).ask()).body == b"ok"
    assert await app.done() is None
    assert turns[-1] == "driven"
