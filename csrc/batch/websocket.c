// WebSockets of a batch: streams whose DATA is told as messages, as far as the caller has room for
// them. Owns an endpoint of ws.h for each stream, and the bytes that are kept while there is no room.
#include "batch/websocket.h"

#include <string.h>

#include "batch/arena.h"
#include "config.h"

struct cno__socket {
    struct cno__socket *next;  // in its chain
    uint32_t stream;
    uint8_t begun;      // cno_batch_websocket was called
    uint8_t told_left;  // `left` of the last event was not 0
    struct cno_ws_t ws;
    struct cno_ws_room_t room;
    struct cno__bytes kept;  // bytes that were not given to `ws`
};

// ---- the table ---------------------------------------------------------------------------------

// The ids of one side differ by 2, so that a table as large as their number has short chains.
static struct cno__socket **chain(const struct cno_batch_t *b, uint32_t stream) {
    return &b->sockets[(stream >> 1) & (b->socket_room - 1)];
}

struct cno__socket *cno__socket_find(const struct cno_batch_t *b, uint32_t stream) {
    struct cno__socket *s = b->socket_count ? *chain(b, stream) : NULL;
    while (s && s->stream != stream)
        s = s->next;
    return s;
}

// Doubles the table.
static int grow(struct cno_batch_t *b) {
    uint32_t before = b->socket_room, now = before ? before * 2 : 2;
    struct cno__socket **old = b->sockets, **sockets = cno__resize(NULL, now * sizeof(*sockets));
    if (!sockets)
        return CNO_ERROR;
    memset(sockets, 0, now * sizeof(*sockets));
    b->sockets = sockets;
    b->socket_room = now;
    for (uint32_t i = 0; i < before; i++) {
        for (struct cno__socket *s = old[i], *next; s; s = next) {
            struct cno__socket **at = chain(b, s->stream);
            next = s->next;
            s->next = *at;
            *at = s;
        }
    }
    cno__release(old);
    return CNO_OK;
}

static struct cno__socket *add(struct cno_batch_t *b, uint32_t stream) {
    if (b->socket_count == b->socket_room && grow(b))
        return NULL;
    struct cno__socket *s = cno__resize(NULL, sizeof(*s)), **at = chain(b, stream);
    if (!s)
        return NULL;
    *s = (struct cno__socket){.next = *at, .stream = stream};
    *at = s;
    b->socket_count++;
    return s;
}

static void release(struct cno__socket *s) {
    cno_ws_fini(&s->ws);
    cno__bytes_free(&s->kept);
    cno__release(s);
}

void cno__socket_end(struct cno_batch_t *b, uint32_t stream) {
    struct cno__socket **at = chain(b, stream), *s;
    while ((s = *at) && s->stream != stream)
        at = &s->next;
    if (!s)
        return;
    *at = s->next;
    release(s);
    if (--b->socket_count)
        return;
    cno__release(b->sockets);
    b->sockets = NULL;
    b->socket_room = 0;
}

void cno__socket_free_all(struct cno_batch_t *b) {
    for (uint32_t i = 0; i < b->socket_room; i++) {
        for (struct cno__socket *s = b->sockets[i], *next; s; s = next) {
            next = s->next;
            release(s);
        }
    }
    cno__release(b->sockets);
    b->sockets = NULL;
    b->socket_room = b->socket_count = 0;
}

// ---- events ------------------------------------------------------------------------------------

// What one call of cno_ws_consume tells.
struct telling {
    struct cno_batch_t *b;
    uint32_t stream, items;
    size_t at;      // where `left` is in the event; 0 while there is no event
    int continues;  // an event of the list
    struct cno__writer w;
};

// Begins an event, or continues the last one of the list if that is of the same kind and stream.
static void begin(struct telling *t) {
    struct cno_batch_t *b = t->b;
    if (t->at)
        return;
    t->continues = b->open_stream == t->stream && b->events_size && b->open_end == b->events_size;
    if (t->continues) {
        t->w = cno__continue(b);
        t->at = b->open_at;
        t->items = b->open_items;
        return;
    }
    t->w = cno__event(b, CNO_EVENT_MESSAGES, t->stream, 4);
    t->at = t->w.size + 1;
    cno__put_int(&t->w, 0);
    cno__put_list(&t->w);
}

