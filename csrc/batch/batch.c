// The batch: callbacks that write every event into one buffer and the output into another, and the
// functions that call the engine. Uses only the public functions of a connection.
#include "batch.h"

#include <string.h>

#include "batch/answer.h"
#include "batch/arena.h"
#include "batch/gateway.h"
#include "batch/websocket.h"
#include "config.h"

// Writes a START event for a stream that has begun and whose head has not come yet.
static int tell_start(struct cno_batch_t *b) {
    uint32_t stream = b->started;
    b->started = 0;
    return stream && !(b->flags & CNO_BATCH_GATEWAY) ? cno__simple_event(b, CNO_EVENT_START, stream)
                                                     : 0;
}

// ---- callbacks ---------------------------------------------------------------------------------

// A body that cno_batch_lend was given, and the parts of it that were not copied.
struct cno__loan {
    struct cno_buffer_t body;
    struct cno_view_t *views;
    size_t room, count;
};

// Notes a piece of output if all of the piece lies in the lent body. Returns whether it was noted.
//
// A piece that begins in front of the body has an offset that wraps around, beyond any size. A piece
// of the engine may begin in the body nevertheless, because a linker may merge equal literals; it is
// noted only if the body has all of its bytes.
static int note_view(struct cno__loan *loan, struct cno_buffer_t piece, size_t at) {
    size_t offset = (size_t)((uintptr_t)piece.data - (uintptr_t)loan->body.data);
    if (!piece.size || offset >= loan->body.size || piece.size > loan->body.size - offset ||
        loan->count == loan->room)
        return 0;
    loan->views[loan->count++] = (struct cno_view_t){at, offset, piece.size};
    return 1;
}

static int on_writev(void *data, const struct cno_buffer_t *pieces, size_t count) {
    struct cno_batch_t *b = data;
    struct cno__writer w = {b->out, b->out_size, b->out_room, 0};
    for (size_t i = 0; i < count; i++)
        if (!b->loan || !note_view(b->loan, pieces[i], w.size))
            cno__put_raw(&w, pieces[i].data, pieces[i].size);
    b->out = w.data;
    b->out_room = w.room;
    if (w.failed)
        return CNO_ERRNO_NO_MEMORY;
    b->out_size = w.size;
    return 0;
}

static int on_start(void *data, uint32_t stream) {
    struct cno_batch_t *b = data;
    if (tell_start(b))
        return CNO_ERRNO_NO_MEMORY;
    b->started = stream;
    return 0;
}

// Writes a FAULT event. `request` is the request whose head was refused, or NULL.
static int put_fault(struct cno_batch_t *b, uint32_t stream, const struct cno_error_t *error,
                     const struct cno_message_t *request) {
    struct cno__writer w = cno__event(b, CNO_EVENT_FAULT, stream, 8);
    cno__put_ascii(&w, error->reason, strlen(error->reason));
    cno__put_int(&w, (int32_t)error->wire);
    cno__put_float(&w, (double)error->offset);
    cno__put_text(&w, error->text, strlen(error->text));
    if (request) {
        cno__put_ascii(&w, request->method.data, request->method.size);
        cno__put_bytes(&w, request->path.data, request->path.size);
    } else {
        cno__put_none(&w);
        cno__put_none(&w);
    }
    return cno__commit(b, &w);
}

// A gateway opens no tunnels, so CONNECT gets a 501 response here (RFC 9110 section 9.3.6).
static int refuse_connect(struct cno_batch_t *b, uint32_t stream, const struct cno_message_t *msg) {
    static const struct cno_error_t error = {.code = CNO_ERRNO_PROTOCOL,
                                             .wire = 501,
                                             .reason = "no-tunnels",
                                             .text = "CONNECT asks for a tunnel (RFC 9110 9.3.6)"};
    struct cno_header_t close = {{"connection", 10}, {"close", 5}, 0, 0};
    b->started = 0;
    b->headed = stream;
    int r = cno_batch_respond(b, stream, 501, &close, 1, "", 0, 0);
    return r < 0 ? r : put_fault(b, stream, &error, msg);
}

