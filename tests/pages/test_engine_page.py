"""docs/engine.md: the program has the output that is shown, and every limit, setting and error is
there."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import tool

ROOT = Path(__file__).resolve().parent.parent.parent

PAGE = (ROOT / "docs" / "engine.md").read_text()

CONFIG = (ROOT / "csrc" / "config.h").read_text()


def blocks(language: str) -> list[str]:
    """Returns the blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """Returns the text below a heading, with all headings of lower levels."""
    level = title.split()[0]
    found = re.search(
        rf"^{re.escape(title)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    assert found, title
    return found[1]


def rows(title: str) -> Iterator[list[str]]:
    """Yields the cells of the tables in a section, without the headings."""
    for line in section(title).splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if "`" in cells[0]:
                yield cells


def words(cell: str) -> list[str]:
    """Returns the words in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


# ---- the program --------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_program_prints_what_is_shown(compiler: str, tmp_path: Path) -> None:
    (tmp_path / "page.c").write_text("\n".join(blocks("c")))
    make = ["env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", tool("make"), "-s"]
    subprocess.run([*make, "obj/libcno.a", "obj/include/cno"], cwd=ROOT, check=True, timeout=50)
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-pedantic"]
    files = ["-Iobj/include", tmp_path / "page.c", "obj/libcno.a", "-o", tmp_path / "page"]
    subprocess.run([tool(compiler), *strict, *files], cwd=ROOT, check=True, timeout=50)
    printed = subprocess.run([tmp_path / "page"], check=True, stdout=subprocess.PIPE, timeout=50)
    assert printed.stdout.decode() == "".join(blocks("text"))


# ---- limits -------------------------------------------------------------------------------------


def test_every_limit_is_there_with_its_default() -> None:
    told = {words(cells[0])[0]: cells[1] for cells in rows("## Limits")}
    assert told == dict(re.findall(r"^#define (CNO_\w+) (\S+)$", CONFIG, re.MULTILINE))


def members(name: str) -> list[str]:
    """Returns the members of a structure in the headers."""
    core = (ROOT / "csrc" / "core.h").read_text()
    return re.findall(
        r"^    uint32_t (\w+);", core.split(f"\nstruct {name} {{")[1].split("}")[0], re.M
    )


def test_every_limit_of_a_connection_is_there_with_its_range() -> None:
    bounds = (ROOT / "csrc" / "conn.c").read_text()
    names = members("cno_limits_t")
    default, highest = (
        dict(re.findall(r"\.(\w+) = (\w+)", part.split("};")[0]))
        for part in (bounds.split("cno__limits_default = {")[1], bounds.split("HIGHEST = {")[1])
    )
    lowest = re.findall(r"\d+", bounds.split("LOWEST = {")[1].split("}")[0])
    numbers = dict(re.findall(r"^#define (CNO_\w+) (\S+)$", CONFIG, re.MULTILINE))
    numbers |= {"INT32_MAX": str(2**31 - 1), "UINT16_MAX": str(2**16 - 1)}
    assert [
        [name, *rest]
        for (name,), *rest in (
            [words(cells[0]), *words(cells[1]), *cells[2:]]
            for cells in rows("## Limits of one connection")
            if len(cells) == 4 and cells[2] != "from"
        )
    ] == [
        [name, default[name], low, numbers[highest[name]]]
        for name, low in zip(names, lowest, strict=True)
    ]


def test_every_setting_is_there() -> None:
    assert [words(cells[0])[0] for cells in rows("## Settings")] == members("cno_settings_t")


# ---- errors -------------------------------------------------------------------------------------


def told() -> dict[str, str]:
    """Returns the text of the page for each reason: the cells of its rows, joined."""
    found: dict[str, str] = {}
    parts = ("Of a call", "Of a peer, HTTP/1", "Of a peer, HTTP/2", "Of a peer, WebSocket")
    for part in (f"### {title}" for title in parts):
        for cells in rows(part):
            for word in words(cells[0]):
                found[word] = found.get(word, "") + " " + " ".join(cells[1:])
    return found


def meant() -> dict[str, set[str]]:
    """Returns the reasons in the source, each with its codes and statuses."""
    found: dict[str, set[str]] = {}
    macro = re.compile(r"^#define(?:.*\\\n)*.*\n", re.MULTILINE)
    makes = re.compile(
        r"(?:cno_error_set|CNO__FAULT|refuse)\s*\(|last_error = \{|struct fault \w+ = \{"
    )
    for path in sorted((ROOT / "csrc").rglob("*.[ch]")):
        source = macro.sub("", path.read_text())
        for start in makes.finditer(source):
            statement = source[start.start() : source.index(";", start.start())]
            codes = set(re.findall(r"\bCNO_ERRNO_(\w+)|\bCNO_RST_(\w+)", statement))
            beside = {one or other for one, other in codes}
            if fault := re.match(r"CNO__FAULT\(\s*(\d+), (\w+)", statement):
                beside = {fault[1], fault[2]} - {"0", "NO_ERROR"}
            if close_code := re.match(r"struct fault \w+ = \{(\d+)", statement):
                beside = {close_code[1]}
            for word in re.findall(r'"([a-z][a-z0-9.-]*)"', statement):
                found.setdefault(word, set()).update(beside)
    return found


def test_every_reason_is_there_and_no_other() -> None:
    assert set(told()) == set(meant())


@pytest.mark.parametrize(("reason", "beside"), sorted(meant().items()))
def test_a_reason_has_its_codes(reason: str, beside: set[str]) -> None:
    assert {code for code in beside if code not in told()[reason]} == set()


def test_every_code_is_there() -> None:
    declared = (ROOT / "csrc" / "common.h").read_text()
    table = section("## Errors").partition("### ")[0]
    assert set(re.findall(r"CNO_ERRNO_\w+", table)) == set(
        re.findall(r"\b(CNO_ERRNO_\w+) =", declared)
    )


# ---- functions and events -----------------------------------------------------------------------


def test_every_event_and_every_function_is_named() -> None:
    header = (ROOT / "csrc" / "core.h").read_text()
    code = re.sub(r"//[^\n]*", "", header)
    names = set(re.findall(r"\b(cno_[a-z]\w*)\(|\(\*(on_\w+)\)", code))
    missing = {a or b for a, b in names} - set(re.findall(r"\b(?:cno_|on_)\w+", PAGE))
    assert missing == set()
