"""docs/conformance.md names tests that exist, files that exist, and sections in their order."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import vectors

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "conformance.md"


def rows() -> list[tuple[int, str, str, list[str], list[str]]]:
    """Yields line, RFC, section, files and tests of each row."""
    found = []
    rfc = ""
    for number, line in enumerate(PAGE.read_text().splitlines(), 1):
        if line.startswith("## "):
            rfc = line[3:].split(",")[0]
        elif line.startswith("| ") and not line.startswith("| section "):
            section, rule, files, tests = (cell.strip() for cell in line.strip("|").split(" | "))
            assert rule, f"line {number} has no rule"
            found.append((number, rfc, section, files.split(", "), tests.split("; ")))
    return found


ROWS = rows()

VECTORS = {
    f"{directory}/{case.path.stem}: {case.name}"
    for directory in ("h1", "h2")
    for parameter in vectors.load(directory)
    for case in parameter.values
}


def functions(path: Path, pattern: str) -> set[str]:
    return set(re.findall(pattern, path.read_text(), re.MULTILINE))


def exists(test: str) -> bool:
    place, _, name = test.partition(": ")
    if place.startswith("c/"):
        path = ROOT / "tests" / f"{place}.c"
        return path.exists() and name in functions(path, r"^static void (test_\w+)\(")
    if "/test_" in place:
        path = ROOT / "tests" / f"{place}.py"
        return path.exists() and name in functions(path, r"^(?:async )?def (test_\w+)\(")
    return test in VECTORS


def place(section: str) -> tuple[object, ...]:
    """A key that sorts sections by their numbers, and appendices by their letters behind
    sections."""
    return tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in section.split(".")
    )


def test_the_page_has_rows() -> None:
    assert {rfc for _, rfc, *_ in ROWS} == {
        f"RFC {n}" for n in (9113, 9112, 9110, 7541, 8441, 9218, 7540)
    }
    assert len(ROWS) > 150


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[1]} {row[2]}, line {row[0]}")
def test_what_a_row_names_exists(row: tuple[int, str, str, list[str], list[str]]) -> None:
    files, tests = row[3:]
    assert tests
    missing = [file for file in files if not (ROOT / "csrc" / file.strip("`")).exists()]
    missing += [test for test in tests if not exists(test)]
    assert not missing


def test_sections_are_in_order() -> None:
    for before, after in pairwise(ROWS):
        if before[1] == after[1]:
            assert place(before[2]) <= place(after[2]), f"line {after[0]}"


def test_nothing_is_named_twice_in_a_row() -> None:
    for line, _, _, _, tests in ROWS:
        assert len(set(tests)) == len(tests), f"line {line}"
