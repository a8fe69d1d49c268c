// The encoder of header blocks: which representation a field gets, and how it is found in the
// tables by hashing. Knows no frames and no streams.
#include "hpack/table.h"

#include <string.h>

#include "hpack/huffman.h"
#include "message/words.h"

#define HPACK_TABLES_NAMES
#include "hpack/tables.h"

// The representation of a field that is in no table, by the static index of its name; fields with
// other names are inserted. Values that an attacker could guess byte by byte (section 7.1.3) must
// not be inserted, and values that rarely come twice would only evict others.
enum POLICY { INSERT, PLAIN, NEVER, INSERT_IF_LONG, PLAIN_IF_LONG };

static const uint8_t policies[STATIC_COUNT + 1] = {
    [STATIC_P_PATH] = PLAIN,
    [STATIC_AGE] = PLAIN,
    [STATIC_AUTHORIZATION] = NEVER,
    [STATIC_CONTENT_LENGTH] = PLAIN,
    [STATIC_CONTENT_RANGE] = PLAIN,
    [STATIC_COOKIE] = INSERT_IF_LONG,
    [STATIC_ETAG] = PLAIN,
    [STATIC_IF_MODIFIED_SINCE] = PLAIN,
    [STATIC_IF_NONE_MATCH] = PLAIN,
    [STATIC_LAST_MODIFIED] = PLAIN,
    [STATIC_LOCATION] = PLAIN,
    [STATIC_PROXY_AUTHORIZATION] = NEVER,
    [STATIC_SET_COOKIE] = PLAIN_IF_LONG,
};

// The longest string. Section 5.1 sets no limit, but our decoder, and others, read no longer
// strings.
#define MAX_STRING ((size_t)1 << 28)

// Bytes of a cookie that make guessing hopeless: nghttp2 has the same number.
#define LONG_COOKIE 20

static enum POLICY policy_of(unsigned static_name, const struct cno_header_t *h) {
    if (h->flags & CNO_HEADER_NEVER_INDEXED)
        return NEVER;
    enum POLICY policy = (enum POLICY)policies[static_name];
    if (policy < INSERT_IF_LONG)
        return policy;
    if (h->value.size < LONG_COOKIE)
        return NEVER;
    return policy == INSERT_IF_LONG ? INSERT : PLAIN;
}

// The first static index of a name, or 0.
static inline unsigned find_static_name(struct cno_buffer_t name) {
    if (!name.size)
        return 0;
    size_t slot = name.size * STATIC_HASH_A +
                  (unsigned char)name.data[name.size - 1] * STATIC_HASH_B +
                  (unsigned char)name.data[0] * STATIC_HASH_C;
    unsigned index = static_slots[slot % sizeof(static_slots)];
    if (cno__hpack_static[index].name.size != name.size)
        return 0;
    return cno__same(cno__hpack_static[index].name.data, name.data, name.size) ? index : 0;
}

static inline unsigned find_static_pair(unsigned first, struct cno_buffer_t value) {
    if (!value.size)
        return cno__hpack_static[first].value.size ? 0 : first;
    for (unsigned i = first, end = first + static_values[first]; i < end; i++)
        if (cno__hpack_static[i].value.size == value.size &&
            cno__same(cno__hpack_static[i].value.data, value.data, value.size))
            return i;
    return 0;
}

struct hashes {
    uint32_t name;
    uint32_t pair;
};

static inline uint32_t *pair_bucket(const struct cno_hpack_t *t, uint32_t hash) {
    return &t->hash[hash & (t->capacity - 1)];
}

static inline uint32_t *name_bucket(const struct cno_hpack_t *t, uint32_t hash) {
    return &t->hash[t->capacity + (hash & (t->capacity - 1))];
}

static inline int is_entry(const struct cno_hpack_entry_t *e, const struct cno_header_t *h) {
    return e->name_size == h->name.size && e->value_size == h->value.size &&
           cno__same(e->text, h->name.data, h->name.size) &&
           cno__same(e->text + e->name_size, h->value.data, h->value.size);
}

