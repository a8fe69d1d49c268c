// Octets that lie against pages nobody may touch, so that reading one octet too many faults: also where a
// word or a vector is read, which a sanitiser may not see, and without any sanitiser.
#pragma once

#define _DEFAULT_SOURCE  // MAP_ANONYMOUS
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guard {
    char *map, *start, *end;  // between start and end there is access
    size_t page;
};

// Room for at least `size` octets.
static inline void guard_open(struct guard *g, size_t size) {
    g->page = (size_t)sysconf(_SC_PAGESIZE);
    size_t inner = (size / g->page + 1) * g->page;
    g->map = mmap(NULL, inner + 2 * g->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g->start = g->map + g->page;
    g->end = g->start + inner;
    if (g->map == MAP_FAILED || mprotect(g->start, inner, PROT_READ | PROT_WRITE)) {
        perror("guard pages");
        exit(2);
    }
}

static inline void guard_close(struct guard *g) {
    if (g->map)
        munmap(g->map, (size_t)(g->end - g->map) + g->page);
    *g = (struct guard){0};
}

// `size` octets that end where access does, and a copy of some there. Good until the next call.
static inline char *guard_last(struct guard *g, size_t size) {
    if (!g->map || (size_t)(g->end - g->start) < size) {
        guard_close(g);
        guard_open(g, size + 65536);
    }
    return g->end - size;
}

static inline char *guard_copy(struct guard *g, const void *data, size_t size) {
    char *at = guard_last(g, size);
    if (size)
        memcpy(at, data, size);
    return at;
}
