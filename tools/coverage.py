"""Prints, for each file of csrc/, how many lines and branches the programs in obj/gcov reached."""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Lines = dict[int, int]
Branches = dict[tuple[int, int], int]


def read_counters(build: Path) -> tuple[dict[str, Lines], dict[str, Branches]]:
    """Returns how often each line and branch of csrc/ ran, by file, summed over all programs."""
    lines: dict[str, Lines] = defaultdict(lambda: defaultdict(int))
    branches: dict[str, Branches] = defaultdict(lambda: defaultdict(int))
    folders = sorted({path.parent for path in build.rglob("*.gcda")})
    with tempfile.TemporaryDirectory() as scratch:
        for number, folder in enumerate(folders):
            # In a place for each folder: gcov names what it writes after the file alone.
            there = Path(scratch) / str(number)
            there.mkdir()
            notes = sorted(str(path) for path in folder.glob("*.gcda"))
            command = ["gcov", "--json-format", "--branch-probabilities", *notes]
            subprocess.run(command, cwd=there, check=True, stdout=subprocess.DEVNULL)
        for report in Path(scratch).rglob("*.gcov.json.gz"):
            for file in json.loads(gzip.decompress(report.read_bytes()))["files"]:
                _, csrc, name = file["file"].rpartition("csrc/")
                if not csrc:
                    continue
                for line in file["lines"]:
                    number = line["line_number"]
                    lines[name][number] += line["count"]
                    for at, branch in enumerate(line["branches"]):
                        branches[name][number, at] += branch["count"]
    return lines, branches


def share(counts: list[int]) -> str:
    """Returns how many of the counters are not 0, as text."""
    reached = sum(count > 0 for count in counts)
    percent = 100 * reached / len(counts) if counts else 100.0
    return f"{percent:6.1f} %  {reached:5} of {len(counts):5}"


def show_missing(name: str, lines: Lines, branches: Branches) -> None:
    """Prints the lines of a file that did not run, or of which a branch did not."""
    source = (ROOT / "csrc" / name).read_text().splitlines()
    for number, count in sorted(lines.items()):
        here = [taken for (line, _), taken in branches.items() if line == number]
        text = source[number - 1].strip()
        if count == 0:
            print(f"  {name}:{number}: never: {text}")
        elif not all(here):
            print(f"  {name}:{number}: {here.count(0)} of {len(here)} branches never: {text}")


def main() -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--missing", action="store_true", help="list lines that were not reached")
    arguments = parser.parse_args()
    lines, branches = read_counters(ROOT / "obj" / "gcov")
    if not lines:
        print("no counters in obj/gcov: run make coverage", file=sys.stderr)
        return 1
    print(f"{'file':16} {'lines':>8} {'':17} {'branches':>8}")
    for name in sorted(lines):
        by_line, by_branch = list(lines[name].values()), list(branches[name].values())
        print(f"{name:16} {share(by_line)}   {share(by_branch)}")
        if arguments.missing:
            show_missing(name, lines[name], branches[name])
    all_lines = [count for file in lines.values() for count in file.values()]
    all_branches = [count for file in branches.values() for count in file.values()]
    print(f"{'all':16} {share(all_lines)}   {share(all_branches)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
