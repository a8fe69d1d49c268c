"""Runs the cases in tests/vectors/ on `cno.raw.Connection`; vectors/README.md has the notation.

This module builds and reads frames by itself, with the package hpack for header blocks.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hpack
import pytest

from cno import raw
from cno.engine.fields import packed

VECTORS = Path(__file__).parent.parent / "vectors"

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TYPES = (
    "DATA HEADERS PRIORITY RST_STREAM SETTINGS PUSH_PROMISE PING GOAWAY WINDOW_UPDATE CONTINUATION"
).split()
CODES = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED"
    " FRAME_SIZE_ERROR REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM"
    " INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
).split()
FLAGS = {
    "END_STREAM": (0x1, {0, 1}),
    "ACK": (0x1, {4, 6}),
    "END_HEADERS": (0x4, {1, 5, 9}),
    "PADDED": (0x8, {0, 1, 5}),
    "PRIORITY": (0x20, {1}),
}
MACROS = {
    "@get": ":method=GET :scheme=http :path=/ :authority=h",
    "@post": ":method=POST :scheme=http :path=/ :authority=h",
    "@ok": ":status=200",
}
ERRORS = {
    raw.UsageError: "ASSERTION",
    raw.OutOfMemory: "NO_MEMORY",
    raw.ProtocolError: "PROTOCOL",
    raw.StreamGone: "INVALID_STREAM",
    raw.WouldBlock: "WOULD_BLOCK",
    raw.Disconnected: "DISCONNECT",
}

# ---- text --------------------------------------------------------------------------------------

ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)|\{(\d+)\*([^}]*)\}", re.DOTALL)
PLAIN = {"r": "\r", "n": "\n", "t": "\t", "s": " ", "\\": "\\", "{": "{", "^": "\0mark"}


def unescape(text: str) -> bytes:
    """Returns the bytes of escaped text, without the mark."""

    def one(match: re.Match[str]) -> str:
        code, times, inner = match.groups()
        if times:
            return ESCAPE.sub(one, inner) * int(times)
        return chr(int(code[1:], 16)) if code[0] == "x" else PLAIN[code]

    return ESCAPE.sub(one, text).replace(PLAIN["^"], "").encode("latin-1")


ESCAPED = {c: f"\\x{c:02x}" for c in range(256) if not 0x20 < c < 0x7F or c in b"\\{"}
ESCAPED[ord(" ")] = "\\s"


def escape(octets: bytes) -> str:
    """Returns bytes as one word of expected text."""
    return octets.decode("latin-1").translate(ESCAPED)


def words(line: str) -> str:
    """Splits a line of events into words as `escape` spells them; the text of `data` is one."""
    if line.startswith("data "):
        return " ".join(escape(unescape(part)) for part in line.split(maxsplit=2))
    parts: list[str] = []
    for part in line.split():
        times = re.match(r"(\d+)\*", part)
        text = escape(unescape(part[times.end() if times else 0 :]))
        parts += [text] * (int(times[1]) if times else 1)
    return " ".join(parts)


def code_name(code: int) -> str:
    return CODES[code] if 0 <= code < len(CODES) else str(code)


def pairs(fields: list[tuple[bytes, bytes]]) -> str:
    return "".join(f" {escape(name)}={escape(value)}" for name, value in fields)


def latin(fields: list[tuple[str, str]]) -> str:
    """Returns fields as the events have them: text, decoded from UTF-8 or from Latin-1."""

    def octets(text: str) -> bytes:
        # Text that Connection has decoded from Latin-1 must not be encoded as UTF-8.
        return text.encode("latin-1")

    return pairs([(octets(name), octets(value)) for name, value in fields])


# ---- frames ------------------------------------------------------------------------------------


def string(text: str) -> bytes:
    """Returns a string literal without Huffman coding (RFC 7541 section 5.2)."""
    octets = unescape(text)
    rest = len(octets)
    if rest < 127:
        return bytes([rest]) + octets
    prefix = bytearray([127])
    rest -= 127
    while rest >= 128:
        prefix.append(rest % 128 + 128)
        rest >>= 7
    return bytes([*prefix, rest]) + octets


def item(word: str) -> bytes:
    """Returns the bytes of one word of a payload."""
    if word in MACROS:
        return b"".join(map(item, MACROS[word].split()))
    if times := re.match(r"(\d+)\*", word):
        return item(word[times.end() :]) * int(times[1])
    kind, _, rest = word.partition(":")
    if kind == "t":
        return unescape(rest)
    if kind == "x":
        return bytes.fromhex(rest)
    if kind in ("u8", "u16", "u32"):
        return int(rest, 0).to_bytes(int(kind[1:]) // 8, "big")
    if kind == "s":
        setting, value = rest.split("=")
        return struct.pack(">HI", int(setting, 0), int(value, 0))
    name, value = word.removeprefix("+").split("=", 1)
    return (b"\x40" if word[0] == "+" else b"\0") + string(name) + string(value)


def flag_bits(text: str) -> int:
    if text == "-":
        return 0
    return sum(FLAGS[name][0] if name in FLAGS else int(name, 0) for name in text.split("|"))


def frame(line: str) -> bytes:
    """Returns the bytes of a line: TYPE STREAM FLAGS payload..., PREFACE, or RAW payload..."""
    kind, *rest = line.split()
    if kind == "PREFACE":
        return PREFACE
    if kind == "RAW":
        return b"".join(map(item, rest))
    stream, flags, *payload = rest
    octets = b"".join(item(word) for word in payload if not word.startswith("len:"))
    size = next((int(w[4:], 0) for w in payload if w.startswith("len:")), len(octets))
    number = TYPES.index(kind) if kind in TYPES else int(kind, 0)
    head = struct.pack(
        ">BHBBI", size >> 16, size & 0xFFFF, number, flag_bits(flags), int(stream, 0)
    )
    return head + octets


@dataclass
class FrameReader:
    """Turns the output of the engine on HTTP/2 into lines."""

    decoder: hpack.Decoder = field(default_factory=hpack.Decoder)
    block: bytes = b""

    def __post_init__(self) -> None:
        self.decoder.max_header_list_size = 1 << 24

    def payload(self, kind: int, flags: int, octets: bytes) -> str:
        if kind in (0, 6):
            return " " + escape(octets) if octets else ""
        if kind == 3:
            return " " + code_name(int.from_bytes(octets, "big"))
        if kind == 4:
            return "".join(f" s:{i}={v}" for i, v in struct.iter_unpack(">HI", octets))
        if kind == 7:
            last, code = struct.unpack_from(">II", octets)
            return f" last={last} {code_name(code)}"
        if kind == 8:
            return f" {int.from_bytes(octets, 'big')}"
        text = f" promised={int.from_bytes(octets[:4], 'big')}" if kind == 5 else ""
        self.block += octets[4:] if kind == 5 else octets
        if not flags & 4:
            return f"{text} size={len(octets)}"
        fields = [(bytes(n), bytes(v)) for n, v in self.decoder.decode(self.block, raw=True)]
        self.block = b""
        return text + pairs(fields)

    def lines(self, octets: bytes) -> Iterator[str]:
        if octets.startswith(b"HTTP/1.1 101 "):
            head, blank, octets = octets.partition(b"\r\n\r\n")
            yield "RAW " + escape(head + blank)
        if octets.startswith(PREFACE):
            yield "PREFACE"
            octets = octets[len(PREFACE) :]
        while octets:
            high, low, kind, flags, stream = struct.unpack_from(">BHBBI", octets)
            end = 9 + (high << 16 | low)
            assert end <= len(octets), "half a frame"
            names = [n for n, (bit, types) in FLAGS.items() if bit & flags and kind in types]
            shown = self.payload(kind, flags, octets[9:end])
            yield f"{TYPES[kind]} {stream} {'|'.join(names) or '-'}{shown}"
            octets = octets[end:]


# ---- cases -------------------------------------------------------------------------------------


@dataclass
class Case:
    path: Path
    name: str
    lines: list[tuple[int, str]] = field(default_factory=list)

    @property
    def http2(self) -> bool:
        return self.path.parent.name == "h2"

    def has(self, start: str) -> str | None:
        """Returns the line that begins with a word, or None."""
        return next((line for _, line in self.lines if line.startswith(start)), None)


def expand(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Returns the numbered lines, with loops written out."""
    loop: list[str] = []
    bounds: list[int] | None = None
    for number, line in enumerate(lines, 1):
        if not line or line[0] == "#":
            continue
        if line.startswith("loop "):
            bounds = [int(word) for word in line.split()[1:]]
        elif line == "end":
            assert bounds
            times, first, step = bounds
            for value in range(first, first + times * step, step):
                for inner in loop:
                    text = re.sub(
                        r"\$(?:\+(\d+))?", lambda m, v=value: str(v + int(m[1] or 0)), inner
                    )
                    yield number, text
            loop, bounds = [], None
        elif bounds is not None:
            loop.append(line)
        else:
            yield number, line


