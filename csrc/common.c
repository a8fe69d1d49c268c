// The last error of a thread, the allocator and the growing buffer. Knows nothing of HTTP.
#include "common.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "version.h"

uint32_t cno_library_version(void) {
    return CNO_VERSION_NUMBER;
}

// ---- errors ------------------------------------------------------------------------------------

static _Thread_local struct cno_error_t last_error = {.reason = "none"};

const struct cno_error_t *cno_error(void) {
    return &last_error;
}

int cno_error_set(int code, const char *reason, const char *format, ...) {
    last_error.code = code;
    last_error.wire = 0;
    last_error.offset = 0;
    last_error.reason = reason;
    va_list args;
    va_start(args, format);
    // A text that does not fit is cut off: it is for a person, and `reason` is for programs.
    if (vsnprintf(last_error.text, sizeof(last_error.text), format, args) < 0)
        last_error.text[0] = 0;
    va_end(args);
    return CNO_ERROR;
}

int cno_error_set_wire(uint32_t wire, uint64_t offset) {
    last_error.wire = wire;
    last_error.offset = offset;
    return CNO_ERROR;
}

// ---- memory ------------------------------------------------------------------------------------

static struct cno_allocator_t allocator = {.resize = realloc, .release = free};

void cno_set_allocator(const struct cno_allocator_t *a) {
    allocator = a ? *a : (struct cno_allocator_t){.resize = realloc, .release = free};
}

void *cno__resize(void *data, size_t size) {
    void *moved = allocator.resize(data, size);
    if (!moved)
        cno_error_set(CNO_ERRNO_NO_MEMORY, "no-memory", "could not allocate %zu bytes", size);
    return moved;
}

void cno__release(void *data) {
    if (data)
        allocator.release(data);
}

// Moves the bytes in use to the start of the allocation.
static void bytes_rewind(struct cno__bytes *b) {
    if (!b->front)
        return;
    char *base = b->data - b->front;
    if (b->size)
        memmove(base, b->data, b->size);
    b->data = base;
    b->room += b->front;
    b->front = 0;
}

int cno__bytes_reserve(struct cno__bytes *b, size_t more) {
    if (more <= b->room - b->size)
        return CNO_OK;
    // A quarter of the range is no limit in practice, and no sum below can wrap.
    if (more > SIZE_MAX / 4 || b->size > SIZE_MAX / 4)
        return cno_error_set(CNO_ERRNO_NO_MEMORY, "no-memory",
                             "a buffer of %zu bytes cannot grow "
                             "by %zu",
                             b->size, more);
    size_t need = b->size + more;
    size_t have = b->front + b->room;
    // The bytes consumed before pay for moving the others. If few were consumed, a long buffer
    // would be moved for every few bytes that go through it; such a buffer grows instead.
    if (need <= have && b->front >= b->size / 2) {
        bytes_rewind(b);
        return CNO_OK;
    }
    size_t want = b->size * 2 < 64 ? 64 : b->size * 2;
    if (want < need)
        want = need;
    bytes_rewind(b);
    if (want <= b->room)
        return CNO_OK;
    char *data = cno__resize(b->data, want);
    if (!data)
        return CNO_ERROR;
    b->data = data;
    b->room = want;
    return CNO_OK;
}

int cno__bytes_append(struct cno__bytes *b, const void *data, size_t size) {
    if (!size)
        return CNO_OK;
    if (cno__bytes_reserve(b, size))
        return CNO_ERROR;
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return CNO_OK;
}

void cno__bytes_consume(struct cno__bytes *b, size_t size) {
    if (size < b->size) {
        b->data += size;
        b->size -= size;
        b->front += size;
        b->room -= size;
    } else {
        b->size = 0;
        bytes_rewind(b);
    }
}

void cno__bytes_clear(struct cno__bytes *b) {
    if (b->front + b->room > CNO_BUFFER_KEEP) {
        cno__bytes_free(b);
    } else {
        b->size = 0;
        bytes_rewind(b);
    }
}

void cno__bytes_free(struct cno__bytes *b) {
    if (b->data)
        cno__release(b->data - b->front);
    *b = (struct cno__bytes){0};
}
