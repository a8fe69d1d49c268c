// A `side`: a connection whose events are checked for their order, whose output is kept or handed to a peer,
// and on which an application chosen by fuzz octets makes calls (calls.h). What a side requires holds for
// every input; a target adds what holds for its own.
#pragma once

#include "harness.h"

// A call of the application; what its octets mean is in calls.h.
struct call {
    uint8_t kind, stream, a, b, c;
};

// What has been seen of a stream.
struct seen {
    uint32_t id;
    uint8_t head, final, tail, ended, reset_out, end_out;
    int code;           // of the last head
    uint32_t end_code;  // once ended
    uint64_t in, out;   // octets of body
};

#define SEEN_MAX 512
#define ARMED_MAX 8
#define EVENT_FAILURE 77

struct side {
    union {
        struct cno_connection_t c;
        struct cno_batch_t
            batch;  // whose output is used while a body is lent (lend_body of calls.h)
    };
    struct seen seen[SEEN_MAX];
    size_t count;       // of those
    struct octets out;  // not taken yet
    struct octets log;  // what happened, when `logging`
    uint64_t written;   // octets of output so far
    uint64_t events;
    uint32_t log_data;  // the stream whose data ends the log, or 0
    int logging, closed, fatal;
    int to_fail;                   // 1 + the event whose callback will fail once
    int failed_event;              // it has
    int trusting;                  // its bodies are made by the other side's application
    struct call armed[ARMED_MAX];  // to be made in events to come
    uint8_t armed_in[ARMED_MAX];
    size_t armed_count;
    int (*batch_writev)(void *, const struct cno_buffer_t *, size_t);  // that of batch.c
    struct side *peer;                                                 // takes the output at once
    uint32_t asked;  // the stream whose request the peer made
    void (*on_output)(struct side *, const char *, size_t);
    void (*on_head)(struct side *, uint32_t stream, const struct cno_message_t *);
    void (*on_fault)(struct side *, uint32_t stream, const struct cno_error_t *);
};

// Where calls are made and failures happen. on_writev may fail, but not call (core.h).
enum {
    IN_START,
    IN_HEAD,
    IN_DATA,
    IN_TAIL,
    IN_END,
    IN_FLOW,
    IN_CLOSE,
    IN_FAULT,
    IN_COUNT,
    IN_OUTPUT = IN_COUNT
};

static void run_armed(struct side *s, int event, uint32_t stream);

// Whether some event or allocation failed, so that not all that began is seen to end.
static inline int excused(const struct side *s) {
    return s->failed_event || starved;
}

static inline struct seen *seen_find(struct side *s, uint32_t id) {
    for (size_t i = s->count; i--;)
        if (s->seen[i].id == id)
            return &s->seen[i];
    return NULL;
}

static inline struct seen *seen_live(struct side *s, uint32_t id) {
    struct seen *seen = seen_find(s, id);
    REQUIRE(seen && !seen->ended);
    return seen;
}

static inline void log_line(struct side *s, const char *what, uint64_t a, uint64_t b) {
    char line[80];
    s->log_data = 0;
    if (s->logging)
        put(&s->log, line,
            (size_t)snprintf(line, sizeof(line), "\n%s %llu %llu ", what, (unsigned long long)a,
                             (unsigned long long)b));
}

static inline void log_fields(struct side *s, const struct cno_header_t *list, size_t count) {
    for (size_t i = 0; s->logging && i < count; i++) {
        put_number(&s->log, list[i].name.size, 4);
        put(&s->log, list[i].name.data, list[i].name.size);
        put_number(&s->log, list[i].value.size, 4);
        put(&s->log, list[i].value.data, list[i].value.size);
        put_number(&s->log, list[i].flags, 1);
    }
}

static inline void touch_fields(const struct cno_header_t *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        touch(list[i].name.data, list[i].name.size);
        touch(list[i].value.data, list[i].value.size);
        REQUIRE(list[i].name.size > 0);
        for (size_t k = 0; k < list[i].value.size; k++)
            REQUIRE(list[i].value.data[k] != 0 && list[i].value.data[k] != '\r' &&
                    list[i].value.data[k] != '\n');
    }
}

// At the end of each event: what is armed for it, and whether it is to fail.
static inline int event_done(struct side *s, int event, uint32_t stream) {
    s->events++;
    run_armed(s, event, stream);
    if (s->to_fail != event + 1)
        return 0;
    s->to_fail = 0;
    s->failed_event = 1;
    return EVENT_FAILURE;
}

static inline void side_output(struct side *s, const char *data, size_t size) {
    put(&s->out, data, size);
    if (s->on_output)
        s->on_output(s, data, size);
}

