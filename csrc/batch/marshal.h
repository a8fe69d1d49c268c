// The subset of CPython's marshal format that batch.* speaks. Pure: knows values, not what they
// mean.
#pragma once

#include "hpack.h"

// Where values are written. After a failed allocation everything is dropped and `failed` stays set.
struct cno__writer {
    char *data;
    size_t size, room;
    int failed;
};

void cno__put_raw(struct cno__writer *, const void *data, size_t size);
void cno__put_tuple(struct cno__writer *, unsigned char count);
size_t cno__put_list(struct cno__writer *);                            // returns where its count is
void cno__put_count(struct cno__writer *, size_t at, uint32_t count);  // fills that in
void cno__put_int(struct cno__writer *, int32_t value);
void cno__put_float(struct cno__writer *, double value);
void cno__put_none(struct cno__writer *);
void cno__put_bytes(struct cno__writer *, const char *data, size_t size);
void cno__put_pair(struct cno__writer *, struct cno_buffer_t first, struct cno_buffer_t second);
void cno__put_ascii(struct cno__writer *, const char *data, size_t size);
// A string if the octets are UTF-8 (RFC 3629: no surrogates, no overlong forms), bytes if not.
void cno__put_text(struct cno__writer *, const char *data, size_t size);

// Reads a list of pairs of bytes into list[0..capacity); the views point into `data`. Returns how
// many there are, or -1 with cno_error() saying which item is not what it should be.
long cno__read_fields(const char *data, size_t size, struct cno_header_t *list, size_t capacity);
