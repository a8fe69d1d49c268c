// PRIVATE: the WebSockets of a batch, for its callbacks.
#pragma once

#include "batch.h"

struct cno__socket;

// A request asks for a WebSocket: keeps the DATA of its stream from now on, where the connection
// does not keep it by itself (on HTTP/2) and a window bounds it. Returns 0 or CNO_ERROR.
int cno__socket_expect(struct cno_batch_t *, uint32_t stream);

// The WebSocket of a stream, or NULL.
struct cno__socket *cno__socket_find(const struct cno_batch_t *, uint32_t stream);

// Tells what these bytes bring, as a callback does.
int cno__socket_data(struct cno_batch_t *, struct cno__socket *, const char *data, size_t size);

// The stream has ended.
void cno__socket_end(struct cno_batch_t *, uint32_t stream);
void cno__socket_free_all(struct cno_batch_t *);
