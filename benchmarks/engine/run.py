"""Instructions per request and memory per connection of libcno and nghttp2; see ../README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = HERE / "build"
LIBRARY = ROOT / "obj" / "libcno.a"
ENGINES = ("nghttp2", "cno")
RUN_SECONDS = 600
COMPILER = os.environ.get("CC", "cc")

# glibc's memcpy is one instruction under callgrind where it is `rep movsb`, and as many as it takes
# where it is a loop. Which one is chosen depends on the processor; this makes it always the loop.
TUNABLES = "glibc.cpu.hwcaps=-ERMS,-FSRM:glibc.cpu.x86_rep_movsb_threshold=1073741824"


@dataclass(frozen=True)
class Case:
    """One loop to measure, and what the project wants of it (an upper bound, or None)."""

    version: str
    scenario: str
    per_read: int
    count_wanted: int | None = None  # instructions

    @property
    def title(self) -> str:
        """How the table calls it."""
        return f"{self.version} {self.scenario}, {self.per_read} per read"

    @property
    def arguments(self) -> list[str]:
        """The arguments of the harness, without the number of requests."""
        return ["run", self.version, self.scenario, str(self.per_read)]


CASES = (
    *(Case("h2", "A", size, count_wanted=5500) for size in (1, 32)),
    *(Case("h2", scenario, size, count_wanted=8000) for scenario in "BC" for size in (1, 32)),
    *(Case("h1", scenario, size, count_wanted=5500) for scenario in "ABC" for size in (1, 16)),
)
IDLE = {
    "created": "created",
    "handshake": "idle after handshake",
    "one_request": "idle after 1 request",
    "many_requests": "idle after 100 requests of C",
    "struct": "of which embedded struct",
}
IDLE_WANTED = {("h2", "handshake"): 1536, ("h2", "one_request"): 4096}  # octets

# What bulk.c is asked, two sizes in MiB, and what the project wants (instructions per octet).
BULK = {
    ("upload", "h1"): ("upload in reads of 64 KiB", 16, 64, 0.06),
    ("upload", "h2"): ("upload in reads of 64 KiB", 16, 64, 0.06),
    ("download", "h1"): ("download, output only counted", 16, 64, 0.02),
    ("download", "h2"): ("download, output only counted", 16, 64, 0.02),
}
STREAMS_WANTED = 256

Figures = dict[str, float]  # by engine


@dataclass(frozen=True)
class Sizes:
    """Requests of the two runs under callgrind, and how many runs without it."""

    few: int
    many: int
    natives: int


@dataclass
class Line:
    """One line of the table: the figures, and what is wanted of cno's."""

    title: str
    unit: str
    figures: Figures = field(default_factory=dict)
    wanted: float | None = None
    native_ns: Figures = field(default_factory=dict)  # nanoseconds per request without valgrind
    written: Figures = field(default_factory=dict)  # octets of output per request

    @property
    def ratio(self) -> float | None:
        """Of cno's figure to nghttp2's."""
        if self.figures.get("nghttp2") and "cno" in self.figures:
            return self.figures["cno"] / self.figures["nghttp2"]
        return None


def build(engine: str, library: Path) -> str:
    """Compile the harness with one engine; returns why that failed, or an empty string."""
    if engine != "nghttp2" and not library.exists():
        return f"{library.name} is missing: run `make obj/libcno.a`"
    BUILD.mkdir(exist_ok=True)
    own = {"bulk": ("bulk.c",)}.get(engine, ("harness.c", "input.c", f"{engine}_bench.c"))
    sources = [HERE / name for name in own]
    flags = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", f"-I{ROOT / 'csrc'}"]
    libraries = ["-lnghttp2"] if engine == "nghttp2" else [library, "-lnghttp2"]
    command = [COMPILER, *flags, *sources, *libraries, "-o", program(engine)]
    done = subprocess.run(command, capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if "error" in line or "undefined" in line]
    return (errors or [done.stderr.strip() or "compiler failed"])[0] if done.returncode else ""


def program(engine: str) -> Path:
    """The compiled harness of one engine."""
    return BUILD / f"{engine}_bench"


