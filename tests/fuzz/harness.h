// What the fuzz targets share: a check that stops, a reader of fuzz octets, memory that is counted.
#pragma once

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "config.h"
#include "core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(...) require((__VA_ARGS__) ? 1 : 0, #__VA_ARGS__, __FILE__, __LINE__)

static inline void require(int ok, const char *what, const char *file, int line) {
    if (ok)
        return;
    fprintf(stderr, "%s:%d: broken: %s\nlast error: %s, %s\n", file, line, what,
            cno_error()->reason, cno_error()->text);
    abort();
}

// ---- fuzz octets -------------------------------------------------------------------------------

struct reader {
    const uint8_t *data;
    size_t size;
};

static inline unsigned take(struct reader *r) {
    return r->size ? (r->size--, *r->data++) : 0;
}

static inline unsigned take2(struct reader *r) {
    unsigned high = take(r);
    return high << 8 | take(r);
}

// At most `size` octets, as they are.
static inline struct reader take_run(struct reader *r, size_t size) {
    struct reader run = {r->data, size < r->size ? size : r->size};
    r->data += run.size;
    r->size -= run.size;
    return run;
}

#define BODY_PERIOD 251  // octet n of every body is n % 251
static char body_octets[200000 + BODY_PERIOD];

// Every view of an event is readable, to its end (the sanitiser looks at what memcpy reads).
static inline void touch(const void *data, size_t size) {
    static char sink[sizeof(body_octets)];
    while (size) {
        size_t part = size < sizeof(sink) ? size : sizeof(sink);
        memcpy(sink, data, part);
        data = (const char *)data + part;
        size -= part;
    }
}

// ---- memory ------------------------------------------------------------------------------------

static size_t live, peak;  // octets allocated by the engine now, and at most in this run
static long until_failure = -1;
static int starved;  // an allocation was refused in this run

static void *counted_resize(void *data, size_t size) {
    if (until_failure >= 0 && until_failure-- == 0) {
        starved = 1;
        return NULL;
    }
    size_t before = data ? malloc_usable_size(data) : 0;
    void *moved = realloc(data, size);
    if (!moved)
        abort();
    live += malloc_usable_size(moved) - before;
    peak = live > peak ? live : peak;
    return moved;
}

static void counted_release(void *data) {
    live -= data ? malloc_usable_size(data) : 0;
    free(data);
}

// Before each input; `fail` is the number of the allocation to refuse, or -1.
static inline void memory_begin(long fail) {
    static const struct cno_allocator_t allocator = {counted_resize, counted_release};
    cno_set_allocator(&allocator);
    live = peak = 0;
    until_failure = fail;
    starved = 0;
    for (size_t i = 0; !body_octets[sizeof(body_octets) - 1] && i < sizeof(body_octets); i++)
        body_octets[i] = (char)(i % BODY_PERIOD);
}

// A growing run of octets outside that count.
struct octets {
    char *data;
    size_t size, room;
};

static inline void put(struct octets *o, const void *data, size_t size) {
    if (o->room - o->size < size) {
        o->room = (o->room + size) * 2;
        if (!(o->data = realloc(o->data, o->room)))
            abort();
    }
    if (size)
        memcpy(o->data + o->size, data, size);
    o->size += size;
}

static inline void put_text(struct octets *o, const char *text) {
    put(o, text, strlen(text));
}

static inline void put_number(struct octets *o, uint64_t number, int octets) {
    while (octets--) {
        unsigned char octet = (unsigned char)(number >> 8 * octets);
        put(o, &octet, 1);
    }
}

static inline void drop(struct octets *o, size_t size) {
    o->size -= size;
    if (o->size)
        memmove(o->data, o->data + size, o->size);
}
