"""The TLS context of a server."""

from __future__ import annotations

import ssl

from cno.config.errors import StartupFailed
from cno.config.options import Config


def context(config: Config) -> ssl.SSLContext | None:
    """Returns the TLS context for --ssl-certfile and --ssl-keyfile, or None without a certificate.

    The context offers TLS 1.2 and newer, without compression and renegotiation (RFC 9113 section
    9.2.1). Raises StartupFailed with a line that names the file.
    """
    if config.ssl_certfile is None:
        return None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    tls.set_alpn_protocols(["h2", "http/1.1"] if config.http2 else ["http/1.1"])
    _load(tls, config.ssl_certfile, config.ssl_keyfile, config.ssl_keyfile_password)
    return tls


def _load(tls: ssl.SSLContext, certfile: str, keyfile: str | None, secret: str | None) -> None:
    asked = False

    def password() -> str:  # without a callback OpenSSL asks on the terminal
        nonlocal asked
        asked = True
        return secret or ""

    for flag, path in ("--ssl-certfile", certfile), ("--ssl-keyfile", keyfile or certfile):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise StartupFailed(f"{flag}: cannot read {path!r}: {error.strerror}") from None
    try:
        tls.load_cert_chain(certfile, keyfile, password)
    except (ssl.SSLError, ValueError) as error:
        key = keyfile or certfile
        if asked and secret:
            reason = f"--ssl-keyfile-password: the password does not open the key in {key!r}"
        elif asked:
            reason = (
                f"--ssl-keyfile-password: no password is given for the encrypted key in {key!r}"
            )
        elif getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            reason = f"--ssl-keyfile: {key!r} is not the key of the certificate in {certfile!r}"
        else:
            files = repr(certfile) + (f" with {keyfile!r}" if keyfile else "")
            reason = f"--ssl-certfile: no usable certificate and key in {files} ({error})"
        raise StartupFailed(reason) from None
