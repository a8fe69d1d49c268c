"""libcno for programs in C: its headers, its version, what it exports, and `make install`."""

import os
import re
import runpy
import subprocess
from pathlib import Path

import pytest

import cno
from cno.engine._libcno import lib
from tools import tool

ROOT = Path(__file__).resolve().parent.parent.parent

PROGRAM = ROOT / "tests" / "c" / "use_library.c"

STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]

HEADERS = runpy.run_path(str(ROOT / "tools" / "ffi_build.py"), run_name="builder")["HEADERS"]

pytestmark = pytest.mark.timeout(180)


def run(*command: object, env: dict[str, str] | None = None) -> str:
    """Runs a command that has to succeed; returns its output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make(*arguments: object) -> None:
    """Runs make, without the environment variables of a make that runs these tests."""
    run("env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", tool("make"), "-s", *arguments)


def files(root: Path) -> set[str]:
    """Returns every file and link under `root`."""
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_symlink() or p.is_file()}


# ---- headers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["c11", "c++11"])
@pytest.mark.parametrize("header", HEADERS)
def test_each_header_compiles_on_its_own(header: str, language: str, tmp_path: Path) -> None:
    compiler = tool("g++" if "+" in language else "gcc")
    source = tmp_path / ("alone.cc" if "+" in language else "alone.c")
    source.write_text(f'#include "{header}"\n#include "{header}"\nint alone;\n')
    run(compiler, f"-std={language}", *STRICT, "-Icsrc", "-fsyntax-only", source)


# ---- version ------------------------------------------------------------------------------------


def test_the_version_is_the_same_everywhere() -> None:
    parts = (lib.CNO_VERSION_MAJOR, lib.CNO_VERSION_MINOR, lib.CNO_VERSION_PATCH)
    assert ".".join(map(str, parts)) == cno.__version__
    number = parts[0] << 16 | parts[1] << 8 | parts[2]
    assert number == lib.CNO_VERSION_NUMBER == lib.cno_library_version()


# ---- installed ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installs the library; returns the directory."""
    home = tmp_path_factory.mktemp("prefix") / "usr"
    make("install", f"PREFIX={home}")
    return home


def pkg_config(prefix: Path, *arguments: str) -> list[str]:
    """Returns the output of pkg-config for the library under `prefix`."""
    where = {"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig"), "PKG_CONFIG_LIBDIR": ""}
    return run(tool("pkg-config"), *arguments, "libcno", env=where).split()


EXPECTED = ["1: 200", "/hello", "1: 200", "/hello"]


def check_program(program: Path, **env: str) -> None:
    """The program prints its version and the results of its two requests."""
    first, *lines = run(program, env=env).splitlines()
    assert first == f"{cno.__version__} 1"
    assert lines == EXPECTED


def test_a_shared_program(prefix: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    flags = pkg_config(prefix, "--cflags", "--libs")
    run(tool("gcc"), "-std=c11", *STRICT, PROGRAM, *flags, "-o", program)
    dynamic = run(tool("readelf"), "-d", program)
    (soname,) = re.findall(r"NEEDED.*\[(libcno\.so\.[\d.]+)\]", dynamic)
    assert cno.__version__.startswith(soname.removeprefix("libcno.so.") + ".")
    check_program(program, LD_LIBRARY_PATH=str(prefix / "lib"))


def test_a_static_program(prefix: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    flags = pkg_config(prefix, "--static", "--cflags", "--libs")
    run(tool("gcc"), "-std=c11", *STRICT, "-static", PROGRAM, *flags, "-o", program)
    check_program(program)


def test_a_program_in_cpp(prefix: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    flags = pkg_config(prefix, "--cflags", "--libs")
    run(tool("g++"), "-std=c++11", *STRICT, "-x", "c++", PROGRAM, *flags, "-o", program)
    check_program(program, LD_LIBRARY_PATH=str(prefix / "lib"))


def test_what_pkg_config_says(prefix: Path) -> None:
    assert pkg_config(prefix, "--modversion") == [cno.__version__]
    assert pkg_config(prefix, "--cflags") == [f"-I{prefix}/include"]
    for how in ((), ("--static",)):
        assert pkg_config(prefix, *how, "--libs") == [f"-L{prefix}/lib", "-lcno"]
    moved = pkg_config(prefix, "--define-variable=prefix=/elsewhere", "--cflags", "--libs")
    assert moved == ["-I/elsewhere/include", "-L/elsewhere/lib", "-lcno"]


def test_the_shared_library_exports_what_the_headers_declare(prefix: Path) -> None:
    listed = run(tool("nm"), "-D", "--defined-only", prefix / "lib" / "libcno.so")
    exported = {line.split()[-1] for line in listed.splitlines()}
    comment = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
    headers = sorted((prefix / "include" / "cno").iterdir())
    assert sorted(header.name for header in headers) == sorted(HEADERS)
    code = comment.sub("", "\n".join(header.read_text() for header in headers))
    assert exported == set(re.findall(r"\b(cno_[a-z]\w*)\(", code))


def test_the_shared_library_needs_libc_alone(prefix: Path) -> None:
    dynamic = run(tool("readelf"), "-d", prefix / "lib" / "libcno.so")
    needed = re.findall(r"NEEDED.*\[([\w.-]+)\]", dynamic)
    assert [name for name in needed if not name.startswith(("libc.so", "ld-linux"))] == []


def test_staged_with_other_directories_and_removed_again(tmp_path: Path) -> None:
    where = [
        f"DESTDIR={tmp_path}",
        "PREFIX=/opt/cno",
        "LIBDIR=/opt/cno/lib/here",
        "INCLUDEDIR=/include",
    ]
    make("install", *where)
    version = cno.__version__
    links = {"libcno.so", f"libcno.so.{version.rpartition('.')[0]}"}
    expected = {f"include/cno/{name}" for name in HEADERS}
    expected |= {f"opt/cno/lib/here/{name}" for name in links}
    expected |= {f"opt/cno/lib/here/{name}" for name in ("libcno.a", f"libcno.so.{version}")}
    expected |= {"opt/cno/lib/here/pkgconfig/libcno.pc"}
    assert files(tmp_path) == expected
    library = tmp_path / "opt/cno/lib/here"
    for link in links:
        assert (library / link).resolve() == (library / f"libcno.so.{version}").resolve()
    about = (library / "pkgconfig" / "libcno.pc").read_text()
    assert str(tmp_path) not in about
    assert "\nlibdir=${prefix}/lib/here\n" in about
    assert "\nincludedir=/include\n" in about
    make("uninstall", *where)
    assert files(tmp_path) == set()
