"""Instructions per octet of input that comes in small reads; see ../README.md.

Fails when an octet costs more the longer the input is, which is what a quadratic parser does.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile

from run import BUILD, COMPILER, HERE, LIBRARY, ROOT

PROGRAM = BUILD / "split"
# The largest size of each kind; half of it is measured as well.
SIZES = {
    "head": 65536,
    "fields": 16384,
    "chunk": 4000,
    "trailers": 8000,
    "body": 65536,
    "block": 16384,
    "data": 65536,
}
PIECES = (1, 16, 1024, 1 << 24)
GROWTH = 1.05


def count(kind: str, size: int, piece: int) -> int:
    """Instructions that callgrind counts inside feed_pieces."""
    with tempfile.NamedTemporaryFile() as out:
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=feed_pieces"]
        command += [f"--callgrind-out-file={out.name}", PROGRAM, kind, str(size), str(piece)]
        subprocess.run(command, check=True, capture_output=True)
        found = re.search(r"^(?:summary|totals): (\d+)", out.read().decode(), re.MULTILINE)
    if not found:
        raise RuntimeError("callgrind counted nothing")
    return int(found[1])


def main() -> int:
    """Prints a line per kind; returns how many are not linear."""
    BUILD.mkdir(exist_ok=True)
    source = HERE / "split.c"
    flags = ["-std=gnu11", "-O2", "-g", f"-I{ROOT / 'csrc'}"]
    subprocess.run([COMPILER, *flags, source, LIBRARY, "-o", PROGRAM], check=True)
    wide = "".join(f"{size if size < 1 << 24 else 'whole':>9}" for size in PIECES)
    print(f"{'instructions per octet, reads of':34}{wide}   1, half the size")
    failed = 0
    for kind, size in SIZES.items():
        costs = [count(kind, size, piece) / size for piece in PIECES]
        half = count(kind, size // 2, 1) / (size // 2)
        linear = costs[0] <= half * GROWTH
        failed += not linear
        figures = "".join(f"{cost:9.2f}" for cost in costs)
        verdict = "" if linear else "  NOT LINEAR"
        print(f"{kind:10}{size:8} octets{'':9}{figures}{half:19.2f}{verdict}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
