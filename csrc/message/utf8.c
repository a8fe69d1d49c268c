// UTF-8 as ranges: the first byte of a character says how many bytes follow and between which two
// values the second one is; all later ones are between 0x80 and 0xbf (RFC 3629 section 4).
#include "message/utf8.h"

#include <string.h>

// A state: the number of bytes to come, and the range of the next one.
#define STATE(more, low, high) ((uint32_t)(more) | (uint32_t)(low) << 8 | (uint32_t)(high) << 16)

// The state behind the first byte of a character that is not ASCII; 0 if no character begins so.
static uint32_t begin(unsigned char first) {
    if (first < 0xc2 || first > 0xf4)
        return 0;
    if (first < 0xe0)
        return STATE(1, 0x80, 0xbf);
    if (first < 0xf0)
        return STATE(2, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf);
    return STATE(3, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf);
}

// The end of the longest run of ASCII, which is found eight bytes at a time.
static const unsigned char *skip_ascii(const unsigned char *at, const unsigned char *end) {
    uint64_t word;
    for (; end - at >= 8; at += 8) {
        memcpy(&word, at, 8);
        if (word & 0x8080808080808080u)
            break;
    }
    while (at < end && *at < 0x80)
        at++;
    return at;
}

size_t cno__utf8_check(uint32_t *state, const char *data, size_t size) {
    const unsigned char *start = (const unsigned char *)data, *at = start, *end = start + size;
    uint32_t s = *state;
    while (at < end) {
        if (!s) {
            if (*at < 0x80) {
                at = skip_ascii(at, end);
                continue;
            }
            if (!(s = begin(*at)))
                break;
            at++;
        }
        while (s && at < end) {
            if (*at < (s >> 8 & 0xff) || *at > s >> 16)
                goto done;
            s = (s & 0xff) > 1 ? STATE((s & 0xff) - 1, 0x80, 0xbf) : 0;
            at++;
        }
    }
done:
    *state = s;
    return (size_t)(at - start);
}

int cno__utf8_is_valid(const char *data, size_t size) {
    uint32_t state = 0;
    return cno__utf8_check(&state, data, size) == size && !state;
}