def execute(command: list[str]) -> str:
    """Standard output of one run of the harness. Raises RuntimeError with what it complained of."""
    environment = {**os.environ, "GLIBC_TUNABLES": TUNABLES}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=RUN_SECONDS
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith("==")]
        raise RuntimeError(lines[-1] if lines else f"exit code {done.returncode}")
    return done.stdout


def values(text: str) -> dict[str, int]:
    """The key=value lines that the harness prints."""
    pairs = (line.split("=") for line in text.splitlines())
    return {key: int(value) for key, value in pairs}


def instructions(command: list[str]) -> int:
    """Instructions that callgrind counts inside hot_loop."""
    with tempfile.NamedTemporaryFile() as out:
        valgrind = ["valgrind", "--tool=callgrind", "--toggle-collect=hot_loop"]
        execute([*valgrind, f"--callgrind-out-file={out.name}", *command])
        found = re.search(r"^totals: (\d+)", Path(out.name).read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("callgrind counted nothing")
    return int(found[1])


def speaks(engine: str, version: str) -> bool:
    """Whether there is anything to measure."""
    return engine == "cno" or version == "h2"


def measure(case: Case, engines: list[str], sizes: Sizes, problems: dict[str, str]) -> Line:
    """One case on every engine; what fails goes into `problems`."""
    line = Line(case.title, "instructions/request", wanted=case.count_wanted)
    for engine in engines:
        if not speaks(engine, case.version):
            continue
        try:
            measure_engine(engine, case, sizes, line)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            problems[f"{engine}: {case.title}"] = str(error)
    return line


def measure_engine(engine: str, case: Case, sizes: Sizes, line: Line) -> None:
    """The slope between few and many requests, so that what happens once does not count."""
    command = [str(program(engine)), *case.arguments]
    slope = instructions([*command, str(sizes.many)]) - instructions([*command, str(sizes.few)])
    command.append(str(sizes.many))
    runs = [values(execute(command)) for _ in range(sizes.natives)]
    line.figures[engine] = slope / (sizes.many - sizes.few)
    line.native_ns[engine] = statistics.median(item["ns"] for item in runs) / sizes.many
    line.written[engine] = runs[0]["written"] / sizes.many


def idle(version: str, engines: list[str], problems: dict[str, str]) -> list[Line]:
    """Heap octets per connection, malloc's own included, averaged over 200 connections."""
    found: dict[str, dict[str, int]] = {}
    for engine in engines:
        if not speaks(engine, version):
            continue
        try:
            found[engine] = values(execute([str(program(engine)), "idle", version]))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            problems[f"{engine}: {version} idle"] = str(error)
    lines = []
    for key, title in IDLE.items():
        figures: Figures = {engine: item[key] for engine, item in found.items() if item[key]}
        if figures and (version, key) != ("h1", "handshake"):
            wanted = IDLE_WANTED.get((version, key))
            lines.append(Line(f"{version} {title}", "octets", figures, wanted))
    return lines


def bulk(problems: dict[str, str]) -> list[Line]:
    """Large bodies, per octet, and heap octets per open stream: of cno alone."""
    lines = []
    bulk = str(program("bulk"))
    try:
        for (way, version), (title, few, many, wanted) in BULK.items():
            counts = [instructions([bulk, way, version, str(size)]) for size in (few, many)]
            figure = (counts[1] - counts[0]) / ((many - few) << 20)
            title = f"{version} {title}"
            lines.append(Line(title, "instructions/octet", {"cno": figure}, wanted))
        octets = values(execute([bulk, "streams", "h2", "1000"]))["octets"]
        lines.append(Line("h2 open stream", "octets", {"cno": octets}, STREAMS_WANTED))
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        problems["bulk"] = str(error)
    return lines


def cell(figure: float | None, digits: int = 0) -> str:
    """One number of the table."""
    if figure is not None and figure < 1:
        digits = max(digits, 3)
    return "-" if figure is None else f"{figure:,.{digits}f}"


def row(line: Line) -> list[str]:
    """The cells of one line, in the order of HEADINGS."""
    missed = line.wanted is not None and line.figures.get("cno", 0) > line.wanted
    return [
        line.title,
        line.unit,
        *(cell(line.figures.get(engine)) for engine in ENGINES),
        cell(line.ratio, 2),
        cell(line.wanted) + (" missed" if missed else ""),
        *(cell(line.native_ns.get(engine)) for engine in ENGINES),
        *(cell(line.written.get(engine), 1) for engine in ENGINES),
    ]


HEADINGS = ["what", "unit", "nghttp2", "cno", "ratio", "at most"]
HEADINGS += ["ns nghttp2", "ns cno", "out nghttp2", "out cno"]


def table(lines: list[Line]) -> str:
    """The aligned table: two columns of text to the left, numbers to the right."""
    cells = [HEADINGS, *(row(line) for line in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    result = []
    for texts in cells:
        left = [text.ljust(width) for text, width in zip(texts[:2], widths[:2], strict=True)]
        right = [text.rjust(width) for text, width in zip(texts[2:], widths[2:], strict=True)]
        result.append("  ".join([*left, *right]).rstrip())
    return "\n".join(result)


def document(lines: list[Line], problems: dict[str, str], sizes: Sizes) -> dict[str, object]:
    """Everything that was measured, as JSON values."""
    versions = {tool: version_of(tool) for tool in ("valgrind", COMPILER)}
    return {
        **asdict(sizes),
        "kernel": platform.release(),
        "versions": versions | {"nghttp2": nghttp2_version()},
        "problems": problems,
        "rows": [{**asdict(line), "ratio": line.ratio} for line in lines],
    }


def version_of(tool: str) -> str:
    """The first line of what a tool says of itself."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True)
    return done.stdout.splitlines()[0] if done.stdout else "unknown"


def nghttp2_version() -> str:
    """NGHTTP2_VERSION of the header that the harness is compiled with."""
    source = "#include <nghttp2/nghttp2.h>\nNGHTTP2_VERSION\n"
    command = [COMPILER, "-E", "-P", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True)
    return done.stdout.strip().rpartition("\n")[2].strip('"') or "unknown"


def missing_tools() -> str:
    """What to install, or an empty string."""
    packages = {"valgrind": "valgrind", COMPILER: "gcc"}
    absent = [package for tool, package in packages.items() if shutil.which(tool) is None]
    if not absent and nghttp2_version() == "unknown":
        absent.append("libnghttp2-dev")
    return " ".join(absent)


def parse() -> tuple[Sizes, argparse.Namespace]:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=3200, help="requests of the shorter run")
    parser.add_argument("--many", type=int, default=12800, help="requests of the longer run")
    parser.add_argument("--natives", type=int, default=5, help="runs without valgrind; median")
    parser.add_argument("--quick", action="store_true", help="320 and 1280 requests, 1 native run")
    parser.add_argument("--json", type=Path, default=HERE.parent / "results" / "engine.json")
    parser.add_argument("--library", type=Path, default=LIBRARY, help="libcno.a to measure")
    given = parser.parse_args()
    if given.quick:
        return Sizes(320, 1280, 1), given
    if not 0 < given.few < given.many or given.natives < 1:
        parser.error("0 < FEW < MANY and 1 <= NATIVES are needed")
    return Sizes(given.few, given.many, given.natives), given


def main() -> int:
    """Build, run, print, write JSON; 0 when everything could be measured."""
    sizes, given = parse()
    if packages := missing_tools():
        print(f"missing tools; install: apt-get install {packages}", file=sys.stderr)
        return 2
    programs = (*ENGINES, "bulk")
    problems = {engine: why for engine in programs if (why := build(engine, given.library))}
    engines = [engine for engine in ENGINES if engine not in problems]
    lines: list[Line] = []
    for case in CASES:
        print(case.title, flush=True)
        lines.append(measure(case, engines, sizes, problems))
    for version in ("h2", "h1"):
        lines += idle(version, engines, problems)
    if "bulk" not in problems:
        lines += bulk(problems)
    print("\n" + table(lines))
    for what, why in problems.items():
        print(f"n/a: {what}: {why}")
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(document(lines, problems, sizes), indent=2) + "\n")
    print(f"JSON: {given.json}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
