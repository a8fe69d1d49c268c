// What the state tests share: a connection whose events are checked for being legal as they come, the calls
// by name, and cells of a table against what came of one step. wire.h builds what is fed; what is written is
// read here. Nothing of the engine decides what is right.
#pragma once

#include "stream.h"
#include "check.h"
#include "wire.h"

#define STATES_IDS 256

// ---- a connection that is watched --------------------------------------------------------------

struct watched {
    struct cno_connection_t c;
    const char *name;      // of the state and the step, for what is printed
    const char *in_start;  // a call that on_stream_start makes, on the stream or its parent
    uint32_t in_start_id;
    const char *in_head;  // a call that on_message_head makes, on its stream
    // Since cno_begin:
    uint8_t started[STATES_IDS], headed[STATES_IDS], tailed[STATES_IDS], ended[STATES_IDS];
    int closed, illegal, live;
    uint32_t goaway;                                           // the last id of our latest GOAWAY
    int64_t window_recv[STATES_IDS], window_send[STATES_IDS];  // by stream, 0: the connection's
    struct wire out;
    size_t read;  // octets of `out` that were understood
    // Since the last step():
    char events[64], frames[64];
    int reset_code, goaway_code, faulted;
    uint32_t reset_stream;
};

static inline void note(char *log, size_t room, char letter) {
    size_t size = strlen(log);
    if (size + 1 < room) {
        log[size] = letter;
        log[size + 1] = 0;
    }
}

// An event: s start, h head, d data, t tail, e end, f flow, p push, n settings, o pong, x fault, c close.
static inline int happened(struct watched *w, char letter, int legal) {
    if (!legal && !w->illegal++)
        printf("  %s: event %c is not legal behind %s\n", w->name, letter, w->events);
    note(w->events, sizeof(w->events), letter);
    return 0;
}

static inline int on_writev(void *data, const struct cno_buffer_t *pieces, size_t count) {
    for (size_t i = 0; i < count; i++)
        wire_put(&((struct watched *)data)->out, pieces[i].data, pieces[i].size);
    return 0;
}

static inline int call(struct watched *w, const char *what, uint32_t id);

static inline int on_start(void *data, uint32_t id) {
    struct watched *w = data;
    w->live++;
    int r = happened(w, 's', id < STATES_IDS && !w->started[id]++ && !w->closed);
    if (w->in_start)
        call(w, w->in_start, w->in_start_id);
    return r;
}

static inline int on_head(void *data, uint32_t id, const struct cno_message_t *msg) {
    struct watched *w = data;
    int legal = w->started[id] && !w->headed[id] && !w->ended[id];
    w->headed[id] = !msg->code || msg->code >= 200;
    int r = happened(w, 'h', legal);
    if (w->in_head)
        call(w, w->in_head, id);
    return r;
}

static inline int on_data(void *data, uint32_t id, const char *octets, size_t size) {
    struct watched *w = data;
    size_t last = strlen(w->events);
    if (last && w->events[last - 1] == 'd')
        w->events[last - 1] = 0;  // pieces that follow each other are one
    return happened(w, 'd', octets && size && w->headed[id] && !w->tailed[id] && !w->ended[id]);
}

static inline int on_tail(void *data, uint32_t id, const struct cno_tail_t *tail) {
    struct watched *w = data;
    (void)tail;
    return happened(w, 't', w->headed[id] && !w->tailed[id]++ && !w->ended[id]);
}

static inline int on_end(void *data, uint32_t id, uint32_t code, enum CNO_PEER_KIND side) {
    struct watched *w = data;
    // The answer that ends an HTTP/1 connection does not wait for the rest of the request.
    int complete = w->tailed[id] || (side == CNO_LOCAL && cno_version(&w->c) == CNO_HTTP1);
    w->live--;
    return happened(w, 'e', w->started[id] && !w->ended[id]++ && (complete || code) && !w->closed);
}

static inline int on_flow(void *data, uint32_t id) {
    struct watched *w = data;
    return happened(w, 'f', !id || (w->started[id] && !w->ended[id]));
}

static inline int on_push(void *data, uint32_t id, const struct cno_message_t *msg,
                          uint32_t parent) {
    struct watched *w = data;
    (void)msg;
    return happened(w, 'p', w->started[id] && !w->headed[id] && w->started[parent]);
}

static inline int on_settings(void *data) {
    return happened(data, 'n', 1);
}

static inline int on_pong(void *data, const char payload[8]) {
    return happened(data, 'o', payload[0] == '1');
}

static inline int on_close(void *data) {
    struct watched *w = data;
    return happened(w, 'c', !w->closed++ && !w->live);
}

static inline int on_fault(void *data, uint32_t id, const struct cno_error_t *error) {
    struct watched *w = data;
    w->faulted++;
    return happened(w, 'x', error->code == CNO_ERRNO_PROTOCOL && !w->closed && id < STATES_IDS);
}

static const struct cno_vtable_t WATCHED = {
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
    .on_fault = on_fault,
};