def load(directory: str) -> list[pytest.param]:
    """Returns the cases of a directory, as parameters of a test."""
    cases: list[Case] = []
    for path in sorted((VECTORS / directory).glob("*.txt")):
        for number, line in expand(path.read_text().splitlines()):
            if line.startswith("== "):
                cases.append(Case(path, line[3:]))
            else:
                cases[-1].lines.append((number, line))
    assert cases
    parameters = []
    for case in cases:
        marks = []
        if why := case.has("@ xfail ") or case.has("@ xfail-py "):
            marks.append(pytest.mark.xfail(strict=True, reason=why.split(maxsplit=2)[2]))
        parameters.append(pytest.param(case, id=f"{case.path.stem}: {case.name}", marks=marks))
    return parameters


# Up to this size a piece of input is fed byte by byte, and the rest in larger pieces, to save time.
# tests/c/test_vectors.c feeds all input byte by byte.
OCTETS_MAX = 2000

# ---- running -----------------------------------------------------------------------------------


class Observed(raw.Connection):
    """Records the events of a connection in the notation of the vectors."""

    def __init__(self, *, server: bool) -> None:
        super().__init__(server=server)
        self.server = server
        self.closed = False
        self.out = b""
        self.events: list[str] = []
        self.data: list[tuple[int, bytes]] = []

    def say(self, text: str) -> None:
        if self.data:
            self.events.append(
                f"data {self.data[0][0]} {escape(b''.join(d for _, d in self.data))}"
            )
            self.data = []
        if text:
            self.events.append(text)

    def on_writev(self, chunks: list[bytes]) -> None:
        self.out += b"".join(chunks)

    def on_close(self) -> None:
        self.closed = True
        self.say("close")

    def on_stream_start(self, stream: int) -> None:
        self.say(f"start {stream}")

    def on_stream_end(self, stream: int, code: int, side: int) -> None:
        self.say(f"end {stream} {code_name(code)} {'local' if side == raw.CNO_LOCAL else 'remote'}")

    def on_flow_increase(self, stream: int) -> None:
        self.say(f"flow {stream}")

    def on_message_head(
        self, stream: int, code: int, method: str, path: str, headers: list[tuple[str, str]]
    ) -> None:
        start = f"{code} " if code else ""
        start += escape(method.encode("latin-1")) or "-"
        start += "" if code else f" {escape(path.encode('latin-1')) or '-'}"
        self.say(f"head {stream} {start}{latin(headers)}")

    def on_upgrade(self, stream: int) -> None:
        assert self.events[-1].startswith(f"head {stream} ")
        self.events[-1] += " !upgrade"

    def on_message_data(self, stream: int, data: bytes) -> None:
        if self.data and self.data[0][0] != stream:
            self.say("")
        self.data.append((stream, data))

    def on_message_tail(self, stream: int, trailers: list[tuple[str, str]] | None) -> None:
        self.say(f"tail {stream} " + ("-" if trailers is None else "+" + latin(trailers)))

    def on_message_push(
        self, stream: int, parent: int, method: str, path: str, headers: list[tuple[str, str]]
    ) -> None:
        self.say(f"push {stream} {parent} {method} {path}{latin(headers)}")

    def on_settings(self) -> None:
        self.say("settings")

    def on_priority(self, stream: int, urgency: int, incremental: bool) -> None:
        self.say(f"priority {stream} {urgency} {incremental:d}")

    def on_pong(self, payload: bytes) -> None:
        self.say(f"pong {escape(payload)}")


