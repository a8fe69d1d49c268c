"""Starts servers in processes of their own."""

import http.client
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

TESTS = Path(__file__).resolve().parent

# The time limit, in seconds, for every single step of a server.
PATIENCE = 20.0

READY = "cno running on "

# Options that make the server choose a free port.
FREE = ("--port", "0")


class Server:
    """A process: `python -m cno`, or another `program` of Python, or another `executable`.

    `lines` has the output so far, standard output and standard error together.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: str | os.PathLike[str] = TESTS,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        program: Sequence[str] = ("-m", "cno"),
        executable: str = sys.executable,
    ) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CNO_", "UVICORN_"))}
        self.lines: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [executable, *program, *arguments],
            cwd=cwd,
            env={**clean, "PYTHONUNBUFFERED": "1", **(env or {})},
            pass_fds=pass_fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._new.put(line.rstrip("\n"))
        self._new.put(None)

    @property
    def output(self) -> str:
        """The output so far."""
        return "\n".join(self.lines)

    def expect(self, text: str) -> str:
        """Waits for a line that contains `text`, from the first line that was not read yet."""
        while True:
            try:
                line = self._new.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"no {text!r} in time, but:\n{self.output}") from None
            if line is None:
                self._new.put(None)
                raise AssertionError(f"no {text!r} to the end, but:\n{self.output}")
            self.lines.append(line)
            if text in line:
                return line

    def ready(self) -> str:
        """Waits until the server has started; returns the URL that it prints."""
        return self.expect(READY).split(READY)[1].split(" (")[0]

    def send(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal to this process alone."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Waits until the process ends; returns the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while (line := self._new.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
        self._new.put(None)
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and waits until the process ends; returns the exit code."""
        self.send(number)
        return self.wait()

    def kill(self) -> None:
        """Kills the process and the processes that it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def running(*arguments: str, **options) -> Iterator[Server]:
    """Starts a server, and kills it at the end of the block. Server.ready() waits for the start."""
    server = Server(*arguments, **options)
    try:
        yield server
    finally:
        server.kill()


def read_all(client: socket.socket) -> bytes:
    """Reads until the peer closes or resets the connection; returns what was read."""
    got = b""
    try:
        while piece := client.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


# ---- requests and short runs --------------------------------------------------------------------


def ask(url: str, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    """Makes a GET request and returns the response, which has its body as `.text`."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.text = response.read().decode()
        return response
    finally:
        connection.close()


def half_a_request(url: str) -> socket.socket:
    """Opens a connection and sends a request whose body of five bytes is missing."""
    where = urlsplit(url)
    client = socket.create_connection((where.hostname, where.port), PATIENCE)
    client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n")
    return client


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m cno` until the process ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "cno", *arguments],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
