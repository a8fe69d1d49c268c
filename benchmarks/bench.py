"""Side-by-side benchmark: cno and its peers, same application, same load, one core each.

Run it with the interpreter of the environment that has cno. README.md says what the columns mean.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import load
import peers
import proc
import report
from cases import CASES, TITLES
from servers import CNO, SERVERS, Server, UnavailableError, free_port, probe, running

HERE = Path(__file__).resolve().parent
QUIET_LOAD = 0.5  # a load average above this is warned of


class VoidError(Exception):
    """A load run with at least one failed request: the row is void."""


@dataclass(frozen=True)
class Options:
    """The command line. Times are seconds."""

    servers: tuple[Server, ...]
    cases: tuple[str, ...]
    rounds: int
    seconds: int
    warmup: int
    venv: Path
    json: Path
    server_core: int
    load_core: int


def measure(server: Server, python: Path, case: str, options: Options) -> report.Round:
    """Start the server, check one response, warm it up, and measure one window."""
    work, port = CASES[case], free_port()
    command = server.command(python, port, work.path)
    with running(command, port, options.server_core) as live:
        probe(work, port)
        core = options.load_core
        warm = load.run(work, port, core, seconds=options.warmup, requests=work.warmup)
        if warm.failure:
            raise VoidError(f"warm-up: {warm.failure}")
        requests = max(int(warm.rate * options.seconds), work.connections * work.streams)
        before = proc.cpu_microseconds(live.pid)
        done = load.run(work, port, core, seconds=options.seconds, requests=requests)
        after = proc.cpu_microseconds(live.pid)
        if done.failure:
            raise VoidError(done.failure)
        memory = proc.peak_rss_kib(live.pid), proc.pss_kib(live.pid)
        return report.Round(done.requests, done.seconds, after - before, *memory)


def one_round(
    number: int, rows: list[report.Row], pythons: dict[str, Path], options: Options
) -> None:
    """Every case on every server once. The order of the servers moves on by one each round."""
    shift = number % len(options.servers)
    order = options.servers[shift:] + options.servers[:shift]
    for case in options.cases:
        for server in order:
            row = next(item for item in rows if (item.case, item.server) == (case, server.name))
            if row.problem:
                continue
            try:
                row.rounds.append(measure(server, pythons[server.name], case, options))
                said = f"{row.rounds[-1].rate:,.0f} req/s"
            except (UnavailableError, VoidError, subprocess.SubprocessError, OSError) as error:
                row.problem = f"round {number + 1}: {error}"
                said = str(error)
            print(f"round {number + 1}  {case:10} {server.name:12} {said}", flush=True)


def run(options: Options) -> list[report.Row]:
    """All rounds; the rows come back in the order of the cases and servers."""
    reasons: dict[str, str] = {}
    if any(server.peer for server in options.servers):
        reasons = peers.install(options.venv)
    ours, theirs = Path(sys.executable), peers.interpreter(options.venv)
    pythons = {
        server.name: server.python or (theirs if server.peer else ours)
        for server in options.servers
    }
    found = {name: peers.versions(python) for name, python in pythons.items()}
    about = settings(options) | {
        "machine": report.machine(options.server_core),
        "versions": versions(options, found),
        "commands": {server.name: server.arguments for server in options.servers},
    }
    rows = [
        report.Row(case, server.name, server.peer, problem=problem)
        for case in options.cases
        for server in options.servers
        for problem in [peers.missing(server, found[server.name], reasons)]
    ]
    for number in range(options.rounds):
        one_round(number, rows, pythons, options)
    report.write_json(options.json, about | {"rows": report.document(rows)})
    return rows


def versions(options: Options, found: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Print and return which distributions each server is made of."""
    result = {}
    for server in options.servers:
        installed = found[server.name]
        names = (*server.packages, "python")
        result[server.name] = {name: installed.get(name, "n/a") for name in names}
        listed = ", ".join(f"{name} {value}" for name, value in result[server.name].items())
        print(f"{server.name:12} {listed}")
    return result


def settings(options: Options) -> dict[str, object]:
    """The part of the JSON document that says what was asked for."""
    return {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "warmup_seconds": options.warmup,
        "loads": {case: asdict(CASES[case]) for case in options.cases},
    }


def chosen(text: str, known: list[str]) -> list[str]:
    """A comma-separated choice among `known`; an unknown name ends the program."""
    names = text.split(",") if text else known
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return names


def another(text: str) -> Server:
    """The cno of another environment, from LABEL=PYTHON."""
    label, found, python = text.partition("=")
    if not label or not found or not Path(python).exists():
        raise argparse.ArgumentTypeError(f"'{text}' is not LABEL=PATH_TO_PYTHON")
    return replace(CNO, name=label, python=Path(python).absolute())


def cores(text: str) -> tuple[int, int]:
    """The server's and the load's CPU; by default the first two this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if text:
        server, client = text.split(",")
        return int(server), int(client)
    if len(allowed) < 2:
        print("warning: one CPU only; server and load disturb each other", file=sys.stderr)
    return allowed[0], allowed[-1 if len(allowed) < 2 else 1]


def parse(arguments: list[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [server.name for server in SERVERS]
    parser.add_argument("--servers", default="", help=f"comma-separated: {','.join(names)}")
    parser.add_argument("--rows", default="", help=f"comma-separated: {','.join(CASES)}")
    parser.add_argument(
        "--also",
        type=another,
        action="append",
        default=[],
        metavar="LABEL=PYTHON",
        help="a cno that is installed for another interpreter; as often as wanted",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="per measured window")
    parser.add_argument("--warmup", type=int, default=1, help="seconds before each window")
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--venv", type=Path, default=peers.VENV, help="environment of the peers")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "latest.json")
    parser.add_argument("--cores", default="", help="server core,load core; default: the first two")
    given = parser.parse_args(arguments)
    labels = [server.name for server in given.also]
    if len({*names, *labels}) < len(names) + len(labels):
        parser.error("--also: each label has to be a new name")
    wanted = chosen(given.servers, names)
    server_core, load_core = cores(given.cores)
    return Options(
        servers=(*given.also, *(server for server in SERVERS if server.name in wanted)),
        cases=tuple(chosen(given.rows, list(CASES))),
        rounds=1 if given.quick else given.rounds,
        seconds=1 if given.quick else given.seconds,
        warmup=given.warmup,
        venv=given.venv.absolute(),
        json=given.json,
        server_core=server_core,
        load_core=load_core,
    )


def main() -> int:
    """Run and print; 0 unless a tool is missing."""
    options = parse()
    absent = [tool for tool in load.TOOLS if shutil.which(tool) is None]
    if absent:
        packages = " ".join(load.TOOLS[tool] for tool in absent)
        print(f"missing: {', '.join(absent)}; install: apt-get install {packages}", file=sys.stderr)
        return 2
    if os.getloadavg()[0] > QUIET_LOAD:
        print(
            f"warning: load average {os.getloadavg()[0]:.1f}; figures of a busy machine are noise"
        )
    rows = run(options)
    for case in options.cases:
        print("\n" + report.table(TITLES[case], [row for row in rows if row.case == case]))
    print("\n" + report.summary(rows))
    print(f"\nmedian of {options.rounds} rounds of {options.seconds} s; JSON: {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
