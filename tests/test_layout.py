"""The rules for imports in cno/ and for includes in csrc/. A new file needs a place in the tables
below."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# ---- Python ------------------------------------------------------------------------------------

# A package imports from the rows above its own, from itself, and from the leaves. A module in cno/
# itself stands for a package of its name.
ORDER = [
    {"engine"},
    {"transport"},
    {"server", "client"},
    {"gateway"},
    {"asgi"},
    {"process"},
]

# Leaves: every package may import them, and they import nothing of cno but themselves.
LEAVES_PY = {"config", "observe"}

# Modules with names of the seed, and the module that runs the command.
ALONE = {"__init__": set(), "raw": {"engine"}, "__main__": {"process"}}

RANK = {package: number for number, row in enumerate(ORDER) for package in row}

MODULES = sorted(
    ".".join(path.relative_to(ROOT / "cno").with_suffix("").parts)
    for path in (ROOT / "cno").rglob("*.py")
)


def package_of(module: str) -> str:
    return module.partition(".")[0]


def imports(module: str) -> set[str]:
    """Returns the modules of cno that a source imports, at any depth of the file."""
    path = ROOT / "cno" / (module.replace(".", "/") + ".py")
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "cno"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "cno":
                found |= {f"cno.{a.name}" for a in node.names}
            elif node.module and node.module.startswith("cno."):
                found |= {f"{node.module}.{a.name}" for a in node.names}
    return {name.partition(".")[2] or "__init__" for name in found}


def may_import(package: str) -> set[str]:
    """Returns the packages from which a file of this package may import, beside its own."""
    if package in LEAVES_PY:
        return set()
    if package in ALONE:
        return ALONE[package]
    assert package in RANK, f"cno/{package} has no place in {Path(__file__).name}"
    return LEAVES_PY | {name for name, rank in RANK.items() if rank < RANK[package]}


@pytest.mark.parametrize("module", [m for m in MODULES if m != "__init__"])  # exports public names
def test_imports_go_one_way(module: str) -> None:
    package = package_of(module)
    for name in imports(module):
        other = package_of(name)
        if other in ("__init__", "__version__"):
            continue  # cno has the version
        assert other in {package} | may_import(package), f"cno.{module} must not know cno.{name}"


def test_an_import_that_goes_up_is_seen() -> None:
    assert "asgi" not in may_import("server")
    assert "process" not in may_import("asgi")
    assert "client" not in may_import("server")
    assert may_import("config") == set()


# The modules that may import the compiled modules.
COMPILED = {
    "engine._libcno": {"engine.binding", "engine.events", "engine.results", "engine.websocket"},
    "engine._fast": {"engine.fast"},
}


@pytest.mark.parametrize("module", MODULES)
def test_few_see_the_compiled_modules(module: str) -> None:
    for name in imports(module):
        for compiled, seers in COMPILED.items():
            assert not f"{name}.".startswith(f"{compiled}.") or module in seers


# The modules that make connections, and the command.
SOCKETS = [
    m
    for m in MODULES
    if package_of(m) in ("process", "__main__") or m in ("client.dial", "client.sockets")
]


@pytest.mark.parametrize("module", sorted(set(MODULES) - set(SOCKETS)))
def test_protocol_layers_own_no_sockets(module: str) -> None:
    source = (ROOT / "cno" / (module.replace(".", "/") + ".py")).read_text()
    names = "socket|click|signal" if module == "server.connection" else "socket|ssl|click|signal"
    assert not re.search(rf"^\s*(import|from) ({names})\b", source, re.MULTILINE)


# ---- tests -------------------------------------------------------------------------------------

# A module that only defines types needs no tests of its own.
UNTESTED = {"gateway.interface"}


@pytest.mark.parametrize(
    "module",
    [
        module
        for module in MODULES
        if module.startswith(("gateway.", "process."))
        and not module.endswith(".__init__")
        and module not in UNTESTED
    ],
)
def test_each_module_has_a_file_of_tests(module: str) -> None:
    package, _, name = module.partition(".")
    assert (ROOT / "tests" / package / f"test_{name}.py").is_file()


# ---- C ------------------------------------------------------------------------------------------

# From the bottom to the top: a place is a file of csrc/ without its ending, or a folder. A file
# includes headers of its own place and of those below it.
PLACES = [
    "version",
    "config",
    "common",
    "hpack.h",
    "core.h",
    "message/",
    "ws.h",
    "ws/",
    "hpack/",
    "conn",
    "stream",
    "h2/",
    "h1/",
    "core.c",
    "batch.h",
    "batch/",
]

PUBLIC = {"version.h", "common.h", "hpack.h", "core.h", "ws.h", "batch.h"}

# The files of a lower place that a place may include, if not all of them.
NARROW = {
    ("ws/", "core.h"): set(),  # WebSocket frames are the same in every tunnel
    ("ws/", "message/"): {"message/utf8.h"},
    ("h1/", "h2/"): {"h2/upgrade.h"},  # the one way from HTTP/1 to HTTP/2
    ("batch/", "ws/"): set(),
    ("batch/", "hpack/"): set(),  # a batch is a client of the public calls
    ("batch/", "conn"): set(),
    ("batch/", "stream"): set(),
    ("batch/", "h2/"): set(),
    ("batch/", "h1/"): set(),
}

FOREIGN = re.compile(r"sys/|time\.h|unistd|pthread|socket|netinet|Python\.h|signal\.h|threads\.h")

SOURCES = sorted(str(path.relative_to(ROOT / "csrc")) for path in (ROOT / "csrc").rglob("*.[ch]"))


def place(source: str) -> str:
    """Returns the place of a file."""
    folder = source.rpartition("/")[0]
    names = [f"{folder}/"] if folder else [source, source[:-2]]
    (found,) = [name for name in names if name in PLACES]
    return found


def includes(source: str, mark: str) -> set[str]:
    """Returns the files that a source includes with `mark`: a quote or an angle bracket."""
    pattern = rf'^\s*#\s*include\s*{mark}([^">]+)'
    return set(re.findall(pattern, (ROOT / "csrc" / source).read_text(), re.MULTILINE))


@pytest.mark.parametrize("source", SOURCES)
def test_includes_go_one_way(source: str) -> None:
    mine = place(source)
    for header in includes(source, '"'):
        assert header in SOURCES, f"{source} includes {header}, which is written another way"
        theirs = place(header)
        assert PLACES.index(theirs) <= PLACES.index(mine), f"{source} must not know {header}"
        assert header in NARROW.get((mine, theirs), {header}), f"{source} must not know {header}"


def test_every_place_has_files() -> None:
    assert {place(source) for source in SOURCES} == set(PLACES)


@pytest.mark.parametrize("source", SOURCES)
def test_engine_has_no_sockets_no_clock_no_python(source: str) -> None:
    assert not [name for name in includes(source, "<") if FOREIGN.search(name)]


@pytest.mark.parametrize("header", sorted(PUBLIC))
def test_public_headers_stand_alone(header: str) -> None:
    assert includes(header, '"') <= PUBLIC - {header}
