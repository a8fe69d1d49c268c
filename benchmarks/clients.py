"""Clients side by side: cno.Client and its peers, the same requests to the same server.

Run it with the interpreter of the environment that has cno. README.md says what the columns mean.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import peers
import proc
import report
from bench import HERE, QUIET_LOAD, chosen, cores
from servers import SERVERS, free_port, running

CLIENTS = ("cno", "aiohttp", "httpx", "niquests")
TITLES = {
    "h1-hello": "HTTP/1.1, 13 octets, 8 connections",
    "h2-hello": "HTTP/2, 13 octets, 32 streams on one connection",
}
ABSENT = {("h2-hello", "aiohttp"): "has no HTTP/2"}

# At most so much of the CPU time per request of a peer.
AIMS = {("h1-hello", "aiohttp"): 0.6, ("h2-hello", "httpx"): 0.05}


@dataclass(frozen=True)
class Options:
    """The command line. Times are seconds."""

    clients: tuple[str, ...]
    cases: tuple[str, ...]
    rounds: int
    seconds: float
    warmup: float
    venv: Path
    json: Path
    client_core: int
    server_core: int


@dataclass
class Row:
    """All rounds of one client in one case."""

    case: str
    client: str
    problem: str = ""
    rounds: list[report.Round] = field(default_factory=list)

    @property
    def cpu(self) -> float:
        """Median client CPU microseconds per request."""
        return statistics.median(item.cpu_us_per_request for item in self.rounds)


@contextmanager
def loading(row: Row, python: Path, port: int, core: int) -> Iterator[subprocess.Popen[str]]:
    """A client, pinned to CPU `core`, that waits for commands."""
    program = ["client_load.py", row.client, row.case.split("-")[0], str(port)]
    command = ["taskset", "-c", str(core), str(python), *program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=HERE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def go(process: subprocess.Popen[str], seconds: float) -> tuple[int, float]:
    """Has the client make requests: how many were answered, in how many seconds."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"go {seconds}\n")
    process.stdin.flush()
    said = process.stdout.readline().split()
    if not said:
        raise OSError("the client ended; its last words are above")
    return int(said[0]), float(said[1])


def measure(row: Row, python: Path, options: Options) -> report.Round:
    """One client against a fresh server: a warm-up and a measured window."""
    port = free_port()
    server = next(server for server in SERVERS if server.name == "cno.Server")
    command = server.command(Path(sys.executable), port)
    with (
        running(command, port, options.server_core),
        loading(row, python, port, options.client_core) as process,
    ):
        go(process, options.warmup)
        before = proc.cpu_microseconds(process.pid)
        requests, seconds = go(process, options.seconds)
        cpu = proc.cpu_microseconds(process.pid) - before
        memory = proc.peak_rss_kib(process.pid), proc.pss_kib(process.pid)
        return report.Round(requests, seconds, cpu, *memory)


def run(options: Options) -> list[Row]:
    """All rounds, interleaved; each begins with another client."""
    reasons = peers.install(options.venv)
    rows = [
        Row(case, client, ABSENT.get((case, client), reasons.get(client, "")))
        for case in options.cases
        for client in options.clients
    ]
    for number in range(options.rounds):
        shift = number % len(options.clients)
        for case in options.cases:
            same = [row for row in rows if row.case == case]
            for row in same[shift:] + same[:shift]:
                if row.problem:
                    continue
                own = row.client == "cno"
                python = Path(sys.executable) if own else peers.interpreter(options.venv)
                try:
                    row.rounds.append(measure(row, python, options))
                    said = f"{row.rounds[-1].rate:,.0f} req/s"
                except OSError as error:
                    row.problem = said = f"round {number + 1}: {error}"
                print(f"round {number + 1}  {case:8} {row.client:8} {said}", flush=True)
    return rows


def table(case: str, rows: list[Row]) -> str:
    """The table of one case, and whether the aims are met."""
    own = next((row for row in rows if row.client == "cno" and not row.problem), None)
    lines = [["client", "req/s", "CPU us/req", "busy", "RSS MiB", "CPU cno/it"]]
    notes = []
    for row in rows:
        if row.problem:
            lines.append([row.client, "n/a", *["-"] * 4])
            notes.append(f"- {row.client}: n/a: {row.problem}")
            continue
        rate = statistics.median(item.rate for item in row.rounds)
        busy = statistics.median(item.cpu_us / item.seconds / 1e6 for item in row.rounds)
        rss = max(item.peak_rss_kib for item in row.rounds) / 1024
        share = own.cpu / row.cpu if own else None
        figures = [f"{rate:,.0f}", f"{row.cpu:.1f}", f"{busy:.0%}", f"{rss:.1f}"]
        lines.append([row.client, *figures, "-" if share is None else f"{share:.3f}"])
        if share is not None and (aim := AIMS.get((case, row.client))) is not None:
            met = "met" if share <= aim else "missed"
            notes.append(f"- at most {aim} of {row.client}'s CPU per request: {met}")
    return report.section(TITLES[case], lines, notes)


def parse() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", default="", help=f"comma-separated: {','.join(CLIENTS)}")
    parser.add_argument("--cases", default="", help=f"comma-separated: {','.join(TITLES)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="per measured window")
    parser.add_argument("--warmup", type=float, default=1, help="seconds before each window")
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--venv", type=Path, default=peers.VENV, help="environment of the peers")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "clients.json")
    parser.add_argument("--cores", default="", help="client core,server core")
    given = parser.parse_args()
    client_core, server_core = cores(given.cores)
    return Options(
        clients=tuple(chosen(given.clients, list(CLIENTS))),
        cases=tuple(chosen(given.cases, list(TITLES))),
        rounds=1 if given.quick else given.rounds,
        seconds=1 if given.quick else given.seconds,
        warmup=given.warmup,
        venv=given.venv.absolute(),
        json=given.json,
        client_core=client_core,
        server_core=server_core,
    )


def main() -> None:
    """Run and print."""
    options = parse()
    if os.getloadavg()[0] > QUIET_LOAD:
        print(f"warning: load average {os.getloadavg()[0]:.1f}; such figures are noise")
    rows = run(options)
    for case in options.cases:
        print("\n" + table(case, [row for row in rows if row.case == case]))
    document = {
        "machine": report.machine(options.client_core),
        "versions": peers.versions(peers.interpreter(options.venv)),
        "rows": [asdict(row) for row in rows],
    }
    report.write_json(options.json, document)
    print(f"\nmedian of {options.rounds} rounds of {options.seconds} s; JSON: {options.json}")


if __name__ == "__main__":
    main()
