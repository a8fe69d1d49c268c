"""Who may know whom: imports in cno/, includes in csrc/. A new file needs a place here."""

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
    {"accel"},
    {"process"},
]

# What all may read; a leaf imports nothing of cno but itself.
LEAVES_PY = {"config", "observe"}

# Modules of the seed's names, and who runs the command.
ALONE = {"__init__": set(), "raw": {"engine"}, "__main__": {"process"}}

RANK = {package: number for number, row in enumerate(ORDER) for package in row}

MODULES = sorted(
    ".".join(path.relative_to(ROOT / "cno").with_suffix("").parts)
    for path in (ROOT / "cno").rglob("*.py")
)


def package_of(module: str) -> str:
    return module.partition(".")[0]


def imports(module: str) -> set[str]:
    """The modules of cno that the source of one mentions, at whatever depth of the file."""
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
    """The packages that a file of this one may import from, beside its own."""
    if package in LEAVES_PY:
        return set()
    if package in ALONE:
        return ALONE[package]
    assert package in RANK, f"cno/{package} has no place in {Path(__file__).name}"
    return LEAVES_PY | {name for name, rank in RANK.items() if rank < RANK[package]}


@pytest.mark.parametrize("module", [m for m in MODULES if m != "__init__"])  # that exports
def test_imports_go_one_way(module: str) -> None:
    package = package_of(module)
    for name in imports(module):
        other = package_of(name)
        if other in ("_engine", "_accel", "__init__", "__version__"):
            continue  # tested below; cno itself has the version
        assert other in {package} | may_import(package), f"cno.{module} must not know cno.{name}"


def test_an_import_that_goes_up_is_seen() -> None:
    assert "asgi" not in may_import("server")
    assert "process" not in may_import("asgi")
    assert "client" not in may_import("server")
    assert may_import("config") == set()


@pytest.mark.parametrize("module", MODULES)
def test_only_the_binding_sees_the_compiled_modules(module: str) -> None:
    names = {package_of(name) for name in imports(module)}
    assert package_of(module) == "engine" or "_engine" not in names
    assert module == "accel" or "_accel" not in names


# Where connections are made, and the command.
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


# ---- C ------------------------------------------------------------------------------------------

LEAVES = set(
    "config.h common.h common.c chars.h chars.c words.h fault.h frame.h frame.c flow.h budget.h"
    " huffman.h huffman.c hpack.h hpack.c hpack_table.h hpack_tables.h hpack_decode.c"
    " hpack_encode.c h1_parse.h h1_parse.c bounds.h bounds.c marshal.h marshal.c version.h"
    " priority.h priority.c".split()
)

PUBLIC = {"version.h", "common.h", "hpack.h", "core.h"}

# core.h is the vocabulary of the engine; conn.h and what stands on it know a connection inside.
MAY_INCLUDE = {leaf: LEAVES | {"core.h"} for leaf in LEAVES} | {
    "core.h": {"version.h", "common.h", "hpack.h"},
    "message.h": LEAVES | {"core.h"},
    "message.c": LEAVES | {"core.h", "message.h"},
    "message_out.c": LEAVES | {"core.h", "message.h"},
    "conn.h": LEAVES | {"core.h", "message.h"},
    "request.c": LEAVES | {"core.h", "message.h", "conn.h"},
    "stream.c": LEAVES | {"core.h", "message.h", "conn.h"},
    "h1.c": LEAVES | {"core.h", "message.h", "conn.h"},
    "h1_send.c": LEAVES | {"core.h", "message.h", "conn.h"},
    "h2_headers.c": LEAVES | {"core.h", "message.h", "conn.h"},
    "h2_recv.c": LEAVES | {"core.h", "message.h", "conn.h"},
    "h2_priority.c": LEAVES | {"core.h", "message.h", "conn.h"},
    "h2_send.c": LEAVES | {"core.h", "message.h", "conn.h"},
    "h2c.c": LEAVES | {"core.h", "message.h", "conn.h"},
    "core.c": LEAVES | {"core.h", "message.h", "conn.h"},
    "batch.h": PUBLIC,
    "batch_answer.c": PUBLIC | {"batch.h", "chars.h", "config.h", "marshal.h"},
    "batch.c": PUBLIC | {"batch.h", "chars.h", "config.h", "marshal.h"},
}

FOREIGN = re.compile(r"sys/|time\.h|unistd|pthread|socket|netinet|Python\.h|signal\.h|threads\.h")

SOURCES = sorted(path.name for path in (ROOT / "csrc").glob("*.[ch]"))


def includes(source: str, mark: str) -> set[str]:
    """What one source includes with `mark`, which is a quote or an angle bracket."""
    pattern = rf'^\s*#\s*include\s*{mark}([^">]+)'
    return set(re.findall(pattern, (ROOT / "csrc" / source).read_text(), re.MULTILINE))


@pytest.mark.parametrize("source", SOURCES)
def test_includes_go_one_way(source: str) -> None:
    assert source in MAY_INCLUDE, f"csrc/{source} has no place in {Path(__file__).name}"
    assert includes(source, '"') <= MAY_INCLUDE[source]


@pytest.mark.parametrize("source", SOURCES)
def test_engine_has_no_sockets_no_clock_no_python(source: str) -> None:
    assert not [name for name in includes(source, "<") if FOREIGN.search(name)]


@pytest.mark.parametrize("header", [s for s in SOURCES if s in PUBLIC])
def test_public_headers_stand_alone(header: str) -> None:
    assert includes(header, '"') <= PUBLIC - {header}