// CNO_BATCH_WEBSOCKET for a request that asks for a WebSocket, in whatever way, else 0.
static uint32_t websocket_flag(const struct cno_batch_t *b, const struct cno_message_t *msg) {
    int http2 = cno_version(&b->conn) == CNO_HTTP2;
    // On HTTP/1 a server that offers no tunnels ignores the field Upgrade (RFC 9110 section 7.8).
    int considered = http2 ? msg->flags & CNO_MESSAGE_UPGRADE
                           : (b->conn.options & CNO_OFFER_UPGRADE) && !cno__gateway_is_connect(msg);
    return considered && cno__gateway_asks_websocket(msg, http2) ? CNO_BATCH_WEBSOCKET : 0;
}

// Whether the tunnel that a request asks for can become a WebSocket.
static int is_handshake(const struct cno_batch_t *b, const struct cno_message_t *msg,
                        uint32_t flags) {
    return (flags & CNO_BATCH_WEBSOCKET) &&
           cno__gateway_may_upgrade(msg, cno_version(&b->conn) == CNO_HTTP2);
}

static int on_head(void *data, uint32_t stream, const struct cno_message_t *msg) {
    struct cno_batch_t *b = data;
    uint32_t flags = msg->flags | (b->started == stream ? CNO_BATCH_START : 0);
    int gateway = (b->flags & CNO_BATCH_GATEWAY) && !msg->code;
    if (gateway) {
        flags |= websocket_flag(b, msg);
        int tunnel = (flags & CNO_MESSAGE_UPGRADE) != 0;
        if (tunnel && !(flags & CNO_BATCH_WEBSOCKET) && cno__gateway_is_connect(msg))
            return refuse_connect(b, stream, msg);
        if (tunnel && !is_handshake(b, msg, flags))
            flags = (flags & ~(uint32_t)CNO_MESSAGE_UPGRADE) | CNO_MESSAGE_FINAL;
        else if (tunnel && cno__socket_expect(b, stream))
            return CNO_ERRNO_NO_MEMORY;
    }
    if (b->started == stream)
        b->started = 0;
    struct cno__writer w = cno__event(b, CNO_EVENT_HEAD, stream, 9);
    cno__put_int(&w, (int32_t)flags);
    cno__put_int(&w, msg->code);
    if (gateway) {
        cno__gateway_put_request(&w, msg, cno_version(&b->conn) == CNO_HTTP2);
    } else {
        if (msg->code)
            cno__put_bytes(&w, msg->method.data, msg->method.size);
        else
            cno__put_ascii(&w, msg->method.data, msg->method.size);
        cno__put_bytes(&w, msg->path.data, msg->path.size);
        cno__put_none(&w);
        cno__put_none(&w);
        cno__put_fields(&w, msg->headers, msg->headers_len);
    }
    b->headed = flags & CNO_MESSAGE_FINAL ? stream : 0;
    return cno__commit(b, &w);
}

static int on_data(void *data, uint32_t stream, const char *body, size_t size) {
    struct cno_batch_t *b = data;
    struct cno__socket *socket = b->socket_count ? cno__socket_find(b, stream) : NULL;
    if (socket)
        return cno__socket_data(b, socket, body, size);
    uintptr_t start = (uintptr_t)body - (uintptr_t)b->input;
    struct cno__writer w = cno__event(b, CNO_EVENT_DATA, stream, 4);
    if (b->input && start < b->input_size && start <= INT32_MAX - size) {
        cno__put_int(&w, (int32_t)start);
        cno__put_int(&w, (int32_t)(start + size));
    } else {
        cno__put_int(&w, -1);
        cno__put_bytes(&w, body, size);
    }
    return cno__commit(b, &w);
}

static int on_tail(void *data, uint32_t stream, const struct cno_tail_t *tail) {
    struct cno_batch_t *b = data;
    if (!tail && b->headed == stream)
        return 0;
    struct cno__writer w = cno__event(b, CNO_EVENT_TAIL, stream, 3);
    if (tail)
        cno__put_fields(&w, tail->headers, tail->headers_len);
    else
        cno__put_none(&w);
    return cno__commit(b, &w);
}

