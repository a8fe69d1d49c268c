"""What more than one file of tests uses."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


def tool(name: str) -> str:
    """The path of a program. Without it: a skip, or a failure where CNO_REQUIRE_TOOLS is set."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")  # where Debian has servers
    if path is None:
        say = pytest.fail if os.environ.get("CNO_REQUIRE_TOOLS") else pytest.skip
        say(f"{name} is not installed (try: make tools)")
    return path


class Certificate(NamedTuple):
    """Files of a self-signed certificate for localhost and 127.0.0.1."""

    cert: Path
    key: Path
    encrypted_key: Path
    password: str


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Made with the openssl command, once per run."""
    openssl = tool("openssl")
    home = tmp_path_factory.mktemp("tls")
    made = Certificate(home / "cert.pem", home / "key.pem", home / "encrypted.pem", "open sesame")
    make = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    make += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    encrypt = [openssl, "ec", "-aes256", "-passout", f"pass:{made.password}", "-in", str(made.key)]
    for command in (
        [*make, "-keyout", str(made.key), "-out", str(made.cert)],
        [*encrypt, "-out", str(made.encrypted_key)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return made
