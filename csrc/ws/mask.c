// The mask of RFC 6455 section 5.3. Bytes are masked while they are copied, and searched for bytes
// that are not ASCII on the way: 16 at a time where the processor has such instructions, else 8.
#include <string.h>

#include "ws.h"
#include "ws/mask.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define VECTORS 1
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#define VECTORS 1
#else
#define VECTORS 0
#endif

#define HIGH_BITS 0x8080808080808080u

// Words are read from memory and written to it as they are, so that the order of their bytes does
// not matter.
static int copy_words(char *to, const char *from, size_t size, uint32_t key) {
    uint64_t pair = (uint64_t)key << 32 | key, any = 0, word;
    size_t i = 0;
    for (; size - i >= 8; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= pair;
        any |= word;
        memcpy(to + i, &word, 8);
    }
    if (size - i >= 4) {
        uint32_t half;
        memcpy(&half, from + i, 4);
        half ^= key;
        any |= half;
        memcpy(to + i, &half, 4);
        i += 4;
    }
    unsigned char bytes[4];
    memcpy(bytes, &key, 4);
    for (size_t k = 0; i < size; i++, k++) {
        unsigned char byte = (unsigned char)from[i] ^ bytes[k];
        any |= byte;
        to[i] = (char)byte;
    }
    return !(any & HIGH_BITS);
}

int cno__ws_copy_portable(char *to, const char *from, size_t size, const unsigned char key[4]) {
    uint32_t word;
    memcpy(&word, key, 4);
    return copy_words(to, from, size, word);
}

#if VECTORS && (defined(__SSE2__) || defined(_M_X64))

typedef __m128i vector;

static inline vector load(const char *at) {
    return _mm_loadu_si128((const __m128i *)at);
}

static inline void store(char *at, vector v) {
    _mm_storeu_si128((__m128i *)at, v);
}

static inline vector repeat(uint32_t word) {
    return _mm_set1_epi32((int)word);
}

static inline vector xor2(vector a, vector b) {
    return _mm_xor_si128(a, b);
}

static inline vector or2(vector a, vector b) {
    return _mm_or_si128(a, b);
}

static inline int is_ascii(vector v) {
    return !_mm_movemask_epi8(v);
}

#elif VECTORS

typedef uint8x16_t vector;

static inline vector load(const char *at) {
    return vld1q_u8((const uint8_t *)at);
}

static inline void store(char *at, vector v) {
    vst1q_u8((uint8_t *)at, v);
}

static inline vector repeat(uint32_t word) {
    return vreinterpretq_u8_u32(vdupq_n_u32(word));
}

static inline vector xor2(vector a, vector b) {
    return veorq_u8(a, b);
}

static inline vector or2(vector a, vector b) {
    return vorrq_u8(a, b);
}

static inline int is_ascii(vector v) {
    return vmaxvq_u8(v) < 0x80;
}

#endif

#if VECTORS

int cno__ws_copy(char *to, const char *from, size_t size, const unsigned char key[4]) {
    uint32_t word;
    memcpy(&word, key, 4);
    if (size < 16)
        return copy_words(to, from, size, word);
    vector mask = repeat(word), any = xor2(mask, mask);
    size_t i = 0;
    for (; size - i >= 64; i += 64) {
        vector a = xor2(load(from + i), mask), b = xor2(load(from + i + 16), mask),
               c = xor2(load(from + i + 32), mask), d = xor2(load(from + i + 48), mask);
        store(to + i, a);
        store(to + i + 16, b);
        store(to + i + 32, c);
        store(to + i + 48, d);
        any = or2(any, or2(or2(a, b), or2(c, d)));
    }
    for (; size - i >= 16; i += 16) {
        vector a = xor2(load(from + i), mask);
        store(to + i, a);
        any = or2(any, a);
    }
    int rest = i == size || copy_words(to + i, from + i, size - i, word);
    return rest && is_ascii(any);
}

#else

int cno__ws_copy(char *to, const char *from, size_t size, const unsigned char key[4]) {
    return cno__ws_copy_portable(to, from, size, key);
}

#endif

void cno__ws_turn(unsigned char key[4], uint64_t size) {
    unsigned char turned[4];
    for (unsigned i = 0; i < 4; i++)
        turned[i] = key[(i + size) & 3];
    memcpy(key, turned, 4);
}

void cno_ws_mask(char *data, size_t size, const char mask[4], uint64_t offset) {
    unsigned char key[4];
    memcpy(key, mask, 4);
    cno__ws_turn(key, offset);
    cno__ws_copy(data, data, size, key);
}
