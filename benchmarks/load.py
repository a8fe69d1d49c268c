"""The load generators: how wrk and h2load are called, and what their reports say."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, Literal

HERE = Path(__file__).resolve().parent
Protocol = Literal["h1", "h2"]
Headers = tuple[tuple[str, str], ...]

# Neither a round nor its calibration may ask for more than this, however fast the server is.
MAX_REQUESTS = 5_000_000
# A server that stops answering ends the round as a failure after this many seconds.
STALL_SECONDS = 10

TOOLS = {
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "curl": "curl",
    "taskset": "util-linux",
}


@dataclass(frozen=True)
class Load:
    """What one case asks for. `streams` is concurrent requests per connection (1 on HTTP/1.1)."""

    protocol: Protocol
    path: str
    connections: int
    streams: int
    headers: Headers
    body_size: int  # bytes of the expected response body
    upload: int = 0  # bytes of request body; 0: GET, without one
    tool: Literal["wrk", "h2load"] = "h2load"
    warmup: int = 0  # requests of the warm-up; 0: as many as there are in the seconds for it


@dataclass(frozen=True)
class Outcome:
    """One run of a load generator: finished requests, wall-clock seconds, and what went wrong."""

    requests: int
    seconds: float
    failure: str = ""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0


def header_arguments(headers: Headers) -> list[str]:
    """The -H options; curl, wrk and h2load read them alike."""
    return [part for name, value in headers for part in ("-H", f"{name}: {value}")]


def run(load: Load, port: int, core: int, *, seconds: int, requests: int = 0) -> Outcome:
    """Load 127.0.0.1:`port` from CPU `core` for `seconds`.

    With `requests` above 0, h2load sends exactly that many instead, so that none is cut off at the
    end and counted as CPU but not as a request; wrk can only be bounded by time (it leaves at most
    one request per connection uncounted).
    """
    url = f"http://127.0.0.1:{port}{load.path}"
    requests = min(requests, MAX_REQUESTS)
    tool = _wrk(load, seconds) if load.tool == "wrk" else _h2load(load, seconds, requests)
    command = ["taskset", "-c", str(core), *tool, url]
    limit = 6 * seconds + 2 * STALL_SECONDS
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return Outcome(0, float(limit), f"{command[3]} did not finish within {limit} s")
    if done.returncode != 0:
        return Outcome(0, 0.0, f"{command[3]}: {last_line(done.stderr + done.stdout)}")
    if load.tool == "wrk":
        return parse_wrk(done.stdout, load)
    outcome = parse_h2load(done.stdout, load)
    if requests and not outcome.failure and outcome.requests != requests:
        return replace(outcome, failure=f"h2load: {outcome.requests} of {requests} requests made")
    return outcome


@cache
def upload_file(size: int) -> IO[bytes]:
    """A file of `size` bytes for uploads; it is gone when the program ends."""
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    file.write(b"0123456789abcdef" * (size // 16) + b"." * (size % 16))
    file.flush()
    return file


def _wrk(load: Load, seconds: int) -> list[str]:
    bound = ["-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", f"{STALL_SECONDS}s"]
    return ["wrk", *bound, "-s", str(HERE / "wrk_report.lua"), *header_arguments(load.headers)]


def _h2load(load: Load, seconds: int, requests: int) -> list[str]:
    bound = [f"-n{requests}"] if requests else ["-D", str(seconds)]
    fixed = ["h2load", "-t1", f"-c{load.connections}", f"-m{load.streams}", *bound]
    fixed += ["--h1"] if load.protocol == "h1" else []
    fixed += ["-d", upload_file(load.upload).name] if load.upload else []
    return [*fixed, "-N", f"{STALL_SECONDS}s", *header_arguments(load.headers)]


def last_line(text: str) -> str:
    """The last line of `text` that is not blank."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def parse_wrk(report: str, load: Load) -> Outcome:
    """Read the `exact:` line of wrk_report.lua. Any error, or too few octets, is a failure."""
    match = re.search(r"^exact: (.+)$", report, re.MULTILINE)
    if match is None:
        return Outcome(0, 0.0, f"wrk: {last_line(report)}")
    fields = {key: int(value) for key, value in (part.split("=") for part in match[1].split())}
    problems = [
        f"{name} {fields[name]}"
        for name in ("connect", "read", "write", "status", "timeout")
        if fields[name]
    ]
    failure = "wrk errors: " + ", ".join(problems) if problems else ""
    if not failure and fields["requests"] == 0:
        failure = "wrk: no request finished"
    if not failure and fields["bytes"] < fields["requests"] * load.body_size:
        failure = f"wrk: {fields['bytes']} octets read are too few for {fields['requests']} bodies"
    return Outcome(fields["requests"], fields["duration"] / 1e6, failure)


_H2_REQUESTS = re.compile(
    r"requests: (?P<total>\d+) total, (?P<started>\d+) started, (?P<done>\d+) done, "
    r"(?P<succeeded>\d+) succeeded, (?P<failed>\d+) failed, (?P<errored>\d+) errored, "
    r"(?P<timeout>\d+) timeout"
)
_H2_TIME = re.compile(r"finished in ([\d.]+)(us|ms|s|m)\b")
_H2_STATUS = re.compile(r"status codes: (\d+) 2xx")
_H2_DATA = re.compile(r"\((\d+)\) data")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def parse_h2load(report: str, load: Load) -> Outcome:
    """Read h2load's report. Any failed request, other status or wrong octet count is a failure."""
    counts, took = _H2_REQUESTS.search(report), _H2_TIME.search(report)
    status, data = _H2_STATUS.search(report), _H2_DATA.search(report)
    if counts is None or took is None or status is None or data is None:
        return Outcome(0, 0.0, f"h2load: {last_line(report)}")
    numbers = {name: int(value) for name, value in counts.groupdict().items()}
    bad = [name for name in ("failed", "errored", "timeout") if numbers[name]]
    failure = "h2load: " + ", ".join(f"{numbers[name]} {name}" for name in bad) if bad else ""
    succeeded = numbers["succeeded"]
    if not failure and succeeded == 0:
        failure = "h2load: no request finished"
    if not failure and int(status[1]) < succeeded:
        failure = f"h2load: {succeeded - int(status[1])} answers were not 2xx"
    if not failure and int(data[1]) < succeeded * load.body_size:
        failure = f"h2load: {data[1]} octets of DATA for {succeeded} bodies of {load.body_size}"
    return Outcome(succeeded, float(took[1]) * _UNITS[took[2]], failure)
