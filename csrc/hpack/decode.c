// The decoder of header blocks (RFC 7541 sections 3, 5 and 6). Knows no frames, no streams, and of
// fields only the names in message/chars.h.
#include "hpack/table.h"

#include "message/chars.h"
#include "config.h"
#include "hpack/huffman.h"

// Error codes of RFC 9113 section 7.
#define COMPRESSION_ERROR 0x9
#define ENHANCE_YOUR_CALM 0xb

// The number of size updates that a block may begin with: the lowest limit, then the current one
// (section 4.2).
#define MAX_SIZE_UPDATES 2

struct decoding {
    struct cno_hpack_t *t;
    struct cno_hpack_fields_t *out;
    const uint8_t *begin, *at, *end;
    uint32_t dropped_since;  // t->inserted when the first field was dropped
    uint8_t dropping;
    uint8_t has_scratch;  // t->text has room for all strings of this block
    struct cno_header_t dropped;
};

static int refuse(const struct decoding *d, const char *reason, const char *what) {
    size_t offset = (size_t)(d->at - d->begin);
    cno_error_set(CNO_ERRNO_PROTOCOL, reason, "%s at byte %zu of a header block", what, offset);
    return cno_error_set_wire(COMPRESSION_ERROR, offset);
}

static int refuse_cut(const struct decoding *d) {
    return refuse(d, "hpack-truncated", "the block ends in the middle of a field");
}

// Section 5.1, behind the first byte. Four more bytes are enough for any valid length.
static int read_long_int(struct decoding *d, uint32_t *number) {
    for (unsigned shift = 0; shift <= 21; shift += 7) {
        if (d->at == d->end)
            return refuse_cut(d);
        uint8_t octet = *d->at++;
        *number += (uint32_t)(octet & 0x7f) << shift;
        if (!(octet & 0x80))
            return CNO_OK;
    }
    return refuse(d, "hpack-integer", "an integer above 2^28");
}

// Reads a number that begins in those bits of the next byte that `mask` has set. The byte must be
// there.
static inline int read_int(struct decoding *d, uint8_t mask, uint32_t *number) {
    *number = *d->at++ & mask;
    return *number < mask ? CNO_OK : read_long_int(d, number);
}

static int read_huffman(struct decoding *d, uint32_t size, struct cno_buffer_t *s) {
    // Room for all strings that the rest of the block can have, so that earlier ones never move.
    if (!d->has_scratch) {
        size_t rest = (size_t)(d->end - d->at);
        if (cno__bytes_reserve(&d->t->text, CNO__HUFFMAN_MAX_DECODED(rest) + 1))
            return CNO_ERROR;
        d->has_scratch = 1;
    }
    struct cno__bytes *text = &d->t->text;
    s->data = text->data + text->size;
    ptrdiff_t n = cno__huffman_decode(text->data + text->size, (const char *)d->at, size);
    if (n < 0)
        return refuse(d, "hpack-huffman",
                      n == CNO__HUFFMAN_EOS ? "EOS in a Huffman string"
                                            : "bad padding of a Huffman string");
    s->size = (size_t)n;
    text->size += s->size;
    d->at += size;
    return CNO_OK;
}

// Section 5.2.
static int read_string(struct decoding *d, struct cno_buffer_t *s) {
    if (d->at == d->end)
        return refuse_cut(d);
    int huffman = *d->at & HUFFMAN;
    uint32_t size;
    if (read_int(d, 0x7f, &size))
        return CNO_ERROR;
    if (size > (size_t)(d->end - d->at))
        return refuse_cut(d);
    if (huffman)
        return read_huffman(d, size, s);
    s->data = (const char *)d->at;
    s->size = size;
    d->at += size;
    return CNO_OK;
}

static inline void read_dynamic(const struct cno_hpack_t *t, uint32_t age, struct cno_header_t *h) {
    const struct cno_hpack_entry_t *e = cno__hpack_entry(t, age);
    h->name.data = e->text;
    h->name.size = e->name_size;
    h->value.data = e->text + e->name_size;
    h->value.size = e->value_size;
    h->flags = e->flags;
    h->id = e->id;
}

