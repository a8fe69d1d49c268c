// A ready-made set of callbacks for languages in which every call costs: what happens during one
// call is written, as one value, into one arena, and what is to be sent is gathered until it is
// taken.
//
// Values cross in the marshal format of CPython (version 2 tags: lists, tuples, bytes, ASCII and
// UTF-8 strings, 32-bit integers, None, floats), because the interpreter reads and writes it in C:
// a whole list of events with its field lists is built by one marshal.loads, and a field list to
// send is one marshal.dumps.
#pragma once

#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

// The first item of each event. The list of events is [(kind, stream, ...), ...].
enum CNO_EVENT {
    // kind, stream
    CNO_EVENT_START = 0,
    // kind, stream, flags (enum CNO_MESSAGE_FLAGS | CNO_BATCH_START), code, method (str) or reason
    // (bytes), target (bytes), path (decoded: str, or bytes if it is not UTF-8), query (bytes),
    // fields ([(bytes, bytes)]).
    // Path and query are None but for a gateway, whose target is the path as it was on the wire.
    // With CNO_MESSAGE_FINAL no TAIL follows.
    CNO_EVENT_HEAD = 1,
    // kind, stream, start, stop: a slice of the octets that were given to this cno_batch_consume;
    // or kind, stream, -1, bytes
    CNO_EVENT_DATA = 2,
    // kind, stream, fields or None
    CNO_EVENT_TAIL = 3,
    // kind, stream, code, side. With CNO_BATCH_QUIET not when our own last octets ended it well.
    CNO_EVENT_END = 4,
    // kind, stream
    CNO_EVENT_FLOW = 5,
    // kind, stream, parent, method, target, fields; on_stream_start came with it
    CNO_EVENT_PUSH = 6,
    // kind, 0
    CNO_EVENT_SETTINGS = 7,
    // kind, 0, bytes
    CNO_EVENT_PONG = 8,
    // kind, stream, reason (str), wire, offset (float), text (str), method (str) and target (bytes) of the
    // request whose head was refused, empty where they are not known, or None and None
    CNO_EVENT_FAULT = 9,
    // kind, 0
    CNO_EVENT_CLOSE = 10,
    // kind, stream, urgency, incremental
    CNO_EVENT_PRIORITY = 11,
};

// Where the items of a HEAD event are.
enum CNO_HEAD_ITEM {
    CNO_HEAD_STREAM = 1,
    CNO_HEAD_FLAGS = 2,
    CNO_HEAD_CODE = 3,
    CNO_HEAD_METHOD = 4,
    CNO_HEAD_TARGET = 5,
    CNO_HEAD_PATH = 6,
    CNO_HEAD_QUERY = 7,
    CNO_HEAD_FIELDS = 8,
};

enum CNO_BATCH_FLAGS {
    // In an event: on_stream_start came with the head.
    CNO_BATCH_START = 256,
    // To a gateway: CNO_MESSAGE_UPGRADE came with it, and the tunnel would be a WebSocket (RFC 6455 by
    // Upgrade, RFC 8441). Grant it by a head with 101 on HTTP/1, where `upgrade: websocket` is to be
    // among its fields, and with 200 on HTTP/2; then consume nothing once, for what was kept. Other
    // requests to upgrade are given to a gateway as complete HTTP requests.
    CNO_BATCH_WEBSOCKET = 512,
    // To cno_batch_new: requests are for a gateway. `:authority` becomes `host`, the other
    // pseudo-fields go, cookie crumbs are joined, the path is cut from the target and decoded.
    CNO_BATCH_GATEWAY = 1,
    // To cno_batch_new: the caller knows when it has said all.
    CNO_BATCH_QUIET = 2,
};

// Fields that every answer gets unless the application set them, and those that the engine writes itself
// as well (cno_connection_t.refusal_fields). Shared by many connections.
struct cno_defaults_t;

struct cno_batch_t {
    struct cno_connection_t conn;
    char *events;  // a marshalled list; read and then set events_size to 0 after each call
    size_t events_size;
    size_t events_room;
    char *out;  // octets for the transport; take them and set out_size to 0
    size_t out_size;
    size_t out_room;
    size_t replies;    // octets of `out` that reading made
    size_t kept;       // cno_pending() after the last cno_batch_consume
    uint32_t version;  // cno_version() after the last call
    uint32_t flags;
    uint32_t count;     // events in the list
    uint32_t started;   // a stream that was begun and whose head is not told yet
    uint32_t headed;    // a stream whose head was FINAL: its tail is not told
    const char *input;  // what cno_batch_consume was given
    size_t input_size;
    const struct cno_defaults_t *defaults;
};

// NULL when there is no memory.
struct cno_batch_t *cno_batch_new(enum CNO_CONNECTION_KIND, uint32_t flags);
void cno_batch_free(struct cno_batch_t *);

// cno_consume. Returns events_size, or CNO_ERROR: events and output may be there all the same.
// WOULD_BLOCK as well while more than CNO_MAX_QUEUED_REPLIES octets of output that earlier reads made
// are not taken: the peer does not read, and is not read.
int cno_batch_consume(struct cno_batch_t *, const char *data, size_t size);

// cno_write_head. `code` 0 is a request, with method and path. `fields` is a marshalled list of
// pairs of bytes.
int cno_batch_head(struct cno_batch_t *, uint32_t stream, int code, const char *method,
                   size_t method_size, const char *path, size_t path_size, const char *fields,
                   size_t fields_size, int final);

// cno_write_message. Everything but the body as for cno_batch_head. Returns how many octets of it were
// taken.
int cno_batch_message(struct cno_batch_t *, uint32_t stream, int code, const char *method,
                      size_t method_size, const char *path, size_t path_size, const char *fields,
                      size_t fields_size, const char *body, size_t body_size, int final);

// cno_write_message for what an application answers, with at most CNO_MAX_ANSWER_FIELDS: names are
// lowered where HTTP/2 is spoken and the default fields that it did not set are added. `total` is
// the size of the whole body, of which `body` may be only the first part, or -1 while it is not
// known; it becomes Content-Length if the application gave none. Returns how many octets of `body`
// were taken.
int cno_batch_respond(struct cno_batch_t *, uint32_t stream, int code,
                      const struct cno_header_t *list, size_t count, const char *body,
                      size_t body_size, long long total);

// The same with marshalled fields.
int cno_batch_answer(struct cno_batch_t *, uint32_t stream, int code, const char *fields,
                     size_t fields_size, const char *body, size_t body_size, long long total);

// cno_write_push and cno_write_tail with marshalled fields.
int cno_batch_push(struct cno_batch_t *, uint32_t parent, const char *method, size_t method_size,
                   const char *path, size_t path_size, const char *fields, size_t fields_size);
int cno_batch_tail(struct cno_batch_t *, uint32_t stream, const char *fields, size_t fields_size);

// An empty set; NULL when there is no memory. It must outlive the batches that point to it.
struct cno_defaults_t *cno_defaults_new(void);

// Replaces the default fields by a marshalled list of at most CNO_MAX_DEFAULTS. Errors: ASSERTION
// for fields that cannot be sent, NO_MEMORY; the old ones stay then.
int cno_defaults_set(struct cno_defaults_t *, const char *fields, size_t fields_size);
void cno_defaults_free(struct cno_defaults_t *);

#ifdef __cplusplus
}
#endif