static inline struct watched *watch(enum CNO_CONNECTION_KIND kind, const char *name) {
    struct watched *w = calloc(1, sizeof(*w));
    if (!w)
        abort();
    w->name = name;
    w->goaway = 0x7fffffff;
    for (int i = 0; i < STATES_IDS; i++)
        w->window_recv[i] = w->window_send[i] = 65535;
    cno_init(&w->c, kind);
    w->c.cb_code = &WATCHED;
    w->c.cb_data = w;
    return w;
}

static inline void unwatch(struct watched *w) {
    cno_fini(&w->c);
    wire_free(&w->out);
    free(w);
}

// Forgets what the steps before have done.
static inline void step(struct watched *w) {
    w->events[0] = w->frames[0] = 0;
    w->reset_code = w->goaway_code = -1;
    w->reset_stream = 0;
    w->faulted = 0;
}

// ---- calls by name -----------------------------------------------------------------------------

#define FIELD(name, value) \
    { {name, sizeof(name) - 1}, {value, sizeof(value) - 1}, 0, 0 }

static inline struct cno_message_t message(const struct watched *w, int code) {
    static struct cno_header_t request[] = {FIELD(":scheme", "http"), FIELD(":authority", "h")};
    struct cno_message_t msg = {.code = code};
    if (w->c.kind == CNO_CLIENT) {
        msg.code = 0;
        msg.method = (struct cno_buffer_t){"POST", 4};
        msg.path = (struct cno_buffer_t){"/", 1};
        msg.headers = request;
        msg.headers_len = 2;
    }
    return msg;
}

// What a cell of a table calls: the head of a request on a client, of a response on a server.
static inline int call(struct watched *w, const char *what, uint32_t id) {
    static struct cno_header_t field = FIELD("a", "b");
    struct cno_tail_t tail = {&field, 1};
    struct cno_message_t msg = message(w, !strcmp(what, "interim") ? 103 : 200);
    struct cno_connection_t *c = &w->c;
    if (!strcmp(what, "interim") || !strcmp(what, "head"))
        return cno_write_head(c, id, &msg, 0);
    if (!strcmp(what, "whole"))
        return cno_write_head(c, id, &msg, 1);
    if (!strcmp(what, "message"))
        return cno_write_message(c, id, &msg, "xy", 2, 1) == 2 ? CNO_OK : CNO_ERROR;
    if (!strcmp(what, "data"))
        return cno_write_data(c, id, "x", 1, 0) == 1 ? CNO_OK : CNO_ERROR;
    if (!strcmp(what, "last"))
        return cno_write_data(c, id, "x", 1, 1) == 1 ? CNO_OK : CNO_ERROR;
    if (!strcmp(what, "tail"))
        return cno_write_tail(c, id, &tail);
    if (!strcmp(what, "reset"))
        return cno_write_reset(c, id, CNO_RST_CANCEL);
    if (!strcmp(what, "open"))
        return cno_open_flow(c, id, 5);
    if (!strcmp(what, "announce"))
        return cno_shutdown(c, 0);
    if (!strcmp(what, "shutdown"))
        return cno_shutdown(c, 1);
    if (!strcmp(what, "ping"))
        return cno_write_ping(c, "12345678");
    if (!strcmp(what, "eof"))
        return cno_eof(c);
    struct cno_header_t fields[] = {FIELD(":scheme", "http"), FIELD(":authority", "h")};
    struct cno_message_t get = {
        .method = {"GET", 3}, .path = {"/p", 2}, .headers = fields, .headers_len = 2};
    if (!strcmp(what, "get"))
        return cno_write_head(c, id, &get, 1);
    if (!strcmp(what, "push"))
        return cno_write_push(c, id, &get);
    printf("no such call: %s\n", what);
    exit(2);
}

// The letter of an error in a cell.
static inline char errno_letter(int code) {
    return code == CNO_ERRNO_ASSERTION        ? 'A'
           : code == CNO_ERRNO_INVALID_STREAM ? 'G'
           : code == CNO_ERRNO_WOULD_BLOCK    ? 'W'
           : code == CNO_ERRNO_DISCONNECT     ? 'D'
           : code == CNO_ERRNO_PROTOCOL       ? 'P'
                                              : '?';
}

// ---- cells -------------------------------------------------------------------------------------

// The cell in a column of a row: words between spaces. Its size goes to *size.
static inline const char *cell(const char *row, int column, size_t *size) {
    const char *word = wire_word(&row, size);
    while (column-- && word)
        word = wire_word(&row, size);
    return word;
}

// Cuts the next of the alternatives, which `|` joins, out of a cell. False at its end.
static inline int alternative(const char **cell, size_t *size, char *word, size_t room) {
    if (!*size)
        return 0;
    size_t part = 0;
    while (part < *size && (*cell)[part] != '|')
        part++;
    snprintf(word, room, "%.*s", (int)part, *cell);
    part += part < *size;
    *cell += part;
    *size -= part;
    return 1;
}