// Section 2.3.3: one address space for both tables.
static inline int read_entry(struct decoding *d, uint32_t index, struct cno_header_t *h) {
    if (index - 1 < STATIC_COUNT) {
        *h = cno__hpack_static[index];
        return CNO_OK;
    }
    uint32_t age = index - STATIC_COUNT - 1;
    if (!index || age >= d->t->count)
        return refuse(d, "hpack-index", "an index that is in no table");
    read_dynamic(d->t, age, h);
    return CNO_OK;
}

// Evicts entries (section 4.4). Stored fields may point to them, so they are kept until the next
// block; but not entries inserted after fields began to be dropped, because a small block can
// insert many by repeating the name of a long entry.
static void evict_to(struct decoding *d, size_t size) {
    struct cno_hpack_t *t = d->t;
    while (t->size > size) {
        int unseen = d->dropping && t->count <= t->inserted - d->dropped_since;
        struct cno_hpack_entry_t *e = cno__hpack_take_oldest(t);
        if (unseen) {
            cno__release(e);
        } else {
            e->next.dead = t->dead;
            t->dead = e;
        }
    }
}

// Inserts a field into the table and makes the field point to the entry.
static int insert_decoded(struct decoding *d, struct cno_header_t *h) {
    struct cno_hpack_t *t = d->t;
    // Each string is shorter than 2^28 or in the table, so that no sum can wrap.
    size_t size = h->name.size + h->value.size + ENTRY_OVERHEAD;
    if (size > t->limit) {
        evict_to(d, 0);  // section 4.4: not an error
        return CNO_OK;
    }
    // Copied before entries are evicted: the name may be that of an entry that is evicted now.
    struct cno_hpack_entry_t *e = cno__hpack_entry_new(h);
    if (!e || cno__hpack_ring_reserve(t)) {
        cno__release(e);
        return CNO_ERROR;
    }
    e->flags = h->flags;
    e->id = h->id;
    evict_to(d, t->limit - size);
    cno__hpack_ring_push(t, e);
    h->name.data = e->text;
    h->value.data = e->text + e->name_size;
    return CNO_OK;
}

// The place for the next field.
static inline struct cno_header_t *next_field(struct decoding *d) {
    struct cno_hpack_fields_t *out = d->out;
    return !d->dropping && out->count < out->capacity ? &out->list[out->count] : &d->dropped;
}

// Counts a field. Returns CNO_OK, CNO_ERROR above the hard limit; sets d->dropping above another.
static inline int count_field(struct decoding *d, const struct cno_header_t *h) {
    struct cno_hpack_fields_t *out = d->out;
    size_t size = h->name.size + h->value.size + ENTRY_OVERHEAD;
    out->size = size > SIZE_MAX - out->size ? SIZE_MAX : out->size + size;
    if (++out->count <= out->capacity && out->size <= out->max_size)
        return CNO_OK;
    if (!d->dropping) {
        d->dropping = 1;
        d->dropped_since = d->t->inserted;
    }
    if (out->count <= CNO_MAX_HEADERS_HARD)
        return CNO_OK;
    refuse(d, "hpack-too-many-fields", "too many fields");
    return cno_error_set_wire(ENHANCE_YOUR_CALM, (uint64_t)(d->at - d->begin));
}

// Section 6.2. `mask`: the bits of the index of the name.
static int read_literal(struct decoding *d, uint8_t mask) {
    uint8_t first = *d->at;
    size_t text_before = d->t->text.size;
    struct cno_header_t *h = next_field(d);
    uint32_t index;
    if (read_int(d, mask, &index))
        return CNO_ERROR;
    if (index) {
        if (read_entry(d, index, h))
            return CNO_ERROR;
        h->flags &= CNO_HEADER_BAD_NAME;
    } else {
        if (read_string(d, &h->name))
            return CNO_ERROR;
        h->id = (uint8_t)cno__name_id(h->name.data, h->name.size);
        h->flags = cno__name_is_valid_h2(h->name.data, h->name.size) ? 0 : CNO_HEADER_BAD_NAME;
    }
    if (read_string(d, &h->value))
        return CNO_ERROR;
    if (!cno__value_is_valid(h->value.data, h->value.size))
        h->flags |= CNO_HEADER_BAD_VALUE;
    if (count_field(d, h))
        return CNO_ERROR;
    if (first & LITERAL_INDEXED) {
        const char *value = h->value.data;
        if (insert_decoded(d, h))
            return CNO_ERROR;
        if (h->value.data != value)
            d->t->text.size = text_before;
    } else if (first & LITERAL_NEVER) {
        h->flags |= CNO_HEADER_NEVER_INDEXED;
    }
    if (d->dropping)
        d->t->text.size = text_before;
    return CNO_OK;
}

