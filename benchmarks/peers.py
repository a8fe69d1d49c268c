"""The peers' own virtual environment, and which versions it holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from load import last_line
from servers import Server

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
# Within the environment of the interpreter that runs this, so that it is one interpreter for all.
VENV = Path(sys.prefix) / "peers"

_LIST_VERSIONS = """
import importlib.metadata, json, platform
names = {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}
names["python"] = platform.python_version()
print(json.dumps(names))
"""


def interpreter(venv: Path) -> Path:
    """The Python of a virtual environment."""
    return venv / "bin" / "python"


def versions(python: Path) -> dict[str, str]:
    """Distribution name, in lower case, to version, of all that `python` can import and itself."""
    if not python.exists():
        return {}
    command = [str(python), "-I", "-c", _LIST_VERSIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def pins() -> list[str]:
    """The lines of requirements.txt without its comments."""
    lines = [line.strip() for line in REQUIREMENTS.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def install(venv: Path) -> dict[str, str]:
    """Bring `venv` to the pinned versions; returns distribution -> why it has none."""
    python = interpreter(venv)
    found = versions(python)
    wanted = [pin for pin in pins() if found.get(pin.split("==")[0].lower()) != pin.split("==")[1]]
    if not wanted:
        return {}
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    print(f"installing {', '.join(wanted)}", flush=True)
    if not _pip(python, wanted):
        return {}
    reasons = {pin.split("==")[0]: _pip(python, [pin]) for pin in wanted}
    return {name: reason for name, reason in reasons.items() if reason}


def _pip(python: Path, requirements: list[str]) -> str:
    """Install; returns an empty string, or pip's last line when it failed."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True)
    return last_line(done.stderr + done.stdout) if done.returncode else ""


def missing(server: Server, found: dict[str, str], reasons: dict[str, str]) -> str:
    """Why `server` cannot start with the distributions `found`, or an empty string."""
    absent = [name for name in server.packages if name not in found]
    explained = [f"{name} ({reasons[name]})" if name in reasons else name for name in absent]
    return f"not installed: {', '.join(explained)}" if absent else ""