static int side_writev(void *data, const struct cno_buffer_t *pieces, size_t count) {
    struct side *s = data;
    REQUIRE(!s->closed);
    if (s->batch.loan) {
        s->written++;
        return s->batch_writev(s, pieces, count);
    }
    for (size_t i = 0; i < count; i++) {
        s->written += pieces[i].size;
        side_output(s, pieces[i].data, pieces[i].size);
    }
    return event_done(s, IN_OUTPUT, 0);
}

static int side_close(void *data) {
    struct side *s = data;
    REQUIRE(!s->closed);
    s->closed = 1;
    log_line(s, "close", 0, 0);
    for (size_t i = 0; i < s->count; i++)
        REQUIRE(s->seen[i].ended || excused(s));
    return event_done(s, IN_CLOSE, 0);
}

static int side_start(void *data, uint32_t id) {
    struct side *s = data;
    REQUIRE(!s->closed && id && id <= 0x7fffffff);
    for (size_t i = 0; i < s->count; i++)
        REQUIRE((s->seen[i].id ^ id) & 1 || s->seen[i].id < id);
    if (s->count == SEEN_MAX) {  // only the ended ones may go
        size_t kept = 0;
        for (size_t i = 0; i < s->count; i++)
            if (!s->seen[i].ended)
                s->seen[kept++] = s->seen[i];
        REQUIRE((s->count = kept) < SEEN_MAX);
    }
    s->seen[s->count++] = (struct seen){.id = id};
    log_line(s, "start", id, 0);
    int r = event_done(s, IN_START, id);
    if (r)
        seen_find(s, id)->ended = 1;  // it was never begun
    return r;
}

static int side_end(void *data, uint32_t id, uint32_t code, enum CNO_PEER_KIND by) {
    struct side *s = data;
    struct seen *seen = seen_live(s, id);
    REQUIRE(!s->closed);
    seen->ended = 1;
    seen->end_code = code;
    log_line(s, "end", id, code);
    put_number(&s->log, by, s->logging ? 1 : 0);
    return event_done(s, IN_END, id);
}

static int side_flow(void *data, uint32_t id) {
    struct side *s = data;
    REQUIRE(!s->closed);
    if (id)
        seen_live(s, id);
    log_line(s, "flow", id, 0);
    return event_done(s, IN_FLOW, id);
}

static int side_head(void *data, uint32_t id, const struct cno_message_t *msg) {
    struct side *s = data;
    struct seen *seen = seen_live(s, id);
    REQUIRE(!s->closed && !seen->final && !seen->tail);
    int informational = msg->code >= 100 && msg->code < 200;
    REQUIRE(s->c.kind == CNO_SERVER ? msg->code == 0 : msg->code >= 100 && msg->code <= 999);
    REQUIRE(msg->code || (msg->method.size && msg->path.size) || seen->head == 0);
    touch(msg->method.data, msg->method.size);
    touch(msg->path.data, msg->path.size);
    touch_fields(msg->headers, msg->headers_len);
    REQUIRE(msg->headers_len <= CNO_MAX_HEADERS_OUT);
    seen->head++;
    seen->final = !informational;
    seen->code = msg->code;
    log_line(s, "head", id, (uint64_t)msg->code << 8 | msg->flags);
    put(&s->log, msg->method.data, s->logging ? msg->method.size : 0);
    put(&s->log, msg->path.data, s->logging ? msg->path.size : 0);
    log_fields(s, msg->headers, msg->headers_len);
    if (s->on_head)
        s->on_head(s, id, msg);
    return event_done(s, IN_HEAD, id);
}

static int side_data(void *data, uint32_t id, const char *body, size_t size) {
    struct side *s = data;
    struct seen *seen = seen_live(s, id);
    REQUIRE(!s->closed && seen->final && !seen->tail && size);
    touch(body, size);
    for (size_t i = 0; s->trusting && i < size; i++)
        REQUIRE((unsigned char)body[i] == (seen->in + i) % BODY_PERIOD);
    seen->in += size;
    if (s->log_data != id)
        log_line(s, "data", id, 0);
    s->log_data = id;
    put(&s->log, body, s->logging ? size : 0);
    return event_done(s, IN_DATA, id);
}

static int side_tail(void *data, uint32_t id, const struct cno_tail_t *tail) {
    struct side *s = data;
    struct seen *seen = seen_live(s, id);
    REQUIRE(!s->closed && seen->final && !seen->tail);
    seen->tail = 1;
    log_line(s, "tail", id, tail ? tail->headers_len + 1 : 0);
    if (tail) {
        touch_fields(tail->headers, tail->headers_len);
        log_fields(s, tail->headers, tail->headers_len);
    }
    return event_done(s, IN_TAIL, id);
}

