"""What is measured. Each case is one Load; every server gets the same."""

from __future__ import annotations

from app import HELLO, ONE_M, TEN_K, UPLOAD_SIZE
from load import Load

# Eight fields of a Chrome navigation. On HTTP/2 h2load adds the four pseudo-fields, on HTTP/1.1 wrk
# adds Host. benchmarks/engine/input.c sends the same eight.
BROWSER = (
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/131.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.9"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    (
        "cookie",
        "session=4f1c8a0d9be2437fa6d05c11; theme=dark; _ga=GA1.1.1734502984.1717430400; "
        "consent=accepted",
    ),
    ("referer", "https://www.example.com/"),
    ("sec-fetch-mode", "navigate"),
    ("upgrade-insecure-requests", "1"),
)

ANSWER_SIZE = len(str(UPLOAD_SIZE))

# wrk makes short requests with less CPU time than h2load does; of large ones so few are made in a
# window that each counts, and h2load makes exactly as many as it is told to. So it does in their
# warm-up: weft 0.1.1 stops answering once clients have left in the middle of large responses.
WARMUP = 500

CASES = {
    "h1-hello": Load("h1", "/", 64, 1, (), len(HELLO), tool="wrk"),
    "h1-browser": Load("h1", "/", 64, 1, BROWSER, len(HELLO), tool="wrk"),
    "h2-hello": Load("h2", "/", 8, 32, (), len(HELLO)),
    "h2-browser": Load("h2", "/", 8, 32, BROWSER, len(HELLO)),
    "h1-10k": Load("h1", "/10k", 64, 1, (), len(TEN_K), tool="wrk"),
    "h2-10k": Load("h2", "/10k", 8, 32, (), len(TEN_K)),
    "h1-1m": Load("h1", "/1m", 8, 1, (), len(ONE_M), warmup=WARMUP),
    "h2-1m": Load("h2", "/1m", 8, 4, (), len(ONE_M), warmup=WARMUP),
    "h1-upload": Load("h1", "/upload", 8, 1, (), ANSWER_SIZE, upload=UPLOAD_SIZE, warmup=WARMUP),
    "h2-upload": Load("h2", "/upload", 8, 4, (), ANSWER_SIZE, upload=UPLOAD_SIZE, warmup=WARMUP),
}

TITLES = {
    "h1-hello": "HTTP/1.1, 13 octets, 64 connections",
    "h1-browser": "HTTP/1.1, 13 octets, 64 connections, 8 browser headers",
    "h2-hello": "HTTP/2, 13 octets, 8 connections x 32 streams",
    "h2-browser": "HTTP/2, 13 octets, 8 connections x 32 streams, 8 browser headers",
    "h1-10k": "HTTP/1.1, 10 KiB, 64 connections",
    "h2-10k": "HTTP/2, 10 KiB, 8 connections x 32 streams",
    "h1-1m": "HTTP/1.1, 1 MiB, 8 connections",
    "h2-1m": "HTTP/2, 1 MiB, 8 connections x 4 streams",
    "h1-upload": "HTTP/1.1, upload of 1 MiB, 8 connections",
    "h2-upload": "HTTP/2, upload of 1 MiB, 8 connections x 4 streams",
}
