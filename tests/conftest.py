"""Fixtures that more than one file of tests uses."""

import subprocess

import pytest

from tools import Certificate, tool


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate that the openssl command makes once per run."""
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
