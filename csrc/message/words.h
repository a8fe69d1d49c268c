// Strings as machine words, by unaligned loads. Private to the library.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t cno__load8(const char *data) {
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}

static inline uint32_t cno__load4(const char *data) {
    uint32_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}

static inline void cno__store8(char *data, uint64_t word) {
    memcpy(data, &word, sizeof(word));
}

// The 1 to 8 bytes of [data, data + size) in one word, in some order, perhaps repeated or with
// spaces between: enough to compare or test all of them at once when the size is known.
static inline uint64_t cno__load_upto8(const char *data, size_t size) {
    if (size == 8)
        return cno__load8(data);
    if (size >= 4)
        return cno__load4(data) | (uint64_t)cno__load4(data + size - 4) << 32;
    const unsigned char *u = (const unsigned char *)data;
    return 0x2020202020000000u | (uint64_t)u[0] << 16 | (uint64_t)u[size / 2] << 8 | u[size - 1];
}

// memcmp() == 0 without a function call, for strings of a few words.
static inline int cno__same(const char *a, const char *b, size_t size) {
    if (size > 8) {
        size -= 8;
        for (size_t i = 0; i < size; i += 8)
            if (cno__load8(a + i) != cno__load8(b + i))
                return 0;
        return cno__load8(a + size) == cno__load8(b + size);
    }
    if (size >= 4) {
        size -= 4;
        return cno__load4(a) == cno__load4(b) && cno__load4(a + size) == cno__load4(b + size);
    }
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i])
            return 0;
    return 1;
}

// memcpy() without a function call, for strings of a word or two.
static inline void cno__copy(char *to, const char *data, size_t size) {
    if (size > 16) {
        memcpy(to, data, size);
    } else if (size >= 8) {
        uint64_t last = cno__load8(data + size - 8);
        cno__store8(to, cno__load8(data));
        cno__store8(to + size - 8, last);
    } else if (size >= 4) {
        uint32_t first = cno__load4(data), last = cno__load4(data + size - 4);
        memcpy(to, &first, sizeof(first));
        memcpy(to + size - 4, &last, sizeof(last));
    } else if (size) {
        char first = data[0], middle = data[size / 2], last = data[size - 1];
        to[0] = first;
        to[size / 2] = middle;
        to[size - 1] = last;
    }
}

// Adds a string to a hash: its size and, of a long string, the words at both ends and in the
// middle. The time does not depend on the size; strings that are equal in these places have the
// same hash.
static inline uint64_t cno__hash_add(uint64_t hash, const char *data, size_t size) {
    hash = (hash + size) * 0x9e3779b97f4a7c15u;
    if (size > 8) {
        hash += cno__load8(data) * 0xc2b2ae3d27d4eb4fu;
        if (size > 16)
            hash += cno__load8(data + size / 2 - 4) * 0x165667b19e3779f9u;
        data += size - 8;
        size = 8;
    }
    return size ? hash + cno__load_upto8(data, size) * 0xd6e8feb86659fd93u : hash;
}

// Completes a hash: mixes the upper bytes of the words, which the sum leaves in its upper bits,
// into the result.
static inline uint32_t cno__hash_end(uint64_t hash) {
    return (uint32_t)((hash ^ hash >> 32) * 0x9e3779b97f4a7c15u >> 32);
}
