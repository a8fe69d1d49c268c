"""Who may know whom: imports in cno/, includes in csrc/. A new file needs a place here."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# ---- Python: a module imports only from the layers above its own line ---------------------------

LAYERS = [
    {"_engine", "_accel"},
    {"__init__", "interface", "config", "logs", "engine", "fields", "failures"},
    {"raw", "connection", "lifespan", "loader", "listen", "tls"},
    {"serving", "channel", "body"},
    {"scope", "host"},
    {"server", "exchange"},
    {"requester"},
    {"client"},
    {"dial"},
    {"asgi"},
    {"accel"},
    {"gateway"},
    {"service"},
    {"supervisor"},
    {"cli"},
    {"__main__"},
]

RANK = {module: number for number, layer in enumerate(LAYERS) for module in layer}

MODULES = sorted(path.stem for path in (ROOT / "cno").glob("*.py"))


def imports(module: str) -> set[str]:
    """The modules of cno that the source of one mentions, at whatever depth of the file."""
    tree = ast.parse((ROOT / "cno" / f"{module}.py").read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "cno"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}.py:{node.lineno}: relative import"
            if node.module == "cno":
                found |= {f"cno.{a.name}" for a in node.names}
            elif node.module and node.module.startswith("cno."):
                found.add(node.module)
    return {name.partition(".")[2].split(".")[0] or "__init__" for name in found}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    assert module in RANK, f"cno/{module}.py has no layer in {Path(__file__).name}"
    if module == "__init__":
        pytest.skip("it names what it exports, and loads it on demand")
    for name in imports(module):
        assert RANK[name] < RANK[module], f"cno.{module} must not know cno.{name}"


@pytest.mark.parametrize("module", MODULES)
def test_only_the_binding_sees_the_engine(module: str) -> None:
    assert module == "engine" or "_engine" not in imports(module)
    assert module == "accel" or "_accel" not in imports(module)


@pytest.mark.parametrize("module", ["server", "client", "body", "channel"])
def test_the_server_knows_no_asgi(module: str) -> None:
    known, seen = {module}, set()
    while known - seen:
        name = (known - seen).pop()
        seen.add(name)
        known |= imports(name) & set(MODULES)
    assert not known & {"scope", "asgi", "gateway", "lifespan", "service", "interface"}


@pytest.mark.parametrize(
    "module",
    [
        "engine",
        "raw",
        "scope",
        "asgi",
        "accel",
        "server",
        "client",
        "requester",
        "exchange",
        "body",
        "channel",
    ],
)
def test_protocol_layers_own_no_sockets(module: str) -> None:
    source = (ROOT / "cno" / f"{module}.py").read_text()
    assert not re.search(r"^\s*(import|from) (socket|ssl|click|signal)\b", source, re.MULTILINE)


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
    "hpack/",
    "conn",
    "stream",
    "h2/",
    "h1/",
    "core.c",
    "batch.h",
    "batch/",
]

PUBLIC = {"version.h", "common.h", "hpack.h", "core.h", "batch.h"}

# What a place may include of a place below it, where that is not everything.
NARROW = {
    ("h1/", "h2/"): {"h2/upgrade.h"},  # the one way from HTTP/1 to HTTP/2
    ("batch/", "hpack/"): set(),  # a batch is a client of the public calls
    ("batch/", "conn"): set(),
    ("batch/", "stream"): set(),
    ("batch/", "h2/"): set(),
    ("batch/", "h1/"): set(),
}

FOREIGN = re.compile(r"sys/|time\.h|unistd|pthread|socket|netinet|Python\.h|signal\.h|threads\.h")

SOURCES = sorted(str(path.relative_to(ROOT / "csrc")) for path in (ROOT / "csrc").rglob("*.[ch]"))


def place(source: str) -> str:
    """The one of PLACES that a file is in."""
    folder = source.rpartition("/")[0]
    names = [f"{folder}/"] if folder else [source, source[:-2]]
    (found,) = [name for name in names if name in PLACES]
    return found


def includes(source: str, mark: str) -> set[str]:
    """What one source includes with `mark`, which is a quote or an angle bracket."""
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
