"""CPU time and memory of a tree of processes, from /proc (Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that matter here; `ticks`: all threads and reaped children."""

    pid: int
    parent: int
    group: int
    state: str
    ticks: int


def read_stat(pid: int) -> Stat | None:
    """The stat of one process, or None when it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may itself hold spaces and parentheses: split behind the last one.
    fields = text[text.rindex(")") + 2 :].split()
    ticks = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
    return Stat(pid, int(fields[1]), int(fields[2]), fields[0], ticks)


def tree(root: int) -> list[int]:
    """The living processes of `root`: itself, its process group, and all descendants."""
    stats = [read_stat(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit()]
    alive = [stat for stat in stats if stat is not None and stat.state not in "ZX"]
    found = {stat.pid for stat in alive if stat.pid == root or stat.group == root}
    grew = True
    while grew:
        more = {stat.pid for stat in alive if stat.parent in found} - found
        found |= more
        grew = bool(more)
    return sorted(found)


def cpu_microseconds(root: int) -> float:
    """User and system time so far of the whole tree, in microseconds (resolution: one clock tick).

    Children that ended are counted through the parent that reaped them, so that a difference of two
    readings misses nothing.
    """
    pids = tree(root)
    stats = [read_stat(pid) for pid in pids]
    return sum(stat.ticks for stat in stats if stat) * 1e6 / TICKS_PER_SECOND


def _kib(path: Path, key: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(key)), 0)


def peak_rss_kib(root: int) -> int:
    """Sum over the tree of each process's peak resident size (VmHWM), in KiB."""
    return sum(_kib(PROC / str(pid) / "status", "VmHWM:") for pid in tree(root))


def pss_kib(root: int) -> int:
    """Sum over the tree of the proportional resident size now, in KiB: shared pages count once."""
    return sum(_kib(PROC / str(pid) / "smaps_rollup", "Pss:") for pid in tree(root))
