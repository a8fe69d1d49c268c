// An allocator that counts: octets in use and at most, octets that had to move, calls.
#pragma once

#include <stdlib.h>
#include <string.h>

#include "common.h"

static size_t in_use, most_in_use, moved, resizes;

// The size is kept in front of each block, in room for any alignment.
enum { COUNTING_HEAD = 16 };

static void *counting_resize(void *data, size_t size) {
    size_t old = 0;
    if (data)
        memcpy(&old, (char *)data - COUNTING_HEAD, sizeof(old));
    char *block = realloc(data ? (char *)data - COUNTING_HEAD : NULL, size + COUNTING_HEAD);
    if (!block)
        abort();
    memcpy(block, &size, sizeof(size));
    in_use += size - old;
    most_in_use = in_use > most_in_use ? in_use : most_in_use;
    moved += old;
    resizes++;
    return block + COUNTING_HEAD;
}

static void counting_release(void *data) {
    size_t size;
    memcpy(&size, (char *)data - COUNTING_HEAD, sizeof(size));
    in_use -= size;
    free((char *)data - COUNTING_HEAD);
}

static const struct cno_allocator_t COUNTING = {counting_resize, counting_release};