// Sections 4.2 and 6.3: size updates are valid only at the beginning of a block.
static int read_size_updates(struct decoding *d) {
    struct cno_hpack_t *t = d->t;
    for (int seen = 0; d->at != d->end && (*d->at & 0xe0) == SIZE_UPDATE; seen++) {
        uint32_t limit;
        if (seen == MAX_SIZE_UPDATES)
            return refuse(d, "hpack-size-update", "a third table size update");
        if (read_int(d, 0x1f, &limit))
            return CNO_ERROR;
        // After several changes of the limit the peer must send the lowest, to which it evicted.
        if (limit > (t->must_update ? t->limit_lowest : t->limit_upper))
            return refuse(d, "hpack-size-update", "a table size update above the limit");
        t->must_update = 0;
        t->limit_lowest = t->limit_upper;
        t->limit = limit;
        cno__hpack_shrink(t, limit);
    }
    if (t->must_update)
        return refuse(d, "hpack-size-update", "no table size update");
    return CNO_OK;
}

// Reads a run of fields of one byte each. None of them changes the table, so all variables stay in
// registers. Most fields of most blocks are of this kind. Stops at any other field, and at the
// limits.
static void read_indexed_run(struct decoding *d) {
    const struct cno_hpack_t *t = d->t;
    struct cno_hpack_fields_t *out = d->out;
    size_t count = out->count, size = out->size;
    size_t capacity = out->capacity < CNO_MAX_HEADERS_HARD ? out->capacity : CNO_MAX_HEADERS_HARD;
    const uint8_t *at = d->at;
    while (at != d->end && count < capacity) {
        uint32_t age = *at - (INDEXED + STATIC_COUNT + 1u);
        struct cno_header_t *h = &out->list[count];
        if (age < t->count && *at != 0xff) {
            read_dynamic(t, age, h);
        } else if (*at > INDEXED && *at <= INDEXED + STATIC_COUNT) {
            *h = cno__hpack_static[*at - INDEXED];
        } else {
            break;
        }
        size_t more = h->name.size + h->value.size + ENTRY_OVERHEAD;
        if (more > out->max_size - size)
            break;
        size += more;
        count++;
        at++;
    }
    out->count = count;
    out->size = size;
    d->at = at;
}

static inline void release_block(struct cno_hpack_t *t) {
    if (t->dead)
        cno__hpack_release_dead(t);
    if (t->text.data)
        cno__bytes_clear(&t->text);
}

void cno_hpack_release(struct cno_hpack_t *t) {
    release_block(t);
}

int cno_hpack_decode(struct cno_hpack_t *t, struct cno_buffer_t block,
                     struct cno_hpack_fields_t *out) {
    const uint8_t *begin = (const uint8_t *)block.data;
    const uint8_t *end = block.size ? begin + block.size : begin;
    struct decoding d = {.t = t, .out = out, .begin = begin, .at = begin, .end = end};
    out->count = out->size = 0;
    release_block(t);
    if (read_size_updates(&d))
        return CNO_ERROR;
    while (d.at != d.end) {
        uint8_t first = *d.at;
        if ((first & INDEXED) && !d.dropping) {
            const uint8_t *before = d.at;
            read_indexed_run(&d);
            if (d.at != before)
                continue;
        }
        if (first & INDEXED) {
            struct cno_header_t *h = next_field(&d);
            uint32_t index;
            if (read_int(&d, 0x7f, &index) || read_entry(&d, index, h) || count_field(&d, h))
                return CNO_ERROR;
        } else if (first & LITERAL_INDEXED) {
            if (read_literal(&d, 0x3f))
                return CNO_ERROR;
        } else if (first & SIZE_UPDATE) {
            return refuse(&d, "hpack-size-update", "a table size update after a field");
        } else if (read_literal(&d, 0x0f)) {
            return CNO_ERROR;
        }
    }
    return CNO_OK;
}