static int side_push(void *data, uint32_t id, const struct cno_message_t *msg, uint32_t parent) {
    struct side *s = data;
    struct seen *seen = seen_live(s, id);
    REQUIRE(!s->closed && s->c.kind == CNO_CLIENT && !seen->head && !(id & 1));
    touch_fields(msg->headers, msg->headers_len);
    seen_live(s, parent);
    log_line(s, "push", id, parent);
    put(&s->log, msg->path.data, s->logging ? msg->path.size : 0);
    log_fields(s, msg->headers, msg->headers_len);
    return event_done(s, IN_HEAD, id);
}

static int side_settings(void *data) {
    struct side *s = data;
    REQUIRE(!s->closed);
    log_line(s, "settings", 0, 0);
    return 0;
}

static int side_pong(void *data, const char payload[8]) {
    struct side *s = data;
    REQUIRE(!s->closed);
    log_line(s, "pong", 0, 0);
    put(&s->log, payload, s->logging ? 8 : 0);
    return 0;
}

static int side_fault(void *data, uint32_t id, const struct cno_error_t *error) {
    struct side *s = data;
    REQUIRE(!s->closed && error->code == CNO_ERRNO_PROTOCOL && error->reason && *error->reason);
    REQUIRE(id || !s->fatal);
    s->fatal |= !id;
    log_line(s, "fault", id, error->wire);
    log_line(s, error->reason, error->offset, 0);
    if (s->on_fault)
        s->on_fault(s, id, error);
    return event_done(s, IN_FAULT, id);
}

static const struct cno_vtable_t SIDE = {
    .on_writev = side_writev,
    .on_close = side_close,
    .on_stream_start = side_start,
    .on_stream_end = side_end,
    .on_flow_increase = side_flow,
    .on_message_head = side_head,
    .on_message_tail = side_tail,
    .on_message_data = side_data,
    .on_message_push = side_push,
    .on_settings = side_settings,
    .on_pong = side_pong,
    .on_fault = side_fault,
};

static inline struct side *side_new(enum CNO_CONNECTION_KIND kind, uint32_t options) {
    struct side *s = calloc(1, sizeof(*s));
    if (!s)
        abort();
    long pause = until_failure;
    until_failure = -1;
    struct cno_batch_t *batch = cno_batch_new(kind, 0);
    s->batch_writev = batch->conn.cb_code->on_writev;
    cno_batch_free(batch);
    until_failure = pause;
    cno_init(&s->c, kind);
    s->c.cb_code = &SIDE;
    s->c.cb_data = s;
    s->c.options = options;
    return s;
}

static inline void side_free(struct side *s) {
    cno_fini(&s->c);
    cno__release(s->batch.out);
    free(s->out.data);
    free(s->log.data);
    free(s);
}

// Whether a call could only fail the way it did.
static inline void check_error(const struct side *s, int reading) {
    int code = cno_error()->code;
    REQUIRE(cno_error()->reason && *cno_error()->reason);
    if (code == CNO_ERRNO_NO_MEMORY)
        REQUIRE(starved);
    else if (code == EVENT_FAILURE)
        REQUIRE(s->failed_event);
    else if (code == CNO_ERRNO_PROTOCOL)
        REQUIRE(reading);
    else
        REQUIRE(code == CNO_ERRNO_ASSERTION || code == CNO_ERRNO_INVALID_STREAM ||
                code == CNO_ERRNO_WOULD_BLOCK || code == CNO_ERRNO_DISCONNECT);
}

// One read, in a block of its own so that the sanitiser sees where it ends.
static inline int side_read(struct side *s, const char *data, size_t size) {
    char *copy = malloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    int r = cno_consume(&s->c, copy, size);
    if (size)
        memset(copy, 0xdb, size);
    free(copy);
    if (!r)
        return r;
    check_error(s, 1);
    struct cno_error_t error = *cno_error();
    if (error.code == CNO_ERRNO_PROTOCOL)
        REQUIRE(excused(s) || (s->closed && s->fatal));
    if (error.code != CNO_ERRNO_WOULD_BLOCK)  // the rest of the input is lost: it cannot go on
        REQUIRE(cno_consume(&s->c, "x", 1) && cno_error()->code == CNO_ERRNO_DISCONNECT);
    cno_error_set(error.code, error.reason, "%s", error.text);
    return r;
}

static inline void side_eof(struct side *s) {
    int r = cno_eof(&s->c);
    if (r)
        check_error(s, 1);
    for (size_t i = 0; i < s->count; i++)
        REQUIRE(s->seen[i].ended || excused(s));
    REQUIRE(cno_consume(&s->c, "x", 1) == CNO_ERROR && cno_error()->code == CNO_ERRNO_DISCONNECT);
}
