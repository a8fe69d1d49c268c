// Writing events into the buffer of a batch. Knows the list of events, but no particular event.
#pragma once

#include "batch.h"
#include "batch/marshal.h"

// Begins an event of `count` items, the first two of which are its kind and stream. The caller
// writes the others by cno__put_*, then calls cno__commit.
struct cno__writer cno__event(struct cno_batch_t *, enum CNO_EVENT kind, uint32_t stream,
                              unsigned char count);

// Adds the event that was written to the list. Returns 0 or CNO_ERRNO_NO_MEMORY, as a callback
// does.
int cno__commit(struct cno_batch_t *, const struct cno__writer *);

// Continues behind the last event of the list, which then is stored again.
struct cno__writer cno__continue(struct cno_batch_t *);
int cno__store(struct cno_batch_t *, const struct cno__writer *);

// Adds an event that has only a kind and a stream.
int cno__simple_event(struct cno_batch_t *, enum CNO_EVENT kind, uint32_t stream);

// Writes a list of fields, as pairs of bytes.
void cno__put_fields(struct cno__writer *, const struct cno_header_t *list, size_t count);

// Releases an empty buffer that one large read or response has made large.
void cno__trim(char **data, size_t size, size_t *capacity);
