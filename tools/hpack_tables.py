#!/usr/bin/env python3
"""Generates csrc/hpack/tables.h from RFC 7541: the static table and the Huffman code.

python3 tools/hpack_tables.py > csrc/hpack/tables.h
"""

from collections import Counter
from itertools import groupby, product

# Appendix A, in order from index 1. A line without a value stands for the empty value.
STATIC = """
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""

# Appendix B as runs of symbols whose codes are equally long: (number of symbols, bits per code).
# The lengths are enough, because the code is canonical: shorter codes come first, and codes of the
# same length are in the order of their symbols.
LENGTHS = [
    # 0-31
    (1, 13),
    (1, 23),
    (7, 28),
    (1, 24),
    (1, 30),
    (2, 28),
    (1, 30),
    (8, 28),
    (1, 30),
    (9, 28),
    # 32-63: punctuation and digits
    (1, 6),
    (2, 10),
    (1, 12),
    (1, 13),
    (1, 6),
    (1, 8),
    (1, 11),
    (2, 10),
    (1, 8),
    (1, 11),
    (1, 8),
    (3, 6),
    (3, 5),
    (7, 6),
    (1, 7),
    (1, 8),
    (1, 15),
    (1, 6),
    (1, 12),
    (1, 10),
    # 64-95: '@', upper case
    (1, 13),
    (1, 6),
    (22, 7),
    (1, 8),
    (1, 7),
    (1, 8),
    (1, 13),
    (1, 19),
    (1, 13),
    (1, 14),
    (1, 6),
    # 96-127: lower case
    (1, 15),
    (1, 5),
    (1, 6),
    (1, 5),
    (1, 6),
    (1, 5),
    (3, 6),
    (1, 5),
    (2, 7),
    (3, 6),
    (1, 5),
    (1, 6),
    (1, 7),
    (1, 6),
    (2, 5),
    (1, 6),
    (5, 7),
    (1, 15),
    (1, 11),
    (1, 14),
    (1, 13),
    (1, 28),
    # 128-159
    (1, 20),
    (1, 22),
    (2, 20),
    (3, 22),
    (1, 23),
    (1, 22),
    (5, 23),
    (1, 24),
    (1, 23),
    (2, 24),
    (1, 22),
    (1, 23),
    (1, 24),
    (4, 23),
    (1, 21),
    (1, 22),
    (1, 23),
    (1, 22),
    (2, 23),
    (1, 24),
    # 160-191
    (1, 22),
    (1, 21),
    (1, 20),
    (2, 22),
    (2, 23),
    (1, 21),
    (1, 23),
    (2, 22),
    (1, 24),
    (1, 21),
    (1, 22),
    (2, 23),
    (2, 21),
    (1, 22),
    (1, 21),
    (1, 23),
    (1, 22),
    (2, 23),
    (1, 20),
    (3, 22),
    (1, 23),
    (2, 22),
    (1, 23),
    # 192-223
    (2, 26),
    (1, 20),
    (1, 19),
    (1, 22),
    (1, 23),
    (1, 22),
    (1, 25),
    (3, 26),
    (2, 27),
    (1, 26),
    (1, 24),
    (1, 25),
    (1, 19),
    (1, 21),
    (1, 26),
    (2, 27),
    (1, 26),
    (1, 27),
    (1, 24),
    (2, 21),
    (2, 26),
    (1, 28),
    (3, 27),
    # 224-255, then EOS
    (1, 20),
    (1, 24),
    (1, 20),
    (1, 21),
    (1, 22),
    (2, 21),
    (1, 23),
    (2, 22),
    (2, 25),
    (2, 24),
    (1, 26),
    (1, 23),
    (1, 26),
    (1, 27),
    (2, 26),
    (5, 27),
    (1, 28),
    (5, 27),
    (1, 26),
    (1, 30),
]

EOS = 256
FIRST_BITS = 8  # bits that the first step of decoding looks at: enough for the 74 commonest bytes


def static_table() -> list[tuple[str, str]]:
    """Returns the names and values of the static table; the first one has index 1."""
    rows = [line.partition(" ") for line in STATIC.split("\n") if line]
    assert len(rows) == 61
    return [(name, value) for name, _, value in rows]


def name_id(name: str) -> str:
    """Returns the constant of the enum CNO_NAME (chars.h) for a name."""
    known = (
        ":authority :method :path :scheme :status content-length cookie date expect host"
        " server transfer-encoding"
    ).split()
    if name not in known:
        return "CNO_NAME_OTHER"
    return "CNO_NAME_" + name.upper().replace("-", "_").replace(":", "P_")


def find_hash(names: list[str], slots: int) -> tuple[int, int, int]:
    """Returns multipliers that give each name a slot of its own; hpack.c computes the same sum."""
    for a, b, c in product(range(1, 64), repeat=3):
        seen = {(len(n) * a + ord(n[-1]) * b + ord(n[0]) * c) % slots for n in names}
        if len(seen) == len(names):
            return a, b, c
    raise SystemExit("no perfect hash")


def codes() -> tuple[list[int], list[int]]:
    """Returns the code and the length in bits of each symbol; EOS is the last one."""
    lengths = [bits for count, bits in LENGTHS for _ in range(count)]
    assert len(lengths) == 257
    assert sum(2**-bits for bits in lengths) == 1, "the Kraft sum of a complete code is 1"
    code, last, result = 0, 0, [0] * 257
    for symbol in sorted(range(257), key=lambda s: (lengths[s], s)):
        code <<= lengths[symbol] - last
        last = lengths[symbol]
        result[symbol] = code
        code += 1
    assert result[EOS] == 2**30 - 1
    return result, lengths


def emit_array(declaration: str, items: list[str], comment: str) -> None:
    print(f"\n// {comment}\nstatic const {declaration} = {{")
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > 100:
            print(line)
            line = "   "
        line += f" {item},"
    print(line + "\n};")


def emit_static() -> None:
    print("\n// RFC 7541 appendix A; [0] is no entry.")
    print("const struct cno_header_t cno__hpack_static[STATIC_COUNT + 1] = {")
    for index, (name, value) in enumerate(static_table(), 1):
        print(
            f'    [{index}] = {{{{"{name}", {len(name)}}}, {{"{value}", {len(value)}}}, 0, '
            f"{name_id(name)}}},"
        )
    print("};")


def emit_names() -> None:
    table = static_table()
    first: dict[str, int] = {}
    for index, (name, _) in enumerate(table, 1):
        first.setdefault(name, index)
    print("\n// The first index of each name.\nenum {")
    for name, index in first.items():
        print(f"    STATIC_{name.upper().replace('-', '_').replace(':', 'P_')} = {index},")
    print("};")

    assert [name for name, _ in groupby(name for name, _ in table)] == list(first)
    with_value = Counter(name for name, value in table if value)
    counts = [0] * (len(table) + 1)
    for name, index in first.items():
        counts[index] = with_value[name]
    emit_array(
        "uint8_t static_values[STATIC_COUNT + 1]",
        [str(n) for n in counts],
        "At the first index of a name: how many entries have it with a value.",
    )

    slots = 128
    a, b, c = find_hash(list(first), slots)
    table_slots = [0] * slots
    for name, index in first.items():
        table_slots[(len(name) * a + ord(name[-1]) * b + ord(name[0]) * c) % slots] = index
    print(f"\n// The slot of a name: (size * A + last octet * B + first octet * C) % {slots}.")
    print(f"enum {{ STATIC_HASH_A = {a}, STATIC_HASH_B = {b}, STATIC_HASH_C = {c} }};")
    emit_array(
        f"uint8_t static_slots[{slots}]",
        [str(i) for i in table_slots],
        "The first index of the one name that can be in this slot; 0: none.",
    )


def emit_huffman() -> None:
    code, length = codes()
    emit_array(
        "uint32_t huffman_code[256]",
        [f"0x{c:x}" for c in code[:256]],
        "RFC 7541 appendix B, aligned to the least significant bit.",
    )
    emit_array(
        "uint8_t huffman_bits[256]", [str(n) for n in length[:256]], "Length of each code in bits."
    )

    short = [0] * 2**FIRST_BITS
    for symbol in range(256):
        if length[symbol] <= FIRST_BITS:
            spare = FIRST_BITS - length[symbol]
            for tail in range(2**spare):
                short[(code[symbol] << spare) + tail] = symbol << 8 | length[symbol]
    emit_array(
        f"uint16_t huffman_short[{2**FIRST_BITS}]",
        [f"0x{e:x}" for e in short],
        f"By the next {FIRST_BITS} bits: symbol << 8 | bits; 0: the code is longer.",
    )

    # The longer codes in canonical order. The place of a symbol in huffman_order is the place of
    # the first code of that length, plus the distance of the two codes.
    order = sorted((s for s in range(257) if length[s] > FIRST_BITS), key=lambda s: (length[s], s))
    assert order[-1] == EOS
    rows, position = [], 0
    for bits, group in groupby(order, key=lambda s: length[s]):
        members = list(group)
        end = (code[members[-1]] + 1) << (32 - bits)
        rows.append(f"{{0x{end - 1:08x}, 0x{code[members[0]]:x}, {bits}, {position}}}")
        position += len(members)
    print("""
// Codes of more than that, by length. `last`: the greatest 32 bits that begin with such a code.
static const struct {
    uint32_t last;
    uint32_t first_code;
    uint8_t bits;
    uint8_t position;  // of the first code's symbol in huffman_order
} huffman_long[] = {""")
    for row in rows:
        print(f"    {row},")
    print("};")
    emit_array(
        f"uint8_t huffman_order[{len(order) - 1}]",
        [str(s) for s in order[:-1]],
        "Symbols of those codes in the order of the codes. EOS would be the next one.",
    )


def main() -> None:
    print("// Generated by tools/hpack_tables.py from RFC 7541; do not edit. Each part is for one")
    print("// file, which asks for it before it includes this.")
    parts = [("STATIC", emit_static), ("NAMES", emit_names), ("HUFFMAN", emit_huffman)]
    for name, emit in parts:
        print(f"\n#ifdef HPACK_TABLES_{name}")
        emit()
        print("\n#endif")


if __name__ == "__main__":
    main()