// A bucket has the number of its newest entry, and each entry has the distance to the next older
// one. So no entry is ever removed from a bucket: a chain ends at the first age that is not in the
// table.
static uint32_t find_pair(const struct cno_hpack_t *t, const struct cno_header_t *h,
                          uint32_t hash) {
    if (!t->count)
        return 0;
    uint32_t age = t->inserted - *pair_bucket(t, hash);
    while (age < t->count) {
        const struct cno_hpack_entry_t *e = cno__hpack_entry(t, age);
        if (e->pair_hash == hash && is_entry(e, h))
            return STATIC_COUNT + 1 + age;
        age += e->next.older.pair;
    }
    return 0;
}

static uint32_t find_name(const struct cno_hpack_t *t, struct cno_buffer_t name, uint32_t hash) {
    if (!t->count)
        return 0;
    uint32_t age = t->inserted - *name_bucket(t, hash);
    while (age < t->count) {
        const struct cno_hpack_entry_t *e = cno__hpack_entry(t, age);
        if (e->name_hash == hash && e->name_size == name.size &&
            cno__same(e->text, name.data, name.size))
            return STATIC_COUNT + 1 + age;
        age += e->next.older.name;
    }
    return 0;
}

// The distance to the newest entry of a bucket so far. A chain is cut where entries are too old to
// be in the table, so that ages in a chain only grow, even after 2^32 insertions.
static uint32_t bucket_push(const struct cno_hpack_t *t, uint32_t *bucket, uint32_t number) {
    uint32_t older = number - *bucket;
    *bucket = number;
    return older - 1 < t->capacity ? older : t->capacity;
}

static void hash_push(struct cno_hpack_t *t, struct cno_hpack_entry_t *e, uint32_t number) {
    e->next.older.pair = bucket_push(t, pair_bucket(t, e->pair_hash), number);
    e->next.older.name = bucket_push(t, name_bucket(t, e->name_hash), number);
}

// Makes room in the ring and in the hash, which has as many buckets.
static int hash_reserve(struct cno_hpack_t *t) {
    if (t->count < t->capacity)
        return CNO_OK;
    uint32_t capacity = t->capacity ? t->capacity * 2 : 8;
    uint32_t *hash = cno__resize(NULL, 2 * capacity * sizeof(*hash));
    if (!hash || cno__hpack_ring_reserve(t)) {
        cno__release(hash);
        return CNO_ERROR;
    }
    // An age above all that the table can hold, for empty buckets.
    for (uint32_t i = 0; i < 2 * capacity; i++)
        hash[i] = t->inserted - UINT32_MAX / 2;
    cno__release(t->hash);
    t->hash = hash;
    for (uint32_t age = t->count; age-- > 0;)
        hash_push(t, cno__hpack_entry(t, age), t->inserted - age);
    return CNO_OK;
}

// Returns 0 if there is no memory: then the field is sent without being inserted, and the table has
// not changed.
static int insert_encoded(struct cno_hpack_t *t, const struct cno_header_t *h,
                          struct hashes hashes) {
    struct cno_hpack_entry_t *e = cno__hpack_entry_new(h);
    if (!e || hash_reserve(t)) {
        cno__release(e);
        return 0;
    }
    e->name_hash = hashes.name;
    e->pair_hash = hashes.pair;
    cno__hpack_shrink(t, t->limit - entry_size(e));
    cno__hpack_ring_push(t, e);
    hash_push(t, e, t->inserted);
    return 1;
}

// Section 5.1: writes a number that begins in those bits of the first byte that `mask` has set.
static inline char *write_int(char *out, uint8_t first, uint8_t mask, size_t number) {
    if (number < mask) {
        *out++ = (char)(first | number);
        return out;
    }
    *out++ = (char)(first | mask);
    for (number -= mask; number >= 0x80; number >>= 7)
        *out++ = (char)(0x80 | (number & 0x7f));
    *out++ = (char)number;
    return out;
}

static char *write_string(char *out, struct cno_buffer_t s) {
    size_t size = cno__huffman_size(s.data, s.size);
    if (size < s.size)
        return cno__huffman_encode(write_int(out, HUFFMAN, 0x7f, size), s.data, s.size);
    out = write_int(out, 0, 0x7f, s.size);
    if (s.size)
        memcpy(out, s.data, s.size);
    return out + s.size;
}

