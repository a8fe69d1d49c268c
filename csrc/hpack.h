// HPACK (RFC 7541): the encoder and the decoder of header blocks, each with a dynamic table of its
// own. Knows no frames.
#pragma once

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

enum CNO_HEADER_FLAGS {
    CNO_HEADER_NEVER_INDEXED = 1,  // section 6.2.3; kept in both directions
    CNO_HEADER_BAD_NAME = 2,   // decoder: not a valid HTTP/2 field name (RFC 9113 section 8.2.1)
    CNO_HEADER_BAD_VALUE = 4,  // decoder: bytes that no field value may hold
    CNO_HEADER_IMPLIED = 8,    // not in the received message; the engine filled it in
};

struct cno_header_t {
    struct cno_buffer_t name;
    struct cno_buffer_t value;
    uint8_t flags;  // enum CNO_HEADER_FLAGS
    uint8_t id;     // decoder: enum CNO_NAME of message/chars.h; encoder: ignored
};

struct cno_hpack_entry_t;

// The dynamic table of one direction (section 2.3.2). Until its first use all members but the
// limits are 0.
struct cno_hpack_t {
    struct cno_hpack_entry_t *
        *ring;  // entries by insertion number, modulo capacity (a power of two)
    struct cno_hpack_entry_t
        *dead;               // decoder: evicted entries that fields of the last block may point to
    struct cno__bytes text;  // decoder: decoded strings that were not put in the table
    uint32_t *hash;          // encoder: `capacity` buckets by name and value, then as many by name
    uint32_t capacity;
    uint32_t inserted;  // number of insertions so far (wraps)
    uint32_t count;     // number of entries in the table
    uint32_t size;      // size of the entries as of section 4.1
    uint32_t limit;     // the current maximum size
    uint32_t
        limit_upper;  // decoder: what SETTINGS allow; encoder: the limit after the next size update
    uint32_t limit_lowest;  // the smallest limit since the last size update (section 4.2)
    uint8_t must_update;    // decoder: the next block must begin with a size update
};

// A decoded block. The caller sets `list`, `capacity` and `max_size`. Fields beyond either limit
// are decoded to keep the table in sync and counted, but not stored.
struct cno_hpack_fields_t {
    struct cno_header_t *list;
    size_t capacity;  // number of fields that `list` can hold
    size_t max_size;  // sum of name + value + 32 bytes per field that may be stored
    size_t count;     // out: fields in the block; above `capacity`: some were not stored
    size_t size;      // out: their sum; above `max_size`: some were not stored
};

// Initializes a table with a maximum size. Allocates nothing.
void cno_hpack_init(struct cno_hpack_t *, uint32_t limit);
void cno_hpack_fini(struct cno_hpack_t *);

// Changes the maximum size. Of a decoder: our SETTINGS_HEADER_TABLE_SIZE took effect; if it is
// smaller, the peer's next block must begin with a size update. Of an encoder: the setting of the
// peer, which the caller may lower; our next block begins with a size update.
void cno_hpack_set_limit(struct cno_hpack_t *, uint32_t limit);

// Decodes one complete block. Names and values are valid until the next call with this table, or
// until cno_hpack_release; they point into `block`, the table, or memory of the table. Errors:
// PROTOCOL with wire = COMPRESSION_ERROR (RFC 9113 section 4.3; the connection cannot go on),
// PROTOCOL with ENHANCE_YOUR_CALM above CNO_MAX_HEADERS_HARD fields, NO_MEMORY.
int cno_hpack_decode(struct cno_hpack_t *, struct cno_buffer_t block,
                     struct cno_hpack_fields_t *out);

// Releases the memory that the fields of the last decoded block point to.
void cno_hpack_release(struct cno_hpack_t *);

// Encodes one complete block and appends it to `out`. Names must be valid and lower-case. Errors:
// NO_MEMORY; ASSERTION for a name or value of 2^28 bytes. After an error neither `out` nor the
// table has changed.
int cno_hpack_encode(struct cno_hpack_t *, struct cno__bytes *out, const struct cno_header_t *,
                     size_t count);

#ifdef __cplusplus
}
#endif
