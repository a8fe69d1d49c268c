// The dynamic table and the first bytes of the representations, shared by encoder and decoder.
// Private to hpack/. In that folder "section" is one of RFC 7541.
#pragma once

#include "hpack.h"

// Section 4.1: the size of an entry is that of its name and value plus this.
#define ENTRY_OVERHEAD 32

// The first byte of each representation (section 6), and the bits of it that are a number.
#define INDEXED 0x80          // 7-bit index
#define LITERAL_INDEXED 0x40  // 6-bit index of the name
#define SIZE_UPDATE 0x20      // 5-bit size
#define LITERAL_NEVER 0x10    // 4-bit index of the name
#define LITERAL_PLAIN 0x00    // 4-bit index of the name
#define HUFFMAN 0x80          // 7-bit length of a string (section 5.2)

// Entries are numbered in the order of insertion: the newest has the number `inserted`, one of age
// n was inserted n insertions earlier and has the index STATIC_COUNT + 1 + n (section 2.3.3).
struct cno_hpack_entry_t {
    union {
        struct cno_hpack_entry_t *dead;  // decoder: the next entry in the list of dead ones
        struct {
            uint32_t pair;  // encoder: the age of the next entry in the same bucket, less ours
            uint32_t name;
        } older;
    } next;
    uint32_t name_size;
    uint32_t value_size;
    uint32_t pair_hash;  // encoder: of name and value
    uint32_t name_hash;  // encoder
    uint8_t flags;       // decoder: enum CNO_HEADER_FLAGS of the field that was inserted
    uint8_t id;          // decoder: enum CNO_NAME
    char text[];         // the name, then the value
};

// The static table of appendix A, from index 1.
#define STATIC_COUNT 61
extern const struct cno_header_t cno__hpack_static[STATIC_COUNT + 1];

static inline struct cno_hpack_entry_t *cno__hpack_entry(const struct cno_hpack_t *t,
                                                         uint32_t age) {
    return t->ring[(t->inserted - age) & (t->capacity - 1)];
}

static inline uint32_t entry_size(const struct cno_hpack_entry_t *e) {
    return e->name_size + e->value_size + ENTRY_OVERHEAD;
}

// Removes the oldest entry from the table and returns it. The caller releases it.
struct cno_hpack_entry_t *cno__hpack_take_oldest(struct cno_hpack_t *);

// Evicts and releases entries until the size of the table is at most `size` (section 4.3).
void cno__hpack_shrink(struct cno_hpack_t *, uint32_t size);

// Releases the evicted entries that the decoder kept for the fields of the last block.
void cno__hpack_release_dead(struct cno_hpack_t *);

// Makes an entry with a copy of the name and the value; all other members are 0. NULL when there is
// no memory.
struct cno_hpack_entry_t *cno__hpack_entry_new(const struct cno_header_t *);

// Makes room in the ring for one more entry. CNO_OK or CNO_ERROR.
int cno__hpack_ring_reserve(struct cno_hpack_t *);

// Inserts an entry as the newest one. There must be room for it in the ring and below the limit.
void cno__hpack_ring_push(struct cno_hpack_t *, struct cno_hpack_entry_t *);