static int on_end(void *data, uint32_t stream, uint32_t code, enum CNO_PEER_KIND side) {
    struct cno_batch_t *b = data;
    if (b->socket_count)
        cno__socket_end(b, stream);
    if (!code && side == CNO_LOCAL && (b->flags & CNO_BATCH_QUIET))
        return 0;
    if (tell_start(b))
        return CNO_ERRNO_NO_MEMORY;
    struct cno__writer w = cno__event(b, CNO_EVENT_END, stream, 4);
    cno__put_int(&w, (int32_t)code);
    cno__put_int(&w, (int32_t)side);
    return cno__commit(b, &w);
}

static int on_flow(void *data, uint32_t stream) {
    return cno__simple_event(data, CNO_EVENT_FLOW, stream);
}

static int on_push(void *data, uint32_t stream, const struct cno_message_t *msg, uint32_t parent) {
    struct cno_batch_t *b = data;
    if (b->started == stream)
        b->started = 0;  // PUSH implies START
    struct cno__writer w = cno__event(b, CNO_EVENT_PUSH, stream, 6);
    cno__put_int(&w, (int32_t)parent);
    cno__put_ascii(&w, msg->method.data, msg->method.size);
    cno__put_bytes(&w, msg->path.data, msg->path.size);
    cno__put_fields(&w, msg->headers, msg->headers_len);
    return cno__commit(b, &w);
}

static int on_settings(void *data) {
    return cno__simple_event(data, CNO_EVENT_SETTINGS, 0);
}

static int on_pong(void *data, const char payload[8]) {
    struct cno__writer w = cno__event(data, CNO_EVENT_PONG, 0, 3);
    cno__put_bytes(&w, payload, 8);
    return cno__commit(data, &w);
}

static int on_priority(void *data, uint32_t stream, const struct cno_priority_t *priority) {
    struct cno__writer w = cno__event(data, CNO_EVENT_PRIORITY, stream, 4);
    cno__put_int(&w, priority->urgency);
    cno__put_int(&w, priority->incremental);
    return cno__commit(data, &w);
}

static int on_fault(void *data, uint32_t stream, const struct cno_error_t *error) {
    struct cno_batch_t *b = data;
    return put_fault(b, stream, error, cno_refused(&b->conn));
}

static int on_close(void *data) {
    return cno__simple_event(data, CNO_EVENT_CLOSE, 0);
}

static const struct cno_vtable_t CALLBACKS = {
    .on_writev = on_writev,
    .on_close = on_close,
    .on_stream_start = on_start,
    .on_stream_end = on_end,
    .on_flow_increase = on_flow,
    .on_message_head = on_head,
    .on_message_tail = on_tail,
    .on_message_data = on_data,
    .on_message_push = on_push,
    .on_settings = on_settings,
    .on_pong = on_pong,
    .on_priority = on_priority,
    .on_fault = on_fault,
};

// ---- life --------------------------------------------------------------------------------------

struct cno_batch_t *cno_batch_new(enum CNO_CONNECTION_KIND kind, uint32_t flags) {
    struct cno_batch_t *b = cno__resize(NULL, sizeof(*b));
    if (!b)
        return NULL;
    *b = (struct cno_batch_t){.flags = flags};
    cno_init(&b->conn, kind);
    b->conn.cb_code = &CALLBACKS;
    b->conn.cb_data = b;
    return b;
}

void cno_batch_free(struct cno_batch_t *b) {
    if (!b)
        return;
    cno_fini(&b->conn);
    cno__socket_free_all(b);
    cno__release(b->events);
    cno__release(b->out);
    cno__release(b->frames);
    cno__release(b);
}

