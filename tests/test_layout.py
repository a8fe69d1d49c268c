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
    "answer.h": PUBLIC | {"batch.h"},
    "batch_answer.c": PUBLIC | {"batch.h", "answer.h", "chars.h", "config.h", "marshal.h"},
    "batch.c": PUBLIC | {"batch.h", "answer.h", "chars.h", "config.h", "marshal.h"},
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
