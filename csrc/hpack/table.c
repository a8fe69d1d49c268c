// The dynamic table of one direction: entries, eviction, limits (RFC 7541 sections 2.3 and 4).
// Knows nothing of header blocks.
#include "hpack/table.h"

#include <string.h>

#include "message/chars.h"

#define HPACK_TABLES_STATIC
#include "hpack/tables.h"

void cno_hpack_init(struct cno_hpack_t *t, uint32_t limit) {
    *t = (struct cno_hpack_t){.limit = limit, .limit_upper = limit, .limit_lowest = limit};
}

void cno_hpack_set_limit(struct cno_hpack_t *t, uint32_t limit) {
    t->limit_upper = limit;
    if (t->limit_lowest > limit)
        t->limit_lowest = limit;
    // The peer may use a smaller table already; then no size update is needed.
    if (t->limit > t->limit_lowest)
        t->must_update = 1;
}

struct cno_hpack_entry_t *cno__hpack_take_oldest(struct cno_hpack_t *t) {
    struct cno_hpack_entry_t *e = cno__hpack_entry(t, --t->count);
    t->size -= entry_size(e);
    return e;
}

void cno__hpack_shrink(struct cno_hpack_t *t, uint32_t size) {
    while (t->size > size)
        cno__release(cno__hpack_take_oldest(t));
}

void cno__hpack_release_dead(struct cno_hpack_t *t) {
    while (t->dead) {
        struct cno_hpack_entry_t *next = t->dead->next.dead;
        cno__release(t->dead);
        t->dead = next;
    }
}

void cno_hpack_fini(struct cno_hpack_t *t) {
    cno__hpack_release_dead(t);
    cno__hpack_shrink(t, 0);
    cno__release(t->ring);
    cno__release(t->hash);
    cno__bytes_free(&t->text);
    *t = (struct cno_hpack_t){0};
}

struct cno_hpack_entry_t *cno__hpack_entry_new(const struct cno_header_t *h) {
    struct cno_hpack_entry_t *e = cno__resize(NULL, sizeof(*e) + h->name.size + h->value.size);
    if (!e)
        return NULL;
    *e = (struct cno_hpack_entry_t){
        .name_size = (uint32_t)h->name.size,
        .value_size = (uint32_t)h->value.size,
    };
    if (h->name.size)
        memcpy(e->text, h->name.data, h->name.size);
    if (h->value.size)
        memcpy(e->text + h->name.size, h->value.data, h->value.size);
    return e;
}

int cno__hpack_ring_reserve(struct cno_hpack_t *t) {
    if (t->count < t->capacity)
        return CNO_OK;
    uint32_t capacity = t->capacity ? t->capacity * 2 : 8;
    struct cno_hpack_entry_t **ring = cno__resize(NULL, capacity * sizeof(*ring));
    if (!ring)
        return CNO_ERROR;
    for (uint32_t age = 0; age < t->count; age++)
        ring[(t->inserted - age) & (capacity - 1)] = cno__hpack_entry(t, age);
    cno__release(t->ring);
    t->ring = ring;
    t->capacity = capacity;
    return CNO_OK;
}

void cno__hpack_ring_push(struct cno_hpack_t *t, struct cno_hpack_entry_t *e) {
    t->ring[++t->inserted & (t->capacity - 1)] = e;
    t->count++;
    t->size += entry_size(e);
}