int cno_batch_consume(struct cno_batch_t *b, const char *data, size_t size) {
    cno__trim(&b->events, b->events_size, &b->events_room);
    cno__trim(&b->out, b->out_size, &b->out_room);
    cno__trim(&b->frames, 0, &b->frames_room);
    b->rest_size = 0;
    size_t before = b->out_size;
    b->replies = before ? b->replies : 0;
    if (b->replies > CNO_MAX_QUEUED_REPLIES)
        return cno_error_set(CNO_ERRNO_WOULD_BLOCK, "output-full",
                             "the replies to earlier reads were not taken");
    b->input = data;
    b->input_size = size;
    b->conn.refusal_fields = cno__defaults_fields(b->defaults);
    int r = cno_consume(&b->conn, data, size);
    b->replies += b->out_size - before;
    b->input = NULL;
    b->input_size = 0;
    b->kept = cno_pending(&b->conn);
    b->version = (uint32_t)cno_version(&b->conn);
    return tell_start(b) || r || b->events_size > INT32_MAX ? CNO_ERROR : (int)b->events_size;
}

// ---- writing, which may fire events too --------------------------------------------------------

// Reads the fields of a message from a marshalled list.
static int read_fields(struct cno_message_t *msg, struct cno_header_t list[CNO_MAX_HEADERS_OUT],
                       const char *fields, size_t size) {
    long count = cno__read_fields(fields, size, list, CNO_MAX_HEADERS_OUT);
    if (count < 0)
        return CNO_ERROR;
    msg->headers = list;
    msg->headers_len = (size_t)count;
    return CNO_OK;
}

int cno_batch_head(struct cno_batch_t *b, uint32_t stream, int code, const char *method,
                   size_t method_size, const char *path, size_t path_size, const char *fields,
                   size_t fields_size, int final) {
    struct cno_header_t list[CNO_MAX_HEADERS_OUT];
    struct cno_message_t msg = {
        .code = code, .method = {method, method_size}, .path = {path, path_size}};
    int r = read_fields(&msg, list, fields, fields_size);
    if (!r)
        r = cno_write_head(&b->conn, stream, &msg, final);
    return tell_start(b) ? CNO_ERROR : r;  // of a request, START comes by itself
}

int cno_batch_message(struct cno_batch_t *b, uint32_t stream, int code, const char *method,
                      size_t method_size, const char *path, size_t path_size, const char *fields,
                      size_t fields_size, const char *body, size_t body_size, int final) {
    struct cno_header_t list[CNO_MAX_HEADERS_OUT];
    struct cno_message_t msg = {
        .code = code, .method = {method, method_size}, .path = {path, path_size}};
    int r = read_fields(&msg, list, fields, fields_size);
    if (!r)
        r = cno_write_message(&b->conn, stream, &msg, body, body_size, final);
    return tell_start(b) ? CNO_ERROR : r;
}

int cno_batch_push(struct cno_batch_t *b, uint32_t parent, const char *method, size_t method_size,
                   const char *path, size_t path_size, const char *fields, size_t fields_size) {
    struct cno_header_t list[CNO_MAX_HEADERS_OUT];
    struct cno_message_t msg = {
        .method = {method, method_size}, .path = {path, path_size}, .flags = CNO_MESSAGE_FINAL};
    int r = read_fields(&msg, list, fields, fields_size);
    return r ? r : cno_write_push(&b->conn, parent, &msg);
}

int cno_batch_lend(struct cno_batch_t *b, uint32_t stream, const char *data, size_t size, int final,
                   struct cno_view_t *views, size_t *count) {
    struct cno__loan loan = {{data, size}, views, *count, 0};
    size_t before = b->out_size;
    b->loan = &loan;
    int taken = cno_write_data(&b->conn, stream, data, size, final);
    b->loan = NULL;
    if (taken < 0) {
        // Only NO_MEMORY, which ends the connection, finds something to take back here: output whose
        // views the caller would not insert.
        b->out_size = before;
        loan.count = 0;
    }
    *count = loan.count;
    return taken;
}

int cno_batch_respond_lent(struct cno_batch_t *b, uint32_t stream, int code,
                           const struct cno_header_t *list, size_t list_size, const char *body,
                           size_t body_size, struct cno_view_t *views, size_t *count) {
    struct cno__loan loan = {{body, body_size}, views, *count, 0};
    b->loan = &loan;
    int taken =
        cno_batch_respond(b, stream, code, list, list_size, body, body_size, (long long)body_size);
    b->loan = NULL;
    *count = loan.count;
    return taken;
}
