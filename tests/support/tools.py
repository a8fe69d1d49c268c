"""The programs that some tests need, and the certificate that tests share."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest


def tool(name: str) -> str:
    """Returns the path of a program. If the program is missing, skips the test, or fails the test
    when CNO_REQUIRE_TOOLS is set."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")  # Debian's folder of servers
    if path is None:
        say = pytest.fail if os.environ.get("CNO_REQUIRE_TOOLS") else pytest.skip
        say(f"{name} is not installed (try: make tools)")
    return path


class Certificate(NamedTuple):
    """The files of a self-signed certificate for localhost and 127.0.0.1."""

    cert: Path
    key: Path
    encrypted_key: Path
    password: str
