// The buffers of a batch: the events as one marshalled list, and the output that the caller has not
// taken.
#include "batch/arena.h"

#include <string.h>

// Bytes of each buffer that an idle connection may keep.
#define ARENA_KEEP 4096

struct cno__writer cno__continue(struct cno_batch_t *b) {
    return (struct cno__writer){b->events, b->events_size, b->events_room, 0};
}

int cno__store(struct cno_batch_t *b, const struct cno__writer *w) {
    b->events = w->data;
    b->events_room = w->room;
    if (w->failed)
        return CNO_ERRNO_NO_MEMORY;
    b->events_size = w->size;
    return 0;
}

int cno__commit(struct cno_batch_t *b, const struct cno__writer *w) {
    if (cno__store(b, w))
        return CNO_ERRNO_NO_MEMORY;
    b->count++;
    for (int i = 0; i < 4; i++)
        b->events[1 + i] = (char)(b->count >> 8 * i);
    return 0;
}

struct cno__writer cno__event(struct cno_batch_t *b, enum CNO_EVENT kind, uint32_t stream,
                              unsigned char count) {
    struct cno__writer w = cno__continue(b);
    b->open_stream = 0;
    if (!w.size) {
        b->count = 0;
        cno__put_list(&w);
    }
    cno__put_tuple(&w, count);
    cno__put_int(&w, (int32_t)kind);
    cno__put_int(&w, (int32_t)stream);
    return w;
}

int cno__simple_event(struct cno_batch_t *b, enum CNO_EVENT kind, uint32_t stream) {
    struct cno__writer w = cno__event(b, kind, stream, 2);
    return cno__commit(b, &w);
}

void cno__put_fields(struct cno__writer *w, const struct cno_header_t *list, size_t count) {
    size_t at = cno__put_list(w);
    for (size_t i = 0; i < count; i++)
        cno__put_pair(w, list[i].name, list[i].value);
    cno__put_count(w, at, (uint32_t)count);
}

void cno__trim(char **data, size_t size, size_t *capacity) {
    if (size || *capacity <= ARENA_KEEP)
        return;
    cno__release(*data);
    *data = NULL;
    *capacity = 0;
}
