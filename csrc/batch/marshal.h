// The part of CPython's marshal format that a batch uses. Knows values, not their meaning.
#pragma once

#include "hpack.h"

// The buffer that values are written to. After a failed allocation `failed` is set, and values are
// dropped.
struct cno__writer {
    char *data;
    size_t size, room;
    int failed;
};

void cno__put_raw(struct cno__writer *, const void *data, size_t size);
void cno__put_tuple(struct cno__writer *, unsigned char count);
size_t cno__put_list(struct cno__writer *);  // returns the position of its count
void cno__put_count(struct cno__writer *, size_t at, uint32_t count);  // sets that count
void cno__put_int(struct cno__writer *, int32_t value);
void cno__put_float(struct cno__writer *, double value);
void cno__put_none(struct cno__writer *);
void cno__put_bytes(struct cno__writer *, const char *data, size_t size);
void cno__put_pair(struct cno__writer *, struct cno_buffer_t first, struct cno_buffer_t second);
void cno__put_ascii(struct cno__writer *, const char *data, size_t size);
// Writes a str if the bytes are UTF-8 (RFC 3629: no surrogates, no overlong forms), else bytes.
void cno__put_text(struct cno__writer *, const char *data, size_t size);

// Room for `size` bytes behind what was written, or NULL.
char *cno__put_room(struct cno__writer *, size_t size);
// The bytes of a value of this type ('s' bytes, 'a' ASCII, 'u' UTF-8) stand CNO__STRING_HEAD behind
// what was written, where the caller has put them after cno__put_room: makes a value of them.
#define CNO__STRING_HEAD 5
void cno__put_written(struct cno__writer *, char type, size_t size);

// Reads a list of pairs of bytes into list[0..capacity), which then points into `data`. Returns
// their number, or -1 after setting cno_error() to the item that is wrong.
long cno__read_fields(const char *data, size_t size, struct cno_header_t *list, size_t capacity);

// A marshalled list that is read item by item.
struct cno__reader {
    const unsigned char *at, *end;
};

// Begins to read a list. Returns the number of its items, or -1 after setting cno_error().
long cno__read_list(struct cno__reader *, const char *data, size_t size);

// Reads the next item, which is a pair of an int and of bytes or a str that is UTF-8. Returns 0, or
// CNO_ERROR after setting cno_error(); `index` is for its text.
int cno__read_payload(struct cno__reader *, long index, uint32_t *number, struct cno_buffer_t *);
