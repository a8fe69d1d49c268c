// The Huffman code of RFC 7541 section 5.2. Knows no fields.
//
// The decoder looks up 8 bits at a time in a table of 512 bytes, which is one step for every
// character of ordinary text; other codes are found by their length, because the code is canonical.
// All tables together take 2.3 KB, so that they stay in the first-level cache.
#include "hpack/huffman.h"

#include <stdint.h>

#define HPACK_TABLES_HUFFMAN
#include "hpack/tables.h"

size_t cno__huffman_size(const char *data, size_t size) {
    const unsigned char *in = (const unsigned char *)data;
    size_t bits = 0;
    for (size_t i = 0; i < size; i++)
        bits += huffman_bits[in[i]];
    return bits / 8 + (bits % 8 != 0);
}

char *cno__huffman_encode(char *out, const char *data, size_t size) {
    const unsigned char *in = (const unsigned char *)data;
    uint64_t acc = 0;   // the last `bits` bits are to be written
    unsigned bits = 0;  // below 32 between bytes, so that another 30 always fit
    for (size_t i = 0; i < size; i++) {
        acc = acc << huffman_bits[in[i]] | huffman_code[in[i]];
        bits += huffman_bits[in[i]];
        if (bits >= 32) {
            bits -= 32;
            uint32_t word = (uint32_t)(acc >> bits);
            *out++ = (char)(word >> 24);
            *out++ = (char)(word >> 16);
            *out++ = (char)(word >> 8);
            *out++ = (char)word;
        }
    }
    // The padding is the beginning of EOS, which is all ones.
    acc = acc << 8 | 0xff;
    for (; bits > 8; bits -= 8)
        *out++ = (char)(acc >> bits);
    if (bits)
        *out++ = (char)(acc >> bits);
    return out;
}

// The input, read by bits.
struct bits {
    uint64_t next;  // the next bits, from the most significant one; zeros or anything after `count`
    unsigned count;  // how many of these bits are input
};

static inline uint64_t load8_big(const unsigned char *in) {
    return (uint64_t)in[0] << 56 | (uint64_t)in[1] << 48 | (uint64_t)in[2] << 40 |
           (uint64_t)in[3] << 32 | (uint64_t)in[4] << 24 | (uint64_t)in[5] << 16 |
           (uint64_t)in[6] << 8 | (uint64_t)in[7];
}

// Decodes while four short codes are available at a time. A code that is not short has an entry of
// 0 and consumes no bits, so that the rest of the four are 0 too and only the last entry must be
// tested; then none of the four counts. The bytes written by then are within
// CNO__HUFFMAN_MAX_DECODED, because the 32 bits that are not decoded yet account for 6 bytes of it.
static inline char *decode_fours(struct bits *b, char *out) {
    uint64_t next = b->next;
    while (b->count >= 32) {
        unsigned entry = huffman_short[next >> 56], used = entry;
        out[0] = (char)(entry >> 8);
        next <<= entry & 0xff;
        used += entry = huffman_short[next >> 56];
        out[1] = (char)(entry >> 8);
        next <<= entry & 0xff;
        used += entry = huffman_short[next >> 56];
        out[2] = (char)(entry >> 8);
        next <<= entry & 0xff;
        used += entry = huffman_short[next >> 56];
        out[3] = (char)(entry >> 8);
        if (!entry)
            break;
        next <<= entry & 0xff;
        b->next = next;
        b->count -= used & 0xff;
        out += 4;
    }
    return out;
}

// Decodes the next code. Returns its number of bits, 0 if the input ends in it, or
// CNO__HUFFMAN_EOS.
static inline int decode_one(struct bits *b, char *out) {
    unsigned used = huffman_short[b->next >> 56] & 0xff;
    unsigned symbol = huffman_short[b->next >> 56] >> 8;
    if (!used) {
        unsigned row = 0;
        while ((uint32_t)(b->next >> 32) > huffman_long[row].last)
            row++;
        used = huffman_long[row].bits;
        if (used > b->count)
            return 0;
        size_t code = (size_t)(b->next >> (64 - used)) - huffman_long[row].first_code;
        if (huffman_long[row].position + code >= sizeof(huffman_order))
            return CNO__HUFFMAN_EOS;
        symbol = huffman_order[huffman_long[row].position + code];
    }
    if (used > b->count)
        return 0;
    *out = (char)symbol;
    b->next <<= used;
    b->count -= used;
    return (int)used;
}

ptrdiff_t cno__huffman_decode(char *out, const char *data, size_t size) {
    const unsigned char *in = (const unsigned char *)data, *end = in + size;
    char *start = out;
    struct bits b = {0};
    for (;;) {
        if (end - in >= 8) {
            // Only whole bytes are counted. The bits of the next byte are there already, and do not
            // change when they are or'ed in again.
            b.next |= load8_big(in) >> b.count;
            in += (63 - b.count) / 8;
            b.count |= 56;
        } else {
            for (; in != end && b.count <= 56; b.count += 8)
                b.next |= (uint64_t)*in++ << (56 - b.count);
        }
        out = decode_fours(&b, out);
        // The fast loop stopped before a code that is not short, or to load more bytes.
        if (b.count < 32 && in != end)
            continue;
        int used = decode_one(&b, out);
        if (used < 0)
            return used;
        if (!used)
            break;
        out++;
    }
    // Section 5.2: the padding has fewer than 8 bits, which are those of EOS.
    if (b.count > 7 || (b.count && (b.next >> (64 - b.count)) != (1u << b.count) - 1))
        return CNO__HUFFMAN_PADDING;
    return out - start;
}
