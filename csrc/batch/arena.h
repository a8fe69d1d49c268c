// How events get into the arena of a batch. Knows what a list of events is, and no single event.
#pragma once

#include "batch.h"
#include "batch/marshal.h"

// The beginning of an event with `count` items, the first two of which are its kind and stream. The
// others are put by cno__put_*, then cno__commit takes it.
struct cno__writer cno__event(struct cno_batch_t *, enum CNO_EVENT kind, uint32_t stream,
                              unsigned char count);

// Takes what was written for one event. 0 or CNO_ERRNO_NO_MEMORY, as a callback returns it.
int cno__commit(struct cno_batch_t *, const struct cno__writer *);

// An event that has nothing but a kind and a stream.
int cno__simple_event(struct cno_batch_t *, enum CNO_EVENT kind, uint32_t stream);

// Puts a list of fields: pairs of bytes.
void cno__put_fields(struct cno__writer *, const struct cno_header_t *list, size_t count);

// Gives back an arena that is empty and that one large read or answer has made large.
void cno__trim(char **data, size_t size, size_t *capacity);
