// The answer to a WebSocket key (RFC 6455 section 4.2.2): SHA-1 (FIPS 180-4) and base64 (RFC 4648),
// as far as that needs them. SHA-1 protects nothing here.
#include <string.h>

#include "ws.h"

enum { KEY_SIZE = 24, GUID_SIZE = 36, DIGEST_SIZE = 20 };

static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint32_t turn_left(uint32_t word, int bits) {
    return word << bits | word >> (32 - bits);
}

// Adds one block of 64 bytes to a SHA-1 (section 6.1.2).
static void add_block(uint32_t hash[5], const unsigned char *block) {
    uint32_t words[80], v[5];
    for (int t = 0; t < 16; t++, block += 4)
        words[t] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 |
                   block[3];
    for (int t = 16; t < 80; t++)
        words[t] = turn_left(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16], 1);
    memcpy(v, hash, sizeof(v));
    for (int t = 0; t < 80; t++) {
        uint32_t b = v[1], c = v[2], d = v[3], mixed;
        if (t < 20)
            mixed = ((b & c) | (~b & d)) + 0x5a827999;
        else if (t < 40)
            mixed = (b ^ c ^ d) + 0x6ed9eba1;
        else if (t < 60)
            mixed = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
        else
            mixed = (b ^ c ^ d) + 0xca62c1d6;
        uint32_t next = turn_left(v[0], 5) + mixed + v[4] + words[t];
        v[4] = d;
        v[3] = c;
        v[2] = turn_left(b, 30);
        v[1] = v[0];
        v[0] = next;
    }
    for (int i = 0; i < 5; i++)
        hash[i] += v[i];
}

// The SHA-1 of a key and the GUID behind it, which with their padding are two blocks.
static void digest(const char *key, unsigned char out[DIGEST_SIZE]) {
    uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    unsigned char blocks[128] = {0};
    memcpy(blocks, key, KEY_SIZE);
    memcpy(blocks + KEY_SIZE, GUID, GUID_SIZE);
    blocks[KEY_SIZE + GUID_SIZE] = 0x80;
    uint32_t bits = 8 * (KEY_SIZE + GUID_SIZE);
    blocks[126] = (unsigned char)(bits >> 8);
    blocks[127] = (unsigned char)bits;
    add_block(hash, blocks);
    add_block(hash, blocks + 64);
    for (int i = 0; i < DIGEST_SIZE; i++)
        out[i] = (unsigned char)(hash[i / 4] >> 8 * (3 - i % 4));
}

int cno_ws_accept(const char *key, size_t size, char out[28]) {
    int valid = size == KEY_SIZE && key[22] == '=' && key[23] == '=';
    for (size_t i = 0; valid && i < 22; i++)
        valid = key[i] && strchr(ALPHABET, key[i]);
    if (!valid) {
        cno_error_set(CNO_ERRNO_PROTOCOL, "bad-key",
                      "Sec-WebSocket-Key is not the base64 form of 16 bytes (RFC 6455 4.1)");
        return cno_error_set_wire(400, 0);
    }
    unsigned char hash[DIGEST_SIZE + 1] = {0};  // one more for the last group, which is short
    digest(key, hash);
    for (int i = 0; i < 28; i++) {
        uint32_t group = (uint32_t)hash[i / 4 * 3] << 16 | (uint32_t)hash[i / 4 * 3 + 1] << 8 |
                         hash[i / 4 * 3 + 2];
        out[i] = ALPHABET[group >> 6 * (3 - i % 4) & 63];
    }
    out[27] = '=';
    return CNO_OK;
}
