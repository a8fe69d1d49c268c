"""cno/observe/logs.py: the form of the lines, and the levels."""

import io
import logging

import pytest

from cno.observe import access, logs


@pytest.fixture(autouse=True)
def restore():
    """Restores the loggers after each test."""
    loggers = [logging.getLogger(name) for name in ("cno", "cno.error", "cno.access")]
    before = [(x, x.level, x.handlers[:], x.propagate) for x in loggers]
    yield
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


def test_messages_and_requests(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.error.info("Started")
    logs.error.warning("Hm")
    access.request("127.0.0.1:5000", "GET", "/", "1.1", 200, 13, 0.0042, whole=True)
    access.request("127.0.0.1:5000", "GET", "/%20", "2", 599, 5, 2, whole=False)
    access.refused("127.0.0.1:5000", "GET", b"/a", 414, "line-too-long")
    access.refused("127.0.0.1:5000", None, None, 400, "bad-method")
    out, err = capsys.readouterr()
    assert err == "INFO:     Started\nWARNING:  Hm\n"
    assert out == (
        'INFO:     127.0.0.1:5000 - "GET / HTTP/1.1" 200 OK 13 4.2 ms\n'
        'INFO:     127.0.0.1:5000 - "GET /%20 HTTP/2" 599 5 2000.0 ms cut\n'
        'INFO:     127.0.0.1:5000 - "GET /a" 414 line-too-long\n'
        'INFO:     127.0.0.1:5000 - "- -" 400 bad-method\n'
    )


def test_without_access_log(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(access_log=False)
    access.request("-", "GET", "/", "1.1", 200, 0, 0.0, whole=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("level", "seen"), [("trace", 2), ("debug", 1), ("info", 0)])
def test_levels(level: str, seen: int, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level)
    logs.error.debug("d")
    logs.error.log(logs.TRACE, "t")
    assert capsys.readouterr().err == "".join(["DEBUG:    d\n", "TRACE:    t\n"][:seen])


def test_a_traceback_follows_its_line() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.LevelFormatter())
    logs.error.addHandler(handler)
    try:
        raise ValueError("x")
    except ValueError:
        logs.error.exception("Failed")
    assert stream.getvalue().startswith("ERROR:    Failed\nTraceback")