class Run:
    """One run of a case, with its input cut in one way."""

    def __init__(self, case: Case, mode: str) -> None:
        self.case = case
        self.mode = mode
        self.random = random.Random(mode)
        self.conn = Observed(server=not case.has("@ role client"))
        self.frames = FrameReader()
        self.fed = 0
        self.ended = False
        self.mark: tuple[int, int] | None = None
        self.want: list[str] = []
        self.want_out: list[str] = []

    # ---- input --------------------------------------------------------------------------------

    def octets(self, line: str) -> bytes:
        return frame(line) if self.case.http2 else unescape(line)

    def build(self, group: list[str]) -> bytes:
        """Returns the bytes of `>` lines, and the place where the fault has to be."""
        octets = b""
        self.mark = None
        for line in group:
            body = line[2:].removeprefix(" ") if line[1:2] == "^" else line[1:].removeprefix(" ")
            if not body:
                continue
            before = len(octets)
            octets += self.octets(body)
            if line[1:2] == "^":
                self.mark = (self.fed + before, self.fed + len(octets))
            elif not self.case.http2 and "\\^" in body:
                at = self.fed + before + len(unescape(body[: body.index("\\^")]))
                self.mark = (at, at)
        if self.mark is None:
            self.mark = (self.fed, self.fed + len(octets) if self.case.http2 else self.fed)
        return octets

    def pieces(self, octets: bytes) -> Iterator[bytes]:
        if not octets or self.mode in ("whole", "trailing"):
            yield octets
            return
        at = 0
        while at < len(octets):
            if self.mode == "octets":
                size = 1 if at < OCTETS_MAX else 101
            else:
                size = 1 + self.random.randrange(1 << self.random.randrange(12))
            yield octets[at : at + size]
            at += size

    @property
    def is_closed(self) -> bool:
        return self.ended or self.conn.closed

    def feed(self, octets: bytes) -> None:
        for piece in self.pieces(octets):
            self.fed += len(piece)
            try:
                self.conn.data_received(piece)
            except raw.ProtocolError as error:
                self.fault(error)
            except raw.Error as error:
                self.error(error)
            if self.is_closed:
                break

    def fault(self, error: raw.ProtocolError) -> None:
        """Inserts the fault that ended the connection where the callbacks in C have it."""
        wire = code_name(error.wire) if self.conn.is_http2 else str(error.wire)
        text = f"fault 0 {error.reason} {wire}"
        assert self.mark
        if not self.mark[0] <= error.offset <= self.mark[1]:
            text += f" @{error.offset}"
        self.conn.say("")
        events = self.conn.events
        at = len(events)
        while at and events[at - 1].startswith(("end ", "close")):
            at -= 1
        # A stream that has ended without an error ended before the fault.
        while at < len(events) and " NO_ERROR " in events[at]:
            at += 1
        events.insert(at, text)

    def error(self, error: raw.Error) -> None:
        self.conn.say(f"error {ERRORS[type(error)]} {error.reason}")

    # ---- calls --------------------------------------------------------------------------------

    def call(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        try:
            getattr(self, f"call_{kind}")(rest)
        except raw.Error as error:
            self.error(error)

    def fields(self, line: list[str]) -> tuple[list[tuple[bytes, bytes]], bool]:
        fields: list[tuple[bytes, bytes]] = []
        for word in line:
            if word == "final" or "=" not in word:
                continue
            times = re.match(r"(\d+)\*", word)
            name, value = word[times.end() if times else 0 :].split("=", 1)
            fields += [(unescape(name), unescape(value))] * (int(times[1]) if times else 1)
        return fields, "final" in line

    def call_head(self, rest: str) -> None:
        stream, status, *more = rest.split()
        reason = next((word[7:] for word in more if word.startswith("reason=")), "")
        fields, final = self.fields([word for word in more if not word.startswith("reason=")])
        text = unescape(reason).decode("latin-1")
        self.conn.write_head(int(stream), int(status), text, "", fields, final)

    def call_request(self, rest: str) -> None:
        stream, method, target, *more = rest.split()
        fields, final = self.fields(more)
        self.conn.write_head(int(stream), 0, *self.start(method, target), fields, final)

    def start(self, method: str, target: str) -> tuple[str, str]:
        return unescape(method).decode("latin-1"), unescape(target).decode("latin-1")

    def call_message(self, rest: str) -> None:
        stream, status, *more = rest.split()
        fields, final = self.fields(more)
        last = more[-1] if more and more[-1] != "final" and "=" not in more[-1] else ""
        body = unescape(last)
        blob = packed(fields)
        total = len(body) if final else -1
        taken = self.conn._engine.answer(int(stream), int(status), blob, body, total)
        self.conn._tell()
        self.took(taken, body)

    def took(self, taken: int, body: bytes) -> None:
        if taken != len(body):
            self.conn.say(f"taken {taken}")

    def call_data(self, rest: str, final: bool = False) -> None:
        stream, _, text = rest.partition(" ")
        body = unescape(text)
        self.took(self.conn.write_data(int(stream), body, final), body)

    def call_last(self, rest: str) -> None:
        self.call_data(rest, True)

    def call_tail(self, rest: str) -> None:
        stream, *more = rest.split()
        self.conn.write_tail(int(stream), self.fields(more)[0])

    def call_push(self, rest: str) -> None:
        stream, method, target, *more = rest.split()
        self.conn.write_push(int(stream), *self.start(method, target), self.fields(more)[0])

    def call_reset(self, rest: str) -> None:
        stream, code = rest.split()
        self.conn.write_reset(int(stream), CODES.index(code) if code in CODES else int(code))

    def call_open(self, rest: str) -> None:
        stream, size = map(int, rest.split())
        self.conn.open_flow(stream, size)

    def call_ping(self, rest: str) -> None:
        self.conn.write_ping(rest.encode())

    def call_priority(self, rest: str) -> None:
        self.conn.on_priority(int(rest), *self.conn.priority(int(rest)))

    def call_set(self, rest: str) -> None:
        name, value = rest.split()
        conn = self.conn._engine.conn
        if self.conn.is_http2:
            pending = {key: getattr(conn.pending, key) for key in dir(conn.pending)}
            self.conn._engine.configure(**(pending | {name: int(value)}))
        else:
            self.conn._engine.configure(**{name: int(value)})
        self.conn._tell()

    def call_announce(self, rest: str) -> None:
        self.conn._engine.shutdown(final=False)
        self.conn._tell()

    def call_shutdown(self, rest: str) -> None:
        self.conn.shutdown()

    def call_eof(self, rest: str) -> None:
        self.ended = True
        self.conn.connection_lost()

    # ---- comparing ----------------------------------------------------------------------------

    def expect(self, line: str) -> None:
        kind, *more = line.split()
        if kind == "out":
            self.want_out.append(line[4:])
        elif kind == "refusal":
            self.want_out.append(f"refusal {more[0]}")
        elif kind == "refused":
            self.want += ["start 1", f"fault 0 {more[0]} {more[1]}"]
            self.want += ["end 1 PROTOCOL_ERROR local", "close"]
            self.want_out.append(f"refusal {more[1]}")
        elif kind == "malformed":
            self.want += [f"start {more[0]}", f"end {more[0]} PROTOCOL_ERROR local"]
            self.want_out.append(f"RST_STREAM {more[0]} - PROTOCOL_ERROR")
        elif kind == "killed":
            reason, code, last, *streams = more
            self.want.append(f"fault 0 {reason} {code}")
            self.want += [f"end {stream} {code} local" for stream in streams]
            self.want.append("close")
            self.want_out.append(f"GOAWAY 0 - last={last} {code}")
        elif kind != "fault" or more[0] == "0":
            # Connection reports only one flag of a head.
            self.want.append(words(re.sub(r" !(expect|1\.0|trailers)\b", "", line)))

    def outputs(self) -> tuple[object, object]:
        """Returns the expected output and the actual output."""
        got = self.conn.out
        if self.conn.is_http2:
            return [words(line) for line in self.want_out], list(self.frames.lines(got))
        want = b"".join(unescape(line) for line in self.want_out if line[:8] != "refusal ")
        refusals = [line[8:] for line in self.want_out if line[:8] == "refusal "]
        if refusals and got.startswith(want) and is_refusal(got[len(want) :], refusals[0]):
            got = want
        return want, got

    def same(self, what: str, want: object, got: object) -> None:
        if want != got and not matches(want, got):
            short = [
                text if len(text) < 2000 else text[:2000] + "..." for text in map(str, (want, got))
            ]
            pytest.fail(f"{what}\nexpected {short[0]}\n     got {short[1]}", pytrace=False)

    def compare(self, number: int) -> None:
        self.conn.say("")
        where = f"{self.case.path.name}:{number}, {self.mode}"
        if "skip" in self.want:
            if self.conn.is_http2:
                self.outputs()
        else:
            self.same(f"{where}: events", self.want, self.conn.events)
            wanted, got = self.outputs()
            if "*" not in self.want_out:
                self.same(f"{where}: output", wanted, got)
        self.want, self.want_out = [], []
        self.conn.events, self.conn.out = [], b""

    # ---- a case -------------------------------------------------------------------------------

    def begin(self) -> None:
        engine = self.conn._engine
        options = {
            "prior_knowledge": not self.case.has("@ no-prior-knowledge"),
            "offer_upgrade": bool(self.case.has("@ offer-upgrade")),
            "h2c": bool(self.case.has("@ h2c")),
        }
        http2 = bool(self.case.has("@ http2")) or (self.case.http2 and not self.case.has("@ http1"))
        if self.case.has("@ manual-flow"):
            self.conn.manual_flow()
        if self.case.has("@ manual-connection-flow"):
            self.conn.manual_flow(connection=True)
        for _, line in self.case.lines:
            if line.startswith("@ set "):
                name, value = line.split()[2:]
                engine.configure(**{name: int(value)})
            elif line.startswith("@ limit "):
                name, value = line.split()[2:]
                self.conn.limit(**{name: int(value)})
        self.conn.connection_made(http2, **options)
        if not http2 or self.case.has("@ bare"):
            return
        peer = (self.case.has("@ peer ") or "@ peer ")[7:]
        hello = frame(f"SETTINGS 0 - {peer}") + frame("SETTINGS 0 ACK")
        if self.conn.server:
            hello = PREFACE + hello
        self.fed = len(hello)
        self.conn.data_received(hello)
        self.want = ["skip"]
        self.compare(0)

    def run(self) -> None:
        script = [(number, line) for number, line in self.case.lines if line[0] != "@"]
        last = max((at for at, (_, line) in enumerate(script) if line[0] == ">"), default=-1)
        group: list[str] = []
        trailing = b""
        self.begin()
        for at, (number, line) in enumerate(script):
            following = script[at + 1][1][0] if at + 1 < len(script) else ""
            if line[0] == ">":
                group.append(line)
            elif line[0] == "+":
                trailing += self.octets(line[2:])
            elif line[0] == "!":
                self.call(line[2:])
            else:
                self.expect(line[2:])
            if line[0] in ">+" and following not in (">", "+"):
                octets = self.build(group)
                self.feed(octets + (trailing if self.mode == "trailing" and at >= last else b""))
                group, trailing = [], b""
            if line[0] == "<" and following != "<":
                self.compare(number)
        self.compare(script[-1][0])
        if not self.is_closed and self.conn.is_http2 and self.case.http2:
            self.conn.data_received(frame("PING 0 - t:are\\suok?"))
            self.want_out = ["PING 0 ACK are\\suok?"]
            self.compare(script[-1][0])


def matches(want: object, got: object) -> bool:
    """Whether two lists of words are equal; `?` stands for any word."""
    if not isinstance(want, list) or not isinstance(got, list) or len(want) != len(got):
        return False
    for line, other in zip(want, got, strict=True):
        pairs = list(zip(line.split(" "), other.split(" "), strict=False))
        if line.count(" ") != other.count(" ") or any(a not in ("?", b) for a, b in pairs):
            return False
    return True


def is_refusal(octets: bytes, status: str) -> bool:
    """Whether the output is a response of the engine's own: the status, `connection: close`, and a
    body as long as its content-length."""
    head, _, body = octets.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    return (
        lines[0].startswith(f"HTTP/1.1 {status} ".encode())
        and b"connection: close" in lines
        and f"content-length: {len(body)}".encode() in lines
        and body.endswith(b"\n")
    )


def run(case: Case) -> None:
    """Runs a case with its input cut in every way."""
    Run(case, "whole").run()
    if not case.has("@ whole"):
        Run(case, "octets").run()
        Run(case, "cut").run()
    if case.has("+"):
        Run(case, "trailing").run()
