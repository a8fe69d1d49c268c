"""URLs: where one leads, which origin an authority belongs to, and what a proxy is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote, urlsplit

# Each scheme: whether TLS is used, whether HTTP/2 is spoken without negotiation, the default port.
_SCHEMES = {
    "http": (False, False, 80),
    "https": (True, False, 443),
    "h2c": (False, True, 80),
    "h2": (True, True, 443),
}

# The characters of a request target, besides letters and digits, that need no quoting (RFC 3986
# section 3.3). "%" is among them because a target in a URL is quoted already.
_TARGET = "/%:@!$&'()*+,;=~-._?"

# A registered name (RFC 3986 section 3.2.2) without percent-encoding.
_NAME = re.compile(r"[\w.~!$&'()*+,;=-]+", re.ASCII)

# The host is either a name or, as a whole, a literal in brackets. Text beside the brackets is
# refused: parsers disagree about which of the two is the host then.
_AUTHORITY = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::(.*))?")

_ZONE = re.compile(r"[\w.~-]+", re.ASCII)

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

# The absolute form of a request target (RFC 9112 section 3.2.2): scheme, authority, the rest.
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/?#]*@)?([^/?#@]*)(.*)", re.DOTALL)


@dataclass(frozen=True)
class Place:
    """The server and the resource that a URL names."""

    secure: bool  # whether TLS is used
    http2: bool  # whether HTTP/2 is spoken without negotiation
    host: str  # for the resolver: an IPv6 address may have a zone, a name its final dot
    port: int
    authority: str
    target: str

    @property
    def scheme(self) -> str:
        """The scheme as HTTP knows it: "http" or "https"."""
        return "https" if self.secure else "http"

    @property
    def url(self) -> str:
        """The URL of the server alone."""
        return f"{self.scheme}://{self.authority}"

    @property
    def server_name(self) -> str:
        """The host for SNI and for the verification of the certificate."""
        return tls_name(self.host)


def tls_name(host: str) -> str:
    """The name of a host as TLS knows it: without the final dot (RFC 6066 section 3) and without a
    zone."""
    return host.partition("%")[0].removesuffix(".")


def parse(url: str) -> Place:
    """The place that a URL names. Raises ValueError with what is wrong about the URL."""
    if _CONTROLS.search(url):
        raise ValueError(f"{url!r} has a control character")
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"{url!r}: the scheme is none of {', '.join(_SCHEMES)}")
    if "@" in parts.netloc:
        raise ValueError("a URL with credentials: give an authorization field instead")
    secure, http2, usual = _SCHEMES[parts.scheme]
    try:
        host, port = _split_authority(parts.netloc, usual)
    except ValueError as error:
        raise ValueError(f"{url!r}: {error}") from None
    authority = _authority(host, port, usual)
    target = parts.path or "/"
    if "?" in url.partition("#")[0]:
        target += f"?{parts.query}"
    return Place(secure, http2, host, port, authority, quote(target, _TARGET))


def origin(scheme: str, authority: str) -> tuple[str, str]:
    """The scheme and the authority in the form in which those of one origin are equal (RFC 9110
    section 4.3.1). An authority that is malformed is equal to itself alone."""
    scheme = scheme.lower()
    usual = _SCHEMES[scheme][2] if scheme in _SCHEMES else 0
    try:
        return scheme, _authority(*_split_authority(authority, usual), usual)
    except ValueError:
        return scheme, authority


def split_target(target: bytes) -> tuple[bytes, bytes, bytes] | None:
    """The scheme, the authority and the rest of a request target in absolute form, None for one in
    another form. The authority is as a Host field has it: without user information and without the
    zone of an address."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return None
    scheme, authority, rest = match.groups()
    return scheme, re.sub(rb"%[^\]]*\]", b"]", authority), rest


def _split_authority(authority: str, usual: int) -> tuple[str, int]:
    """The host and the port of an authority; `usual` is the port that need not be told."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError("the host is neither a name nor one address in brackets")
    literal, name, port = match.groups()
    if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"port {port!r} is no number up to 65535")
    host = _name(name) if literal is None else _address(literal)
    return host, int(port) if port else usual


def _name(name: str) -> str:
    """A name as it is looked up: in lower case, and by IDNA where it is not ASCII."""
    if not name:
        raise ValueError("there is no host")
    name = name.lower().encode("idna").decode()
    if not _NAME.fullmatch(name) or name == ".":
        raise ValueError("the host is no name")
    return name


def _address(literal: str) -> str:
    """An IPv6 address with its zone, whose "%" is written as "%25" or as itself (RFC 6874)."""
    address, percent, zone = literal.partition("%")
    if percent:
        zone = zone[2:] if zone[:2] == "25" and len(zone) > 2 else zone
        if not _ZONE.fullmatch(zone):
            raise ValueError("the zone of the address is no name")
    return f"{IPv6Address(address)}{percent}{zone}"


def _authority(host: str, port: int, usual: int) -> str:
    """An authority as it is sent: without a zone, which means nothing to the other side, and
    without the usual port."""
    address = host.partition("%")[0]
    name = f"[{address}]" if ":" in host else host
    return name if port == usual else f"{name}:{port}"
