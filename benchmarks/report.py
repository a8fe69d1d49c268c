"""Medians, ratios, the table and the JSON document."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from servers import FLOOR


@dataclass(frozen=True)
class Round:
    """One measured window. CPU is user + system of the whole server over exactly these requests."""

    requests: int
    seconds: float
    cpu_us: float  # microseconds
    peak_rss_kib: int
    pss_kib: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def cpu_us_per_request(self) -> float:
        """Server CPU microseconds per request."""
        return self.cpu_us / self.requests


@dataclass
class Row:
    """All rounds of one server in one case. A row with a `problem` is void and has no figures."""

    case: str
    server: str
    peer: bool
    rounds: list[Round] = field(default_factory=list)
    problem: str = ""

    @property
    def valid(self) -> bool:
        """Whether the figures of this row may be shown."""
        return bool(self.rounds) and not self.problem

    @property
    def rate(self) -> float:
        """Median requests per second."""
        return statistics.median(item.rate for item in self.rounds)

    @property
    def cpu(self) -> float:
        """Median server CPU microseconds per request."""
        return statistics.median(item.cpu_us_per_request for item in self.rounds)

    @property
    def busy(self) -> float:
        """Median share of the server's core that was in use, 0 to 1."""
        return statistics.median(item.cpu_us / item.seconds / 1e6 for item in self.rounds)

    @property
    def rss_mib(self) -> float:
        """Largest peak resident size of any round, MiB."""
        return max(item.peak_rss_kib for item in self.rounds) / 1024


RATIOS = ("CPU/best", "CPU/floor", "req/s /best")
COLUMNS = ("server", "req/s", "CPU us/req", "busy", "RSS MiB", *RATIOS)


def ratios(row: Row, rows: list[Row]) -> dict[str, float | None]:
    """What RATIOS names, of `row` among `rows`, all of one case; None where there is no such row.

    The best peer is the one with the lowest CPU per request, or the most requests per second.
    """
    peers = [other for other in rows if other.peer and other.valid]
    floors = [other for other in rows if other.server == FLOOR and other.valid]
    return {
        "CPU/best": row.cpu / min(other.cpu for other in peers) if peers else None,
        "CPU/floor": row.cpu / floors[0].cpu if floors else None,
        "req/s /best": row.rate / max(other.rate for other in peers) if peers else None,
    }


def table(title: str, rows: list[Row]) -> str:
    """The table of one case; rows without figures say why under it."""
    lines = [list(COLUMNS)]
    notes = []
    for row in rows:
        if not row.valid:
            word = "void" if row.rounds else "n/a"
            lines.append([row.server, word] + ["-"] * (len(COLUMNS) - 2))
            notes.append(f"- {row.server}: {word}: {row.problem}")
            continue
        figures = [f"{row.rate:,.0f}", f"{row.cpu:.1f}", f"{row.busy:.0%}", f"{row.rss_mib:.1f}"]
        shares = [share(value) for value in ratios(row, rows).values()]
        lines.append([row.server, *figures, *shares])
    return section(title, lines, notes)


def summary(rows: list[Row]) -> str:
    """The table of all cases: CPU us/req of each server and how busy its core was, the name of the
    best peer, and the ratios of each cno to that and to the floor."""
    servers = list(dict.fromkeys(row.server for row in rows))
    ours = list(dict.fromkeys(row.server for row in rows if not row.peer and row.server != FLOOR))
    shares = [f"{name}/{other}" for name in ours for other in ("best", FLOOR)]
    lines = [["row", *servers, "best peer", *shares]]
    for case in dict.fromkeys(row.case for row in rows):
        same = [row for row in rows if row.case == case]
        cells = [f"{row.cpu:.1f} ({row.busy:.0%})" if row.valid else "-" for row in same]
        peers = [row for row in same if row.peer and row.valid]
        best = min(peers, key=lambda row: row.cpu).server if peers else "-"
        found = [ratios(row, same) if row.valid else {} for row in same if row.server in ours]
        shares = [share(each.get(name)) for each in found for name in ("CPU/best", "CPU/floor")]
        lines.append([case, *cells, best, *shares])
    return section("CPU us/req (busy)", lines, [])


def share(value: float | None) -> str:
    """A ratio with two digits, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def section(title: str, lines: list[list[str]], notes: list[str]) -> str:
    """A Markdown heading, a table and a list; in the table only the first column is to the left."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    table = []
    for first, *others in [lines[0], rule, *lines[1:]]:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        table.append("| " + " | ".join([first.ljust(widths[0]), *cells]) + " |")
    return "\n".join([f"### {title}", "", *table, *([""] if notes else []), *notes])


def machine(server_core: int) -> dict[str, Any]:
    """Processor, cores, memory, kernel and Python of this machine, and how busy it is now.

    `core_siblings` are the CPUs that share one physical core with the server's: when the load runs
    on one of them, every figure is worse than where it does not, for all servers alike.
    """
    siblings = Path(f"/sys/devices/system/cpu/cpu{server_core}/topology/thread_siblings_list")
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "core_siblings": siblings.read_text().strip() if siblings.exists() else "unknown",
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def document(rows: list[Row]) -> list[dict[str, Any]]:
    """The rows as JSON values: medians, ratios and every raw round."""
    result = []
    for row in rows:
        item: dict[str, Any] = {"case": row.case, "server": row.server, "problem": row.problem}
        if row.valid:
            same = [other for other in rows if other.case == row.case]
            item |= {"requests_per_second": row.rate, "cpu_us_per_request": row.cpu}
            item |= {"busy": row.busy, "peak_rss_mib": row.rss_mib, "ratios": ratios(row, same)}
        item["rounds"] = [asdict(measured) for measured in row.rounds]
        result.append(item)
    return result


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` to `path`, making its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")
