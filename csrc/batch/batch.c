// A ready-made client of the public callbacks: events into one arena, output into another.
// Knows core.h and nothing behind it; what an application server makes of a request is decided here
// once, in C, for every request.
#include "batch.h"

#include <string.h>

#include "batch/answer.h"
#include "message/chars.h"
#include "config.h"
#include "batch/marshal.h"

// Octets of arena that an idle connection may keep.
#define ARENA_KEEP 4096

// ---- arenas ------------------------------------------------------------------------------------

static struct cno__writer events_of(struct cno_batch_t *b) {
    return (struct cno__writer){b->events, b->events_size, b->events_room, 0};
}

// Takes what was written for one event; the caller of the engine is told when there is no memory.
static int commit(struct cno_batch_t *b, const struct cno__writer *w) {
    b->events = w->data;
    b->events_room = w->room;
    if (w->failed)
        return CNO_ERRNO_NO_MEMORY;
    b->events_size = w->size;
    b->count++;
    for (int i = 0; i < 4; i++)
        b->events[1 + i] = (char)(b->count >> 8 * i);
    return 0;
}

// The beginning of an event with `count` items, the first two of which are its kind and stream.
static struct cno__writer event(struct cno_batch_t *b, enum CNO_EVENT kind, uint32_t stream,
                                unsigned char count) {
    struct cno__writer w = events_of(b);
    if (!w.size) {
        b->count = 0;
        cno__put_list(&w);
    }
    cno__put_tuple(&w, count);
    cno__put_int(&w, (int32_t)kind);
    cno__put_int(&w, (int32_t)stream);
    return w;
}

static int simple_event(struct cno_batch_t *b, enum CNO_EVENT kind, uint32_t stream) {
    struct cno__writer w = event(b, kind, stream, 2);
    return commit(b, &w);
}

// Tells of a stream whose head did not come with its beginning.
static int tell_start(struct cno_batch_t *b) {
    uint32_t stream = b->started;
    b->started = 0;
    return stream && !(b->flags & CNO_BATCH_GATEWAY) ? simple_event(b, CNO_EVENT_START, stream) : 0;
}

static void put_fields(struct cno__writer *w, const struct cno_header_t *list, size_t count) {
    size_t at = cno__put_list(w);
    for (size_t i = 0; i < count; i++)
        cno__put_pair(w, list[i].name, list[i].value);
    cno__put_count(w, at, (uint32_t)count);
}

// ---- what a gateway wants of a request ---------------------------------------------------------

// One cookie field with all crumbs (RFC 9113 section 8.2.3), in place of the first.
static void put_cookies(struct cno__writer *w, const struct cno_header_t *list, size_t first,
                        size_t count) {
    size_t size = 0, after = 0;
    for (size_t i = first; i < count; i++)
        if (list[i].id == CNO_NAME_COOKIE)
            size += list[i].value.size + (i == first ? 0 : 2);
    cno__put_tuple(w, 2);
    cno__put_bytes(w, "cookie", 6);
    after = w->size;
    cno__put_raw(w, "s\0\0\0\0", 5);
    cno__put_count(w, after + 1, (uint32_t)size);
    for (size_t i = first; i < count; i++) {
        if (list[i].id != CNO_NAME_COOKIE)
            continue;
        if (i != first)
            cno__put_raw(w, "; ", 2);
        cno__put_raw(w, list[i].value.data, list[i].value.size);
    }
}

static void put_gateway_fields(struct cno__writer *w, const struct cno_header_t *list, size_t count,
                               int h2) {
    size_t at = cno__put_list(w);
    uint32_t kept = 0;
    int has_authority = 0, has_cookie = 0;
    for (size_t i = 0; i < count; i++) {
        switch (list[i].id) {
            case CNO_NAME_P_AUTHORITY:
                if (list[i].flags & CNO_HEADER_IMPLIED)
                    continue;
                has_authority = 1;
                cno__put_pair(w, (struct cno_buffer_t){"host", 4}, list[i].value);
                break;
            case CNO_NAME_P_SCHEME:
            case CNO_NAME_P_PROTOCOL:
                continue;
            case CNO_NAME_HOST:
                if (has_authority)
                    continue;
                cno__put_pair(w, list[i].name, list[i].value);
                break;
            case CNO_NAME_COOKIE:
                if (h2 && has_cookie++)
                    continue;
                if (h2)
                    put_cookies(w, list, i, count);
                else
                    cno__put_pair(w, list[i].name, list[i].value);
                break;
            default:
                cno__put_pair(w, list[i].name, list[i].value);
        }
        kept++;
    }
    cno__put_count(w, at, kept);
}

