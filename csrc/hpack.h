// HPACK (RFC 7541): a header-block codec over one dynamic table per direction. Knows no frames.
#pragma once

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

enum CNO_HEADER_FLAGS {
    CNO_HEADER_NEVER_INDEXED = 1,  // section 6.2.3, kept through both directions
    CNO_HEADER_BAD_NAME = 2,   // decoder: not a valid HTTP/2 field name (RFC 9113 section 8.2.1)
    CNO_HEADER_BAD_VALUE = 4,  // decoder: octets that no field value may hold
    CNO_HEADER_IMPLIED = 8,    // a received message did not say it; the engine filled it in
};

struct cno_header_t {
    struct cno_buffer_t name;
    struct cno_buffer_t value;
    uint8_t flags;  // enum CNO_HEADER_FLAGS
    uint8_t id;     // decoder: enum CNO_NAME of chars.h; encoder: ignored
};

struct cno_hpack_entry_t;

// The dynamic table of one direction (section 2.3.2). All zero but for the limits until first used.
struct cno_hpack_t {
    struct cno_hpack_entry_t **ring;  // by insertion number, modulo capacity (a power of two)
    struct cno_hpack_entry_t *dead;   // decoder: evicted, but the last block may point there
    struct cno__bytes text;  // decoder: Huffman-decoded strings that were not put in the table
    uint32_t *hash;          // encoder: `capacity` buckets by (name, value), then as many by name
    uint32_t capacity;
    uint32_t inserted;     // how many were ever put in (wraps)
    uint32_t count;        // how many are in the table now
    uint32_t size;         // octets as of section 4.1
    uint32_t limit;        // the current maximum size
    uint32_t limit_upper;  // decoder: what SETTINGS allow; encoder: the limit after the next update
    uint32_t limit_lowest;  // the smallest limit set since the last block said one (section 4.2)
    uint8_t must_update;    // decoder: a size update is due at the start of the next block
};

// A decoded block. The caller gives `list`, `capacity` and `max_size`; fields beyond either are
// decoded to keep the table in sync, counted, and not stored.
struct cno_hpack_fields_t {
    struct cno_header_t *list;
    size_t capacity;  // fields that `list` can hold
    size_t max_size;  // octets (name + value + 32 per field) that may be stored
    size_t count;     // out: fields in the block; more than `capacity` means that some were dropped
    size_t size;      // out: octets in the block; more than `max_size` means that some were dropped
};

// Both directions start with the same limit; no allocation.
void cno_hpack_init(struct cno_hpack_t *, uint32_t limit);
void cno_hpack_fini(struct cno_hpack_t *);

// Decoder: our SETTINGS_HEADER_TABLE_SIZE took effect; a smaller one obliges the peer to begin its
// next block with a size update. Encoder: the peer's setting (capped by the caller); our next block
// says it.
void cno_hpack_set_limit(struct cno_hpack_t *, uint32_t limit);

// Decodes one complete block. Names and values stay valid until the next call on this table; they
// point into `block`, the table, or its scratch, which cno_hpack_release gives back before that. Errors: PROTOCOL with wire = COMPRESSION_ERROR
// (RFC 9113 section 4.3; the connection cannot go on), PROTOCOL with ENHANCE_YOUR_CALM above
// CNO_MAX_HEADERS_HARD fields, NO_MEMORY.
int cno_hpack_decode(struct cno_hpack_t *, struct cno_buffer_t block,
                     struct cno_hpack_fields_t *out);

// Decoder: the fields of the last block are done with.
void cno_hpack_release(struct cno_hpack_t *);

// Appends one complete block to `out`. Names must be lower-case and valid. Errors: NO_MEMORY, and
// ASSERTION for a name or value of 2^28 octets; then neither `out` nor the table has changed.
int cno_hpack_encode(struct cno_hpack_t *, struct cno__bytes *out, const struct cno_header_t *,
                     size_t count);

#ifdef __cplusplus
}
#endif
