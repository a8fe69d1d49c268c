"""cno.client.url: where a URL leads, and whose name is sent."""

from __future__ import annotations

import re

import pytest

from cno.client.url import origin, parse, split_target

AUTHORITIES = [
    ("http://example.com", "example.com", 80, "example.com"),
    ("HTTP://Example.COM:80/", "example.com", 80, "example.com"),
    ("http://example.com:443", "example.com", 443, "example.com:443"),
    ("https://example.com:443", "example.com", 443, "example.com"),
    ("https://example.com:80", "example.com", 80, "example.com:80"),
    ("h2c://example.com", "example.com", 80, "example.com"),
    ("h2://example.com", "example.com", 443, "example.com"),
    ("http://example.com:", "example.com", 80, "example.com"),
    ("http://example.com:0", "example.com", 0, "example.com:0"),
    ("http://[::1]", "::1", 80, "[::1]"),
    ("http://[::1]:", "::1", 80, "[::1]"),
    ("http://[::1]:8080/", "::1", 8080, "[::1]:8080"),
    ("http://[0:0:0::0001]/", "::1", 80, "[::1]"),
    ("http://127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080"),
    ("http://b\u00fccher.example/", "xn--bcher-kva.example", 80, "xn--bcher-kva.example"),
    # A fully qualified name is looked up and sent with its dot, as curl and browsers do.
    ("https://Example.com./", "example.com.", 443, "example.com."),
    # A zone means something on this host alone (RFC 6874 section 4).
    ("http://[fe80::1%25eth0]/", "fe80::1%eth0", 80, "[fe80::1]"),
    ("http://[fe80::1%eth0]:81/", "fe80::1%eth0", 81, "[fe80::1]:81"),
    ("http://[FE80::1%25Eth0]/", "fe80::1%Eth0", 80, "[fe80::1]"),
    ("http://[fe80::1%25]/", "fe80::1%25", 80, "[fe80::1]"),
]


@pytest.mark.parametrize(("url", "host", "port", "authority"), AUTHORITIES)
def test_authorities(url: str, host: str, port: int, authority: str) -> None:
    place = parse(url)
    assert (place.host, place.port, place.authority) == (host, port, authority)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/", "example.com"),
        ("https://example.com./", "example.com"),
        ("https://[::1]/", "::1"),
        ("https://[fe80::1%25eth0]/", "fe80::1"),
        ("https://127.0.0.1/", "127.0.0.1"),
    ],
)
def test_the_name_that_tls_is_told(url: str, name: str) -> None:
    """RFC 6066 section 3: a name in SNI has no trailing dot, nor has one in a certificate."""
    assert parse(url).server_name == name


NO_URLS = {
    "example.com": "scheme",
    "": "scheme",
    "/path": "scheme",
    "ftp://example.com/": "scheme",
    "ws://example.com/": "scheme",
    "http:///path": "host",
    "http://": "host",
    "http:example.com": "host",
    "http://:80/": "host",
    "http://user@example.com/": "credentials",
    "http://user:secret@example.com/": "credentials",
    "http://:secret@example.com/": "credentials",
    "http://@example.com/": "credentials",
    "http://example.com:x/": "[Pp]ort",
    "http://example.com:65536/": "[Pp]ort",
    "http://example.com:-1/": "[Pp]ort",
    "http://example.com:\u0668\u0660/": "[Pp]ort",
    "http://example.com:80:80/": "[Pp]ort",
    "http://[::1/": "IPv6",
    "http://[::zz]/": "",
    "http://[]/": "",
    "http://[127.0.0.1]/": "",
    "http://exa mple.com/": "host",
    "http://exam%70le.com/": "host",
    "http://good.example\\.other.example/": "host",
    "http://b\u00fcch er.example/": "host",
    "http://[example]/": "",
    "http://" + "\u00fc" * 64 + ".example/": "",
    "http://" + "a" * 64 + ".example/": "",
    "http://a..example/": "",
    "http://./": "",
    "http://example.com/\ud800": "",
    # Text beside an IPv6 literal: other parsers see another host.
    "http://good.example[::1]/": "",
    "http://good.example[::1]:80/": "",
    "http://[::1].good.example/": "",
    "http://[::1]good.example/": "",
    "http://[::1][::2]/": "",
    "http://[[::1]]/": "",
    "http://]::1[/": "",
    "http://::1/": "",
    "http://\uff3b::1\uff3d/": "",
    "http://[fe80::1%25a b]/": "",
    "http://[fe80::1%]/": "",
    "http://[fe80::1%25eth0%25eth1]/": "",
    # urlsplit drops these.
    "http://good.exa\nmple/": "control",
    "http://example.com/a\tb": "control",
    "http://example.com/\x7f": "control",
}


@pytest.mark.parametrize("url", NO_URLS, ids=ascii)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(url)
    assert re.search(NO_URLS[url], str(caught.value))
    assert "secret" not in str(caught.value)


ORIGINS = [
    ("http", "example.com", "HTTP", "Example.COM:80", True),
    ("https", "example.com:443", "https", "example.com", True),
    ("https", "example.com:", "https", "example.com", True),
    ("http", "[::1]:80", "http", "[::1]", True),
    ("http", "[::1]", "http", "[0::1]", True),
    ("http", "example.com:443", "http", "example.com", False),
    ("http", "example.com", "https", "example.com", False),
    ("http", "example.com:80", "http", "example.com:81", False),
    ("http", "example.com", "http", "example.com.", False),
    ("http", "example.com", "http", "www.example.com", False),
    ("http", "example.com", "http", "user@example.com", False),
]


@pytest.mark.parametrize(("scheme", "authority", "scheme2", "authority2", "same"), ORIGINS)
def test_origins(scheme: str, authority: str, scheme2: str, authority2: str, same: bool) -> None:
    assert (origin(scheme, authority) == origin(scheme2, authority2)) == same


TARGETS: dict[str, tuple[str, str, str] | None] = {
    "/path": None,
    "*": None,
    "/http://example.com/": None,
    "example.com:80": None,
    "http:/path": None,
    "http://example.com": ("http", "example.com", ""),
    "http://example.com/a?b": ("http", "example.com", "/a?b"),
    "HTTP://Example.com:81?b": ("HTTP", "Example.com:81", "?b"),
    "https://[::1]:81/": ("https", "[::1]:81", "/"),
    "http://[fe80::1%25eth0]:81/": ("http", "[fe80::1]:81", "/"),
    "http://user:pass@example.com/@": ("http", "example.com", "/@"),
}


@pytest.mark.parametrize("target", TARGETS)
def test_targets_in_absolute_form(target: str) -> None:
    """RFC 9112 section 3.2.2: what a proxy is asked for, and the Host that goes with it."""
    wanted = TARGETS[target]
    assert split_target(target.encode()) == (wanted and tuple(part.encode() for part in wanted))
