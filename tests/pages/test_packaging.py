"""The packages: a source archive that builds without git, and a wheel that works on its own."""

import email
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import cno

pytest.importorskip("build")

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.timeout(300)


def run(*command: object, cwd: Path) -> str:
    """Runs a command that has to succeed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes the archive from a copy of the tree that has neither .git nor built files."""
    home = tmp_path_factory.mktemp("packaging")
    ignored = shutil.ignore_patterns(
        ".*_cache", ".git", ".venv", "obj", "build", "dist", "*.so", "__pycache__"
    )
    shutil.copytree(ROOT, home / "tree", ignore=ignored)
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "-o", home, cwd=home / "tree")
    (archive,) = home.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """Lets pip build the wheel from the archive, with build isolation."""
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", ".", sdist, cwd=sdist.parent)
    (built,) = sdist.parent.glob("*.whl")
    return built


def test_sdist_has_the_sources(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder, pattern in (
        ("csrc", "*.*"),
        ("csrc", "*/*.*"),
        ("docs", "*.md"),
        ("examples", "*.*"),
        ("tools", "*.py"),
        ("cno", "*.py"),
        ("cno", "*.c"),
        ("tests", "*.py"),
    ):
        assert {str(path.relative_to(ROOT)) for path in (ROOT / folder).glob(pattern)} <= names
    assert {"LICENSE", "README.md", "Makefile", "setup.py", "cno/py.typed"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc", ".o"))]


def test_wheel_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(about))
        entry_points = archive.read(about.replace("METADATA", "entry_points.txt")).decode()
    assert metadata["Version"] == cno.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    needs = {need.split(">")[0]: need for need in metadata.get_all("Requires-Dist")}
    assert set(needs) == {"cffi", "click", "uvloop"}
    assert "win32" in needs["uvloop"]
    assert "PyPy" in needs["uvloop"]
    assert "cno-asgi = cno.process.cli:main" in entry_points
    assert "cno/py.typed" in names
    assert not [name for name in names if name.endswith((".c", ".h")) or "tests" in name]
    if sys.implementation.name == "cpython" and "t" not in sys.abiflags:
        assert "-cp310-abi3-" in wheel.name
        assert {"cno/engine/_libcno.abi3.so", "cno/engine/_fast.abi3.so"} <= set(names)


def test_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    run(binaries / "python", "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    seen = run(
        binaries / "python", "-c", "import cno.engine._fast as f; print(f.__file__)", cwd=tmp_path
    )
    assert Path(seen.strip()).is_relative_to(tmp_path)
    assert f"cno {cno.__version__} " in run(binaries / "cno-asgi", "--version", cwd=tmp_path)