// Ends the event, if there is one. Returns 0 or CNO_ERROR.
static int end(struct telling *t, size_t left) {
    struct cno_batch_t *b = t->b;
    if (!t->at)
        return CNO_OK;
    cno__put_count(&t->w, t->at, left < INT32_MAX ? (uint32_t)left : INT32_MAX);
    cno__put_count(&t->w, t->at + 5, t->items);
    if (t->continues ? cno__store(b, &t->w) : cno__commit(b, &t->w))
        return CNO_ERROR;
    b->open_stream = t->stream;
    b->open_items = t->items;
    b->open_at = t->at;
    b->open_end = b->events_size;
    return CNO_OK;
}

// The bytes in front of the payload of a message: a string alone, or in a tuple behind two numbers.
static size_t head_size(const struct cno_ws_message_t *m) {
    return CNO__STRING_HEAD + (m->deflated ? 2 + 5 + 5 : 0);
}

static char *on_room(void *data, const struct cno_ws_message_t *m) {
    struct telling *t = data;
    begin(t);
    char *at = cno__put_room(&t->w, head_size(m) + m->size);
    return at ? at + head_size(m) : NULL;
}

static int on_message(void *data, const struct cno_ws_message_t *m) {
    struct telling *t = data;
    char *at = on_room(data, m);
    if (!at)
        return CNO_ERROR;
    if (at != m->data && m->size)
        memcpy(at, m->data, m->size);
    if (m->deflated) {
        cno__put_tuple(&t->w, 3);
        cno__put_int(&t->w, CNO_WS_DEFLATED);
        cno__put_int(&t->w, m->opcode);
    }
    int is_text = m->opcode == CNO_WS_TEXT && !m->deflated;
    cno__put_written(&t->w, !is_text ? 's' : m->ascii ? 'a' : 'u', m->size);
    t->items++;
    return 0;
}

// Begins an item that is a tuple, of which more follows.
static struct cno__writer *put_item(struct telling *t, unsigned char count, int kind) {
    begin(t);
    cno__put_tuple(&t->w, count);
    cno__put_int(&t->w, kind);
    t->items++;
    return &t->w;
}

static int on_ping(void *data, const char *payload, size_t size) {
    cno__put_bytes(put_item(data, 2, CNO_WS_PING), payload, size);
    return ((struct telling *)data)->w.failed ? CNO_ERROR : 0;
}

static int on_pong(void *data, const char *payload, size_t size) {
    cno__put_bytes(put_item(data, 2, CNO_WS_PONG), payload, size);
    return ((struct telling *)data)->w.failed ? CNO_ERROR : 0;
}

static void put_end(struct telling *t, int kind, uint32_t code, const char *text, size_t size) {
    struct cno__writer *w = put_item(t, 3, kind);
    cno__put_int(w, (int32_t)code);
    cno__put_text(w, text, size);
}

static int on_close(void *data, uint32_t code, const char *reason, size_t size) {
    put_end(data, CNO_WS_CLOSE, code, reason, size);
    return ((struct telling *)data)->w.failed ? CNO_ERROR : 0;
}

static const struct cno_ws_vtable_t CALLBACKS = {
    .on_room = on_room,
    .on_message = on_message,
    .on_ping = on_ping,
    .on_pong = on_pong,
    .on_close = on_close,
};

// ---- receiving ---------------------------------------------------------------------------------

// Tells what is in these bytes, as far as there is room. Returns how many were taken, or CNO_ERROR.
static int parse(struct cno_batch_t *b, struct cno__socket *s, const char *data, size_t size) {
    struct telling t = {.b = b, .stream = s->stream};
    s->ws.cb_code = &CALLBACKS;
    s->ws.cb_data = &t;
    int taken = cno_ws_consume(&s->ws, data, size, &s->room);
    if (taken < 0 && cno_error()->code == CNO_ERRNO_PROTOCOL) {
        const struct cno_error_t *error = cno_error();
        put_end(&t, CNO_WS_FAULT, error->wire, error->text, strlen(error->text));
        taken = (int)size;
    }
    size_t left = taken < 0 ? 0 : size - (size_t)taken;
    if (left || s->told_left)
        begin(&t);
    s->told_left = left != 0;
    return end(&t, left) ? CNO_ERROR : taken;
}

// Tells what is in the kept bytes. Returns how many were taken, or CNO_ERROR.
static int parse_kept(struct cno_batch_t *b, struct cno__socket *s) {
    int taken = parse(b, s, s->kept.data, s->kept.size);
    if (taken < 0)
        return CNO_ERROR;
    cno__bytes_consume(&s->kept, (size_t)taken);
    if (!s->kept.size)
        cno__bytes_clear(&s->kept);
    return taken;
}

// Reopens the window of a stream by the bytes that were read.
static int reopen(struct cno_batch_t *b, uint32_t stream, int taken) {
    return taken ? cno_open_flow(&b->conn, stream, (uint32_t)taken) : CNO_OK;
}