static int hex(char c) {
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

// Decodes %XX once; what is not an escape stays as it is (RFC 3986 section 2.4).
static void put_decoded(struct cno__writer *w, struct cno_buffer_t path) {
    char text[CNO_MAX_H1_LINE], *decoded = text, *heap = NULL;
    if (!memchr(path.data, '%', path.size)) {
        cno__put_text(w, path.data, path.size);
        return;
    }
    if (path.size > sizeof(text) && !(decoded = heap = cno__resize(NULL, path.size))) {
        w->failed = 1;
        return;
    }
    size_t size = 0;
    for (size_t i = 0; i < path.size; i++) {
        int high = path.data[i] == '%' && i + 2 < path.size ? hex(path.data[i + 1]) : -1;
        int low = high >= 0 ? hex(path.data[i + 2]) : -1;
        decoded[size++] = low >= 0 ? (char)(high << 4 | low) : path.data[i];
        i += low >= 0 ? 2 : 0;
    }
    cno__put_text(w, decoded, size);
    cno__release(heap);
}

// The target without scheme and authority (absolute-form, RFC 9112 section 3.2.2).
static struct cno_buffer_t origin_form(struct cno_buffer_t target) {
    const char *colon =
        target.size && target.data[0] != '/' ? memchr(target.data, ':', target.size) : NULL;
    size_t start = colon ? (size_t)(colon - target.data) : target.size;
    if (target.size < start + 3 || memcmp(colon, "://", 3))
        return target;
    for (start += 3; start < target.size && target.data[start] != '/' && target.data[start] != '?';)
        start++;
    return (struct cno_buffer_t){target.data + start, target.size - start};
}

static void put_target(struct cno__writer *w, struct cno_buffer_t target) {
    target = origin_form(target);
    const char *mark = target.size ? memchr(target.data, '?', target.size) : NULL;
    struct cno_buffer_t path = {target.data, mark ? (size_t)(mark - target.data) : target.size};
    struct cno_buffer_t query = {mark ? mark + 1 : "", mark ? target.size - path.size - 1 : 0};
    if (!path.size)
        path = (struct cno_buffer_t){"/", 1};
    cno__put_bytes(w, path.data, path.size);
    put_decoded(w, path);
    cno__put_bytes(w, query.data, query.size);
}

// ---- callbacks ---------------------------------------------------------------------------------

static int on_writev(void *data, const struct cno_buffer_t *pieces, size_t count) {
    struct cno_batch_t *b = data;
    struct cno__writer w = {b->out, b->out_size, b->out_room, 0};
    for (size_t i = 0; i < count; i++)
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

static int is_connect(const struct cno_message_t *msg) {
    return msg->method.size == 7 && !memcmp(msg->method.data, "CONNECT", 7);
}

static int asks_websocket(const struct cno_message_t *msg) {
    int connect = is_connect(msg),
        get = msg->method.size == 3 && !memcmp(msg->method.data, "GET", 3);
    for (size_t i = 0; i < msg->headers_len; i++) {
        struct cno_buffer_t value = msg->headers[i].value;
        if (connect && msg->headers[i].id == CNO_NAME_P_PROTOCOL)
            return cno__equals_icase(value.data, value.size, "websocket");
        if (get && msg->headers[i].id == CNO_NAME_UPGRADE &&
            cno__list_has(value.data, value.size, "websocket"))
            return 1;
    }
    return 0;
}

// A gateway is no tunnel: CONNECT is answered here (RFC 9110 section 9.3.6).
static int refuse_connect(struct cno_batch_t *b, uint32_t stream) {
    struct cno_header_t close = {{"connection", 10}, {"close", 5}, 0, 0};
    b->started = 0;
    b->headed = stream;
    return cno_batch_respond(b, stream, 501, &close, 1, "", 0, 0);
}

// ASGI and WSGI know methods in upper case only.
static void upper(struct cno__writer *w, size_t size) {
    if (w->failed)
        return;
    for (char *at = w->data + w->size - size; at < w->data + w->size; at++)
        if (*at >= 'a' && *at <= 'z')
            *at = (char)(*at & ~0x20);
}

static int on_head(void *data, uint32_t stream, const struct cno_message_t *msg) {
    struct cno_batch_t *b = data;
    uint32_t flags = msg->flags | (b->started == stream ? CNO_BATCH_START : 0);
    int gateway = (b->flags & CNO_BATCH_GATEWAY) && !msg->code;
    if (gateway && (flags & CNO_MESSAGE_UPGRADE)) {
        if (asks_websocket(msg))
            flags |= CNO_BATCH_WEBSOCKET;
        else if (is_connect(msg))
            return refuse_connect(b, stream);
        else
            flags = (flags & ~(uint32_t)CNO_MESSAGE_UPGRADE) | CNO_MESSAGE_FINAL;
    }
    if (b->started == stream)
        b->started = 0;
    struct cno__writer w = event(b, CNO_EVENT_HEAD, stream, 9);
    cno__put_int(&w, (int32_t)flags);
    cno__put_int(&w, msg->code);
    if (msg->code)
        cno__put_bytes(&w, msg->method.data, msg->method.size);
    else
        cno__put_ascii(&w, msg->method.data, msg->method.size);
    if (gateway) {
        upper(&w, msg->method.size);
        put_target(&w, msg->path);
        put_gateway_fields(&w, msg->headers, msg->headers_len, cno_version(&b->conn) == CNO_HTTP2);
    } else {
        cno__put_bytes(&w, msg->path.data, msg->path.size);
        cno__put_none(&w);
        cno__put_none(&w);
        put_fields(&w, msg->headers, msg->headers_len);
    }
    b->headed = flags & CNO_MESSAGE_FINAL ? stream : 0;
    return commit(b, &w);
}

static int on_data(void *data, uint32_t stream, const char *body, size_t size) {
    struct cno_batch_t *b = data;
    uintptr_t start = (uintptr_t)body - (uintptr_t)b->input;
    struct cno__writer w = event(b, CNO_EVENT_DATA, stream, 4);
    if (b->input && start < b->input_size && start <= INT32_MAX - size) {
        cno__put_int(&w, (int32_t)start);
        cno__put_int(&w, (int32_t)(start + size));
    } else {
        cno__put_int(&w, -1);
        cno__put_bytes(&w, body, size);
    }
    return commit(b, &w);
}

static int on_tail(void *data, uint32_t stream, const struct cno_tail_t *tail) {
    struct cno_batch_t *b = data;
    if (!tail && b->headed == stream)
        return 0;
    struct cno__writer w = event(b, CNO_EVENT_TAIL, stream, 3);
    if (tail)
        put_fields(&w, tail->headers, tail->headers_len);
    else
        cno__put_none(&w);
    return commit(b, &w);
}

static int on_end(void *data, uint32_t stream, uint32_t code, enum CNO_PEER_KIND side) {
    struct cno_batch_t *b = data;
    if (!code && side == CNO_LOCAL && (b->flags & CNO_BATCH_QUIET))
        return 0;
    if (tell_start(b))
        return CNO_ERRNO_NO_MEMORY;
    struct cno__writer w = event(b, CNO_EVENT_END, stream, 4);
    cno__put_int(&w, (int32_t)code);
    cno__put_int(&w, (int32_t)side);
    return commit(b, &w);
}

static int on_flow(void *data, uint32_t stream) {
    return simple_event(data, CNO_EVENT_FLOW, stream);
}

static int on_push(void *data, uint32_t stream, const struct cno_message_t *msg, uint32_t parent) {
    struct cno_batch_t *b = data;
    if (b->started == stream)
        b->started = 0;  // PUSH says so
    struct cno__writer w = event(b, CNO_EVENT_PUSH, stream, 6);
    cno__put_int(&w, (int32_t)parent);
    cno__put_ascii(&w, msg->method.data, msg->method.size);
    cno__put_bytes(&w, msg->path.data, msg->path.size);
    put_fields(&w, msg->headers, msg->headers_len);
    return commit(b, &w);
}

static int on_settings(void *data) {
    return simple_event(data, CNO_EVENT_SETTINGS, 0);
}

static int on_pong(void *data, const char payload[8]) {
    struct cno__writer w = event(data, CNO_EVENT_PONG, 0, 3);
    cno__put_bytes(&w, payload, 8);
    return commit(data, &w);
}

static int on_priority(void *data, uint32_t stream, const struct cno_priority_t *priority) {
    struct cno__writer w = event(data, CNO_EVENT_PRIORITY, stream, 4);
    cno__put_int(&w, priority->urgency);
    cno__put_int(&w, priority->incremental);
    return commit(data, &w);
}

static int on_fault(void *data, uint32_t stream, const struct cno_error_t *error) {
    struct cno_batch_t *b = data;
    const struct cno_message_t *refused = cno_refused(&b->conn);
    struct cno__writer w = event(data, CNO_EVENT_FAULT, stream, 8);
    cno__put_ascii(&w, error->reason, strlen(error->reason));
    cno__put_int(&w, (int32_t)error->wire);
    cno__put_float(&w, (double)error->offset);
    cno__put_text(&w, error->text, strlen(error->text));
    if (refused) {
        cno__put_ascii(&w, refused->method.data, refused->method.size);
        cno__put_bytes(&w, refused->path.data, refused->path.size);
    } else {
        cno__put_none(&w);
        cno__put_none(&w);
    }
    return commit(data, &w);
}

static int on_close(void *data) {
    return simple_event(data, CNO_EVENT_CLOSE, 0);
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
    cno__release(b->events);
    cno__release(b->out);
    cno__release(b);
}

// Gives back an arena that one large read or answer has made large.
static void trim(char **data, size_t size, size_t *capacity) {
    if (size || *capacity <= ARENA_KEEP)
        return;
    cno__release(*data);
    *data = NULL;
    *capacity = 0;
}

int cno_batch_consume(struct cno_batch_t *b, const char *data, size_t size) {
    trim(&b->events, b->events_size, &b->events_room);
    trim(&b->out, b->out_size, &b->out_room);
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

// ---- writing, which has events of its own ------------------------------------------------------

// The fields of a message, from the marshalled list.
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
    return tell_start(b) ? CNO_ERROR : r;  // a request of ours has no head to be told with
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
