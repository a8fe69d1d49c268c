"""cno/process/tls.py: the context, its errors, and the protocol that ALPN chooses."""

import ssl
import subprocess
from pathlib import Path

import pytest
from servers import FREE, PATIENCE, running

from cno.config.errors import StartupFailed
from cno.config.options import Config
from cno.process import tls
from tools import Certificate, tool


def test_no_certificate_no_tls() -> None:
    assert tls.context(Config()) is None


def test_context(certificate: Certificate) -> None:
    context = tls.context(Config(ssl_certfile=certificate.cert, ssl_keyfile=certificate.key))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_password(certificate: Certificate) -> None:
    files = {"ssl_certfile": certificate.cert, "ssl_keyfile": certificate.encrypted_key}
    assert tls.context(Config(**files, ssl_keyfile_password=certificate.password))
    with pytest.raises(
        StartupFailed, match=r"password: the password does not open .*encrypted\.pem"
    ):
        tls.context(Config(**files, ssl_keyfile_password="wrong"))
    with pytest.raises(StartupFailed, match=r"no password is given for .*encrypted\.pem"):
        tls.context(Config(**files))


def test_files_that_will_not_do(certificate: Certificate, tmp_path: Path) -> None:
    absent = tmp_path / "absent.pem"
    with pytest.raises(
        StartupFailed, match=r"--ssl-certfile: cannot read '.*absent\.pem': No such"
    ):
        tls.context(Config(ssl_certfile=absent))
    with pytest.raises(StartupFailed, match=r"--ssl-keyfile: cannot read '.*absent\.pem': No such"):
        tls.context(Config(ssl_certfile=certificate.cert, ssl_keyfile=absent))
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    with pytest.raises(StartupFailed, match=r"no usable certificate and key in '.*junk\.pem'"):
        tls.context(Config(ssl_certfile=junk))


@pytest.mark.parametrize(("flags", "version"), [((), "2"), (("--no-http2",), "1.1")])
def test_tls_and_alpn(flags: tuple[str, ...], version: str, certificate: Certificate) -> None:
    files = ("--ssl-certfile", str(certificate.cert), "--ssl-keyfile", str(certificate.key))
    with running("apps:hello", *FREE, *files, *flags) as server:
        url = server.ready()
        assert url.startswith("https://")
        done = subprocess.run(
            [
                tool("curl"),
                "-sS",
                "--http2",
                "--cacert",
                certificate.cert,
                "-w",
                "%{http_version}",
                url,
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == f"yes{version}"
