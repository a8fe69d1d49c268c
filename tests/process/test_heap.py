"""cno/process/heap.py: freed memory stays with the process, or not if the environment says so."""

import platform
import subprocess
import sys

import pytest

from cno.process import heap

# Takes and frees 2 MiB in pieces, again and again: the pages of the second round are there already.
PROGRAM = """
import resource, sys
from cno.process import heap
if sys.argv[1] == "keep":
    assert heap.keep()
def turn():
    pieces = [bytes([1]) * 200_000 for _ in range(10)]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    turn()
before = faults()
for _ in range(20):
    turn()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_is_used_again() -> None:
    def faults(mode: str) -> int:
        done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert faults("keep") < 100 < faults("leave")


@pytest.mark.parametrize("name", heap.VARIABLES)
def test_the_environment_wins(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert not heap.keep()