int cno__socket_data(struct cno_batch_t *b, struct cno__socket *s, const char *data, size_t size) {
    if (!s->begun)
        return cno__bytes_append(&s->kept, data, size);
    int taken;
    if (s->kept.size) {
        if (cno__bytes_append(&s->kept, data, size))
            return CNO_ERROR;
        taken = parse_kept(b, s);
    } else {
        taken = parse(b, s, data, size);
        if (taken >= 0 && cno__bytes_append(&s->kept, data + taken, size - (size_t)taken))
            return CNO_ERROR;
    }
    return taken < 0 ? CNO_ERROR : reopen(b, s->stream, taken);
}

int cno__socket_expect(struct cno_batch_t *b, uint32_t stream) {
    int needed = cno_version(&b->conn) == CNO_HTTP2 && (b->conn.options & CNO_MANUAL_FLOW);
    return needed && !add(b, stream) ? CNO_ERROR : CNO_OK;
}

static int bad_websocket(const char *what) {
    return cno_error_set(CNO_ERRNO_ASSERTION, "bad-websocket", "%s", what);
}

int cno_batch_websocket(struct cno_batch_t *b, uint32_t stream, size_t max_size, uint32_t options) {
    if (max_size > CNO_WS_MAX_SIZE)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-limit", "messages of %zu bytes, at most %d",
                             max_size, CNO_WS_MAX_SIZE);
    if (b->conn.kind != CNO_SERVER)
        return bad_websocket("the WebSockets of a batch are those of a server");
    if (cno_version(&b->conn) == CNO_HTTP2 && !(b->conn.options & CNO_MANUAL_FLOW))
        return bad_websocket("WebSockets on HTTP/2 need CNO_MANUAL_FLOW");
    // A body that is empty writes nothing, and has the errors of a stream that is not ready for one.
    if (cno_write_data(&b->conn, stream, NULL, 0, 0))
        return CNO_ERROR;
    struct cno__socket *s = cno__socket_find(b, stream);
    if (s && s->begun)
        return bad_websocket("the stream is a WebSocket already");
    if (!s && !(s = add(b, stream)))
        return CNO_ERROR;
    cno_ws_init(&s->ws, CNO_WS_SERVER, max_size, options);
    s->begun = 1;
    return CNO_OK;
}

int cno_batch_room(struct cno_batch_t *b, uint32_t stream, size_t messages, size_t bytes) {
    struct cno__socket *s = cno__socket_find(b, stream);
    if (!s || !s->begun)
        return cno_error_set(CNO_ERRNO_INVALID_STREAM, "no-stream", "stream %u is no WebSocket",
                             (unsigned)stream);
    s->room = (struct cno_ws_room_t){messages, bytes};
    int taken = parse_kept(b, s);
    return taken < 0 ? CNO_ERROR : reopen(b, stream, taken);
}

// ---- sending -----------------------------------------------------------------------------------

// Writes the frames of the items.
static void put_frames(struct cno__writer *w, const char *items, size_t size) {
    struct cno__reader r;
    long count = cno__read_list(&r, items, size);
    w->failed = count < 0;
    for (long i = 0; i < count && !w->failed; i++) {
        struct cno_buffer_t payload;
        uint32_t first;
        char head[14];
        w->failed = cno__read_payload(&r, i, &first, &payload) != CNO_OK;
        int head_bytes =
            w->failed ? CNO_ERROR : cno_ws_head(head, first | CNO_WS_FIN, payload.size, NULL);
        char *at = head_bytes < 0 ? NULL : cno__put_room(w, (size_t)head_bytes + payload.size);
        w->failed |= !at;
        if (!at)
            return;
        memcpy(at, head, (size_t)head_bytes);
        if (payload.size)
            memcpy(at + head_bytes, payload.data, payload.size);
        w->size += (size_t)head_bytes + payload.size;
    }
}

int cno_batch_send(struct cno_batch_t *b, uint32_t stream, const char *items, size_t size) {
    struct cno__writer w = {b->frames, 0, b->frames_room, 0};
    put_frames(&w, items, size);
    b->frames = w.data;
    b->frames_room = w.room;
    b->rest_size = 0;
    int taken = w.failed ? CNO_ERROR : cno_write_data(&b->conn, stream, w.data, w.size, 0);
    if (taken < 0 || (size_t)taken == w.size) {
        cno__trim(&b->frames, 0, &b->frames_room);
        return taken;
    }
    b->rest = w.data + taken;
    b->rest_size = w.size - (size_t)taken;
    return taken;
}
