// A ready-made set of callbacks for languages in which every call into C is expensive. All events
// of one call are written as one value into one buffer, and the output is collected in another
// until the caller takes it.
//
// Values are in the marshal format of CPython (the tags of version 2: lists, tuples, bytes, ASCII
// and UTF-8 strings, 32-bit integers, None, floats), because the interpreter reads and writes that
// format in C: one marshal.loads builds a whole list of events with their fields, and one
// marshal.dumps makes a list of fields to send.
#pragma once

#include "core.h"
#include "ws.h"

#ifdef __cplusplus
extern "C" {
#endif

// The kinds of events. The list of events is [(kind, stream, ...), ...]; the comments list all
// items.
enum CNO_EVENT {
    // kind, stream
    CNO_EVENT_START = 0,
    // kind, stream, flags (enum CNO_MESSAGE_FLAGS | CNO_BATCH_START), code, method (str) or reason
    // (bytes), target (bytes), path (decoded: str, or bytes if it is not UTF-8), query (bytes),
    // fields ([(bytes, bytes)]). Without CNO_BATCH_GATEWAY path and query are None; with it, target
    // is the path as it was on the wire. With CNO_MESSAGE_FINAL no TAIL follows.
    CNO_EVENT_HEAD = 1,
    // kind, stream, start, stop: a slice of the bytes given to this call of cno_batch_consume;
    // or kind, stream, -1, bytes
    CNO_EVENT_DATA = 2,
    // kind, stream, fields or None
    CNO_EVENT_TAIL = 3,
    // kind, stream, code, side. With CNO_BATCH_QUIET this event is left out when a complete message
    // of this endpoint ended the stream.
    CNO_EVENT_END = 4,
    // kind, stream
    CNO_EVENT_FLOW = 5,
    // kind, stream, parent, method, target, fields. No START comes before it.
    CNO_EVENT_PUSH = 6,
    // kind, 0
    CNO_EVENT_SETTINGS = 7,
    // kind, 0, bytes
    CNO_EVENT_PONG = 8,
    // kind, stream, reason (str), wire, offset (float), text (str), method (str) and target (bytes)
    // of the request whose head was refused, empty where they are not known, or None and None. A
    // gateway is also told so of CONNECT, which a batch refuses with 501.
    CNO_EVENT_FAULT = 9,
    // kind, 0
    CNO_EVENT_CLOSE = 10,
    // kind, stream, urgency, incremental
    CNO_EVENT_PRIORITY = 11,
    // kind, stream, left, items: what a WebSocket has received. `left` is how many bytes are kept and
    // not read, because the room was used up (see cno_batch_room); an event without items tells that
    // alone, also that it has become 0. An item is a str for a text
    // message, bytes for a binary message, or a tuple: (CNO_WS_PING, bytes), (CNO_WS_PONG, bytes),
    // (CNO_WS_CLOSE, code, reason as str), (CNO_WS_DEFLATED, opcode, bytes) for a compressed message,
    // or (CNO_WS_FAULT, close code to send, text) when the peer broke the protocol. CLOSE and FAULT
    // are the last item of a stream. Messages that follow each other without another event between
    // them are in one event.
    CNO_EVENT_MESSAGES = 12,
};

// The first items of tuples in CNO_EVENT_MESSAGES that are not opcodes.
enum CNO_WS_ITEM {
    CNO_WS_DEFLATED = 16,
    CNO_WS_FAULT = 17,
};

// Where the items of a MESSAGES event are.
enum CNO_MESSAGES_ITEM {
    CNO_MESSAGES_LEFT = 2,
    CNO_MESSAGES_ITEMS = 3,
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
    // In a HEAD event: the stream began with this head; no START came before it.
    CNO_BATCH_START = 256,
    // In a HEAD event for a gateway: the request asks for a WebSocket, by extended CONNECT (RFC
    // 8441) or on HTTP/1, with CNO_OFFER_UPGRADE, by the field Upgrade (RFC 6455). If
    // CNO_MESSAGE_UPGRADE is set too, grant it by a head with 101 on HTTP/1, which needs the field
    // `upgrade: websocket`, and with 200 on HTTP/2; then call cno_batch_websocket and
    // cno_batch_room. With CNO_MANUAL_FLOW no DATA of such a stream of HTTP/2 is told: bytes in
    // front of these calls are kept, and bounded by the window of the stream. If not, it is an HTTP
    // request that cannot be upgraded: another method than GET, a body, HTTP/1.0, or no connection
    // option `upgrade`. Requests to upgrade to other protocols are given to a gateway as complete
    // HTTP requests.
    CNO_BATCH_WEBSOCKET = 512,
    // For cno_batch_new: requests are given in the form that gateways such as ASGI and WSGI use.
    // `:authority` becomes `host`, other pseudo-fields are removed, cookie fields are joined, and
    // the path is separated from the target and decoded.
    CNO_BATCH_GATEWAY = 1,
    // For cno_batch_new: leave out END events that the caller can foresee (see CNO_EVENT_END).
    CNO_BATCH_QUIET = 2,
};

// A part of a lent body, and its place in the output: behind the first `at` bytes of that, `size` bytes
// of the body from `offset` on.
struct cno_view_t {
    size_t at, offset, size;
};

// Default fields: added to every response in which the application did not set them, and to
// responses that the engine writes by itself (cno_connection_t.refusal_fields). One set may be
// shared by many connections.
struct cno_defaults_t;

struct cno_batch_t {
    struct cno_connection_t conn;
    char *
        events;  // a marshalled list; the caller reads it and sets events_size to 0 after each call
    size_t events_size;
    size_t events_room;
    char *out;  // bytes for the transport; the caller takes them and sets out_size to 0
    size_t out_size;
    size_t out_room;
    size_t replies;     // bytes of `out` that cno_batch_consume wrote
    size_t kept;        // cno_pending() after the last cno_batch_consume
    uint32_t version;   // cno_version() after the last cno_batch_consume
    uint32_t flags;     // enum CNO_BATCH_FLAGS, as given to cno_batch_new
    uint32_t count;     // events in the list
    uint32_t started;   // a stream that has begun and of which no event is written yet; or 0
    uint32_t headed;    // a stream whose head was FINAL, so that its tail is not told; or 0
    const char *input;  // the bytes of the cno_batch_consume under way
    size_t input_size;
    const struct cno_defaults_t *defaults;
    struct cno__loan *loan;        // during cno_batch_lend
    struct cno__socket **sockets;  // the WebSockets, by stream: a hash table of chains
    uint32_t socket_room, socket_count;
    uint32_t open_stream;  // the last event is MESSAGES of this stream; 0 if it is another
    uint32_t open_items;   // of that event
    size_t open_at;        // where its `left` is
    size_t open_end;       // the value of events_size that it ends at
    char *frames;          // what cno_batch_send writes
    size_t frames_room;
    const char *rest;  // the frames that cno_batch_send could not write
    size_t rest_size;
};

// Makes a connection and its batch. NULL when there is no memory.
struct cno_batch_t *cno_batch_new(enum CNO_CONNECTION_KIND, uint32_t flags);
void cno_batch_free(struct cno_batch_t *);

// cno_consume. Returns events_size, or CNO_ERROR; there may be events and output in both cases. In
// addition to the errors of cno_consume: WOULD_BLOCK while more than CNO_MAX_QUEUED_REPLIES bytes
// of output that earlier calls wrote are not taken, so that a peer that does not read is not read
// either.
int cno_batch_consume(struct cno_batch_t *, const char *data, size_t size);

// cno_write_head. A `code` of 0 means a request, with method and path. `fields` is a marshalled
// list of pairs of bytes.
int cno_batch_head(struct cno_batch_t *, uint32_t stream, int code, const char *method,
                   size_t method_size, const char *path, size_t path_size, const char *fields,
                   size_t fields_size, int final);

// cno_write_message, with arguments as of cno_batch_head. Returns how many bytes of the body were
// taken.
int cno_batch_message(struct cno_batch_t *, uint32_t stream, int code, const char *method,
                      size_t method_size, const char *path, size_t path_size, const char *fields,
                      size_t fields_size, const char *body, size_t body_size, int final);

// cno_write_message for the response of an application, with at most CNO_MAX_ANSWER_FIELDS fields.
// Names are changed to lower case on HTTP/2, and default fields that the application did not set
// are added. `total` is the size of the whole body, of which `body` may be only the first part, or
// -1 while it is not known; it becomes Content-Length if the application gave none. Returns how
// many bytes of `body` were taken.
int cno_batch_respond(struct cno_batch_t *, uint32_t stream, int code,
                      const struct cno_header_t *list, size_t count, const char *body,
                      size_t body_size, long long total);

// cno_batch_respond with marshalled fields.
int cno_batch_answer(struct cno_batch_t *, uint32_t stream, int code, const char *fields,
                     size_t fields_size, const char *body, size_t body_size, long long total);

// cno_write_push and cno_write_tail with marshalled fields.
int cno_batch_push(struct cno_batch_t *, uint32_t parent, const char *method, size_t method_size,
                   const char *path, size_t path_size, const char *fields, size_t fields_size);
int cno_batch_tail(struct cno_batch_t *, uint32_t stream, const char *fields, size_t fields_size);

// cno_write_data for a body whose bytes stay in their place until the transport has sent them. The bytes
// are not copied into the output: views[0..*count) say where parts of the body belong into it. The
// caller sets *count to the room in `views`; parts for which there is no room are copied. Returns the
// number of bytes that were taken. After an error *count is 0, and nothing was added to the output.
int cno_batch_lend(struct cno_batch_t *, uint32_t stream, const char *data, size_t size, int final,
                   struct cno_view_t *views, size_t *count);

// cno_batch_respond for a whole body that is lent in the same way.
int cno_batch_respond_lent(struct cno_batch_t *, uint32_t stream, int code,
                           const struct cno_header_t *list, size_t list_size, const char *body,
                           size_t body_size, struct cno_view_t *views, size_t *count);

// ---- WebSockets --------------------------------------------------------------------------------
// These are for servers. On HTTP/2 they need CNO_MANUAL_FLOW. The memory of a WebSocket is released
// when its stream ends, and with it the bytes that were not read.

// Makes a stream whose tunnel was granted a WebSocket: from now on it has MESSAGES events instead of
// DATA. `max_size` is the limit in bytes of a message, up to CNO_WS_MAX_SIZE; `options` are enum
// CNO_WS_OPTIONS. Nothing is read until cno_batch_room is called. Errors: those of cno_write_data;
// ASSERTION `bad-limit`; ASSERTION `bad-websocket` for a client, without CNO_MANUAL_FLOW, and for a
// second call.
int cno_batch_websocket(struct cno_batch_t *, uint32_t stream, size_t max_size, uint32_t options);

// Sets how much a WebSocket may tell, as struct cno_ws_room_t of ws.h describes, and reads kept
// bytes up to that, which may leave an event. On HTTP/1 call cno_batch_consume without bytes behind
// the first call: the engine kept what the peer sent in front of the response.
//
// On HTTP/1 a caller that reads no more of the transport while `left` is not 0 bounds the bytes
// that are kept to those of one read. On HTTP/2 the window of the stream bounds them: only bytes
// that were read reopen the window (cno_open_flow is not for such streams). Errors: INVALID_STREAM
// when the stream is no WebSocket, or has ended; NO_MEMORY, after which nothing more is told of it.
int cno_batch_room(struct cno_batch_t *, uint32_t stream, size_t messages, size_t bytes);

// Writes messages and control frames. `items` is a marshalled list of pairs of an opcode, perhaps
// with CNO_WS_RSV1, and the whole payload: bytes, or a str, which is sent as UTF-8. FIN is set in
// each. Returns how many bytes of the frames were taken: all, or on HTTP/2 as many as the windows
// allow. The others are rest[0..rest_size), which is valid until the next call of this function or of
// cno_batch_consume; they must be the next bytes of the stream (by cno_write_data). Errors: those of
// cno_write_data; ASSERTION `bad-item` and `bad-frame` for what cannot be sent, such as a str with
// surrogates. After an error nothing was written.
int cno_batch_send(struct cno_batch_t *, uint32_t stream, const char *items, size_t size);

// ---- default fields ----------------------------------------------------------------------------

// Makes an empty set of default fields; NULL when there is no memory. The set must outlive the
// batches that point to it.
struct cno_defaults_t *cno_defaults_new(void);

// Replaces the default fields by a marshalled list of at most CNO_MAX_DEFAULTS fields. Errors:
// ASSERTION for fields that cannot be sent, NO_MEMORY. After an error the old fields stay.
int cno_defaults_set(struct cno_defaults_t *, const char *fields, size_t fields_size);
void cno_defaults_free(struct cno_defaults_t *);

#ifdef __cplusplus
}
#endif