// Writes a field that is in no table. Only a field to insert has a hash of name and value.
static char *write_literal(struct cno_hpack_t *t, char *out, const struct cno_header_t *h,
                           enum POLICY policy, uint32_t name, struct hashes hashes) {
    if (!name)
        name = find_name(t, h->name, hashes.name);
    // A field that takes nearly the whole table would evict all others.
    if (policy == INSERT &&
        (h->name.size + h->value.size + ENTRY_OVERHEAD > t->limit - t->limit / 4 ||
         !insert_encoded(t, h, hashes)))
        policy = PLAIN;
    if (policy == INSERT)
        out = write_int(out, LITERAL_INDEXED, 0x3f, name);
    else
        out = write_int(out, policy == NEVER ? LITERAL_NEVER : LITERAL_PLAIN, 0x0f, name);
    if (!name)
        out = write_string(out, h->name);
    return write_string(out, h->value);
}

// Writes a field that is not the expected one.
static char *write_field(struct cno_hpack_t *t, char *out, const struct cno_header_t *h,
                         uint32_t *expected) {
    uint32_t index = 0, name = find_static_name(h->name);
    enum POLICY policy = policy_of(name, h);
    if (name && policy != NEVER)
        index = find_static_pair(name, h->value);
    if (index)
        return write_int(out, INDEXED, 0x7f, index);
    // The static index of a name identifies it as its bytes do.
    struct hashes hashes = {.name = name};
    if (!name)
        hashes.name = cno__hash_end(cno__hash_add(0, h->name.data, h->name.size));
    if (policy == INSERT) {
        hashes.pair = cno__hash_end(cno__hash_add(hashes.name, h->value.data, h->value.size));
        index = find_pair(t, h, hashes.pair);
    }
    if (!index)
        return write_literal(t, out, h, policy, name, hashes);
    *expected = t->inserted - (index - STATIC_COUNT - 1) + 1;
    return write_int(out, INDEXED, 0x7f, index);
}

// Blocks of a connection tend to have the same fields in the same order, in which they were
// inserted: so the field behind one that is in the table is often the entry that was inserted next.
static inline char *write_fields(struct cno_hpack_t *t, char *out, const struct cno_header_t *h,
                                 size_t count) {
    uint32_t expected = t->inserted + 1;
    for (; count; count--, h++) {
        uint32_t age = t->inserted - expected;
        if (age < t->count && is_entry(cno__hpack_entry(t, age), h) &&
            !(h->flags & CNO_HEADER_NEVER_INDEXED)) {
            out = write_int(out, INDEXED, 0x7f, STATIC_COUNT + 1 + age);
            expected++;
        } else {
            out = write_field(t, out, h, &expected);
        }
    }
    return out;
}

int cno_hpack_encode(struct cno_hpack_t *t, struct cno__bytes *out, const struct cno_header_t *h,
                     size_t count) {
    // Section 5.1: five bytes for 32 bits behind the first byte.
    const unsigned int_room = 6;
    uint64_t room = 2 * int_room;
    size_t sizes = 0;
    for (size_t i = 0; i < count; i++) {
        sizes |= h[i].name.size | h[i].value.size;
        room += (uint64_t)h[i].name.size + h[i].value.size + 3 * int_room;
    }
    if (sizes >= MAX_STRING)
        return cno_error_set(CNO_ERRNO_ASSERTION, "field-too-large",
                             "a name or value of 2^28 bytes");
    // Reserved once, before the table changes, so that no later failure makes the two tables
    // differ.
    if (cno__bytes_reserve(out, room < SIZE_MAX ? (size_t)room : SIZE_MAX))
        return CNO_ERROR;
    char *at = out->data + out->size;
    if (t->limit_lowest < t->limit || t->limit_upper != t->limit) {
        if (t->limit_lowest < t->limit && t->limit_lowest < t->limit_upper)
            at = write_int(at, SIZE_UPDATE, 0x1f, t->limit_lowest);
        at = write_int(at, SIZE_UPDATE, 0x1f, t->limit_upper);
        cno__hpack_shrink(t, t->limit_lowest);
        t->limit = t->limit_lowest = t->limit_upper;
        t->must_update = 0;
    }
    out->size = (size_t)(write_fields(t, at, h, count) - out->data);
    return CNO_OK;
}
