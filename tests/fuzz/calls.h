// The application of a side: calls chosen by a few fuzz octets each, right ones and wrong ones. A call that
// the engine refuses must have no effect.
#pragma once

#include "side.h"

enum {
    CALL_HEAD,
    CALL_MESSAGE,
    CALL_DATA,
    CALL_TAIL,
    CALL_RESET,
    CALL_PUSH,
    CALL_OPEN_FLOW,
    CALL_SHUTDOWN,
    CALL_PING,
    CALL_CONFIGURE,
    CALL_ANSWER,  // whatever is missing to complete the stream
    CALL_KINDS,
};

// ---- fields ------------------------------------------------------------------------------------

#define FIELD(name, value, flags) \
    { {name, sizeof(name) - 1}, {value, sizeof(value) - 1}, flags, 0 }

static const struct cno_header_t FIELDS[][2] = {
    {FIELD("content-type", "text/plain", 0), FIELD("vary", "accept-encoding", 0)},
    {FIELD("content-length", "7", 0)},
    {FIELD("content-length", "100", 0), FIELD("content-length", "100", 0)},
    {FIELD("connection", "close", 0)},
    {FIELD("transfer-encoding", "chunked", 0), FIELD("keep-alive", "timeout=5", 0)},
    {FIELD("te", "trailers", 0), FIELD("trailer", "x-sum", 0)},
    {FIELD("cookie", "a=1; b=2", 0), FIELD("cookie", "c=3", 0)},
    {FIELD("expect", "100-continue", 0)},
    {FIELD("upgrade", "websocket", 0), FIELD("connection", "upgrade", 0)},
    {FIELD("authorization", "Basic QWxhZGRpbjpvcGVu", CNO_HEADER_NEVER_INDEXED)},
    {FIELD("x-empty", "", 0), FIELD("priority", "u=1, i", 0)},
    // What no side may send.
    {FIELD("X-Upper", "1", 0)},
    {FIELD("x-split", "a\r\nb: c", 0)},
    {FIELD("bad name", "x", 0)},
    {FIELD(":status", "200", 0)},
    {FIELD("x-space", " x ", 0)},
    {FIELD("content-length", "+5", 0)},
    {FIELD("", "x", 0)},
};

#define FIELD_SETS (sizeof(FIELDS) / sizeof(*FIELDS))

// Fields of a call: a few of those above and, by `b`, many small ones or a large one.
struct field_list {
    struct cno_header_t list[CNO_MAX_HEADERS_OUT + 4];
    char names[CNO_MAX_HEADERS_OUT][8];
    char length[24];
    size_t count;
};

static inline void add_field(struct field_list *f, struct cno_header_t field) {
    f->list[f->count++] = field;
}

static inline void add_set(struct field_list *f, unsigned n) {
    n %= FIELD_SETS + 8;  // mostly legal ones
    if (n >= FIELD_SETS)
        return;
    for (int i = 0; i < 2 && FIELDS[n][i].value.data; i++)
        add_field(f, FIELDS[n][i]);
}

static inline void add_numbered(struct field_list *f, size_t count, size_t size) {
    for (size_t i = 0; i < count; i++) {
        int n = snprintf(f->names[i], sizeof(f->names[i]), "n-%zu", i);
        add_field(f, (struct cno_header_t){{f->names[i], (size_t)n}, {"abcdefgh", size % 9}, 0, 0});
    }
}

static inline void make_fields(struct field_list *f, const struct call *call, int request) {
    static char large[70000];
    f->count = 0;
    if (request) {
        add_field(f, (struct cno_header_t)FIELD(":scheme", "http", 0));
        add_field(f, (struct cno_header_t)FIELD(":authority", "example.org", 0));
    }
    if (call->b & 1)
        add_set(f, call->b >> 1);
    if (call->c & 1)
        add_set(f, call->c >> 1);
    if ((call->b & 0xf0) == 0xf0) {
        memset(large, 'y', sizeof(large));
        static const size_t sizes[] = {1, 100, 4000, 16300, 17000, 40000, 69000, 200};
        add_field(f, (struct cno_header_t){{"x-large", 7}, {large, sizes[call->b >> 1 & 7]}, 0, 0});
    }
    if ((call->c & 0xf0) == 0xf0)
        add_numbered(f, (size_t[]){2, 10, 61, 120, 140, 250, 254, 30}[call->c >> 1 & 7], call->b);
}

static inline void add_length(struct field_list *f, size_t size) {
    int n = snprintf(f->length, sizeof(f->length), "%zu", size);
    add_field(f, (struct cno_header_t){{"content-length", 14}, {f->length, (size_t)n}, 0, 0});
}

static inline struct cno_message_t make_head(struct field_list *f, const struct call *call,
                                             int request) {
    static const int codes[] = {200, 204, 304, 404, 100, 103, 200, 500, 999, 101, 99, 0, 1000};
    static const char *const methods[] = {"GET",     "POST",  "HEAD",    "PUT",
                                          "OPTIONS", "PATCH", "CONNECT", "G T"};
    static const char *const paths[] = {
        "/", "/a?b=c", "/a/long/path/with/some/segments", "*", "h:80", "/with space", "", "/x"};
    struct cno_message_t msg = {.headers = f->list, .headers_len = f->count};
    if (request) {
        const char *method =
            methods[(call->a & 0x80 ? call->a >> 2 : call->a >> 4) & 7 & (call->a & 0x80 ? 7 : 3)];
        const char *path = paths[call->a & 0x80 ? call->a & 7 : call->a & 1];
        msg.method = (struct cno_buffer_t){method, strlen(method)};
        msg.path = (struct cno_buffer_t){path, strlen(path)};
    } else {
        msg.code = codes[call->a % (sizeof(codes) / sizeof(*codes))];
    }
    return msg;
}

// ---- calls -------------------------------------------------------------------------------------

static inline size_t body_size(unsigned octet) {
    static const size_t sizes[] = {0,    1,     5,     7,     100,   1023,  1024,   1025,
                                   4000, 16384, 16385, 40000, 65535, 65536, 100000, 200000};
    return sizes[octet & 15];
}

static inline uint32_t call_stream(const struct side *s, unsigned octet, uint32_t in_event) {
    if (in_event && !(octet & 0x40))
        return in_event;
    if (octet & 0x80)
        return s->c.last_stream[octet & 1] - (octet >> 1 & 7) * 2;
    return octet & 0x3f;
}

// Passes the output of a batch on, with the parts of the lent body in their places.
static inline void put_together(struct side *s, const char *body, size_t size, int taken,
                                const struct cno_view_t *views, size_t count) {
    size_t done = 0, viewed = 0;
    for (size_t i = 0; i < count; i++) {
        struct cno_view_t v = views[i];
        REQUIRE(v.at >= done && v.at <= s->batch.out_size && v.size);
        REQUIRE(v.offset == viewed && v.size <= size - v.offset);
        if (done < v.at)
            side_output(s, s->batch.out + done, v.at - done);
        side_output(s, body + v.offset, v.size);
        done = v.at;
        viewed += v.size;
    }
    REQUIRE(viewed <= (size_t)(taken < 0 ? 0 : taken));
    if (done < s->batch.out_size)
        side_output(s, s->batch.out + done, s->batch.out_size - done);
}

// cno_batch_lend with room for so many views. The body has memory of its own, so that nothing else in the
// output is a part of it.
static inline int lend_body(struct side *s, uint32_t id, const char *from, size_t size, int final,
                            size_t count) {
    struct cno_view_t views[64];
    char *body = malloc(size ? size : 1);
    if (size)
        memcpy(body, from, size);
    int r = cno_batch_lend(&s->batch, id, body, size, final, views, &count);
    REQUIRE(!s->batch.loan && count <= 64 && (r >= 0 || (!count && !s->batch.out_size)));
    put_together(s, body, size, r, views, count);
    free(body);
    cno__release(s->batch.out);
    s->batch.out = NULL;
    s->batch.out_size = s->batch.out_room = 0;
    return r;
}

// With `lend` the body goes through a batch; not inside of a call that does so, and not when a callback is
// to fail, which those of a batch do only for want of memory.
static inline int write_body(struct side *s, uint32_t id, size_t size, int final, unsigned lend) {
    struct seen *seen = seen_find(s, id);
    size_t from = seen ? (size_t)(seen->out % BODY_PERIOD) : 0;
    int r = lend && !s->batch.loan && !s->to_fail
                ? lend_body(s, id, body_octets + from, size, final, lend & 63)
                : cno_write_data(&s->c, id, body_octets + from, size, final);
    REQUIRE(r <= (int)size);
    if (r > 0 && (seen = seen_find(s, id)))
        seen->out += (size_t)r;
    return r;
}

static inline int write_message(struct side *s, uint32_t id, const struct call *call, size_t size,
                                int final) {
    struct field_list fields;
    int request = s->c.kind == CNO_CLIENT;
    make_fields(&fields, call, request);
    if (size && call->c & 2 && fields.count < CNO_MAX_HEADERS_OUT)
        add_length(&fields, size);
    struct cno_message_t msg = make_head(&fields, call, request);
    if (!size)
        return cno_write_head(&s->c, id, &msg, final);
    int r = cno_write_message(&s->c, id, &msg, body_octets, size, final);
    REQUIRE(r <= (int)size);
    struct seen *seen = seen_find(s, id);
    if (r > 0 && seen)
        seen->out += (size_t)r;
    return r;
}

// Completes a stream in the plainest way.
static inline int write_answer(struct side *s, uint32_t id, const struct call *call) {
    struct call plain = {.a = s->c.kind == CNO_CLIENT ? call->a & 0x7f : 0};
    int r = write_message(s, id, &plain, body_size(call->b & 7), 1);
    return r == CNO_ERROR && cno_error()->code == CNO_ERRNO_ASSERTION
               ? write_body(s, id, body_size(call->b & 7), 1, call->c)
               : r;
}

static inline int configure(struct side *s, const struct call *call) {
    static const uint32_t values[] = {0,     1,       2,          100,        4096,       16384,
                                      65535, 1 << 20, 0x7fffffff, 0x80000000, UINT32_MAX, 16777215};
    struct cno_settings_t settings = s->c.settings[CNO_LOCAL];
    uint32_t value = values[call->b % 12];
    switch (call->a % 6) {
        case 0:
            // What is kept for the peer is the caller's choice, but not for a fuzzer to choose.
            settings.header_table_size = value < 65536 ? value : 65536;
            break;
        case 1:
            settings.enable_push = value;
            break;
        case 2:
            settings.max_concurrent_streams = value < 200 ? value : 200;
            break;
        case 3:
            settings.initial_window_size = value;
            break;
        case 4:
            settings.max_frame_size = value;
            break;
        default:
            settings.max_header_list_size = value;
    }
    return cno_configure(&s->c, &settings);
}

static inline int make_call(struct side *s, const struct call *call, uint32_t in_event) {
    uint32_t id = call_stream(s, call->stream, in_event);
    struct field_list fields;
    int client = s->c.kind == CNO_CLIENT, starts = client && (call->stream & 0xc0) == 0x40;
    if (starts && call->kind % CALL_KINDS <= CALL_MESSAGE)
        id = cno_next_stream(&s->c);
    switch (call->kind % CALL_KINDS) {
        case CALL_HEAD:
            return write_message(s, id, call, 0, call->c >> 2 & 1);
        case CALL_MESSAGE:
            return write_message(s, id, call, body_size(call->b), call->c >> 2 & 1);
        case CALL_DATA:
            return write_body(s, id, body_size(call->a), call->b & 1, call->c);
        case CALL_TAIL:
            make_fields(&fields, call, 0);
            return cno_write_tail(&s->c, id, &(struct cno_tail_t){fields.list, fields.count});
        case CALL_RESET:
            return cno_write_reset(&s->c, id, call->a % 14);
        case CALL_PUSH: {
            make_fields(&fields, call, 1);
            struct cno_message_t msg = make_head(&fields, call, 1);
            return cno_write_push(&s->c, id, &msg);
        }
        case CALL_OPEN_FLOW:
            return cno_open_flow(&s->c, id, (uint32_t)body_size(call->a));
        case CALL_SHUTDOWN:
            return cno_shutdown(&s->c, call->a & 1);
        case CALL_PING:
            return cno_write_ping(&s->c, "12345678");
        case CALL_CONFIGURE:
            return configure(s, call);
        default:
            return write_answer(s, id, call);
    }
}

// A call, of which nothing may be seen when it is refused.
static inline int apply(struct side *s, const struct call *call, uint32_t in_event) {
    uint64_t written = s->written, events = s->events;
    size_t armed = s->armed_count;
    int r = make_call(s, call, in_event);
    if (r >= 0)
        return r;
    check_error(s, 0);
    int code = cno_error()->code;
    if (code != CNO_ERRNO_NO_MEMORY && code != EVENT_FAILURE && !excused(s) &&
        call->kind % CALL_KINDS != CALL_ANSWER && armed == s->armed_count)
        REQUIRE(written == s->written && events == s->events);
    return r;
}

static inline struct call take_call(struct reader *r) {
    struct call call;
    call.kind = (uint8_t)take(r);
    call.stream = (uint8_t)take(r);
    call.a = (uint8_t)take(r);
    call.b = (uint8_t)take(r);
    call.c = (uint8_t)take(r);
    return call;
}

static inline void arm(struct side *s, struct reader *r) {
    if (s->armed_count == ARMED_MAX)
        return;
    s->armed_in[s->armed_count] = (uint8_t)(take(r) % IN_COUNT);
    if (s->logging && s->armed_in[s->armed_count] == IN_DATA)  // as many as there are reads
        s->armed_in[s->armed_count] = IN_TAIL;
    s->armed[s->armed_count++] = take_call(r);
}

// The oldest call that waits for this event; more are made in the events that come of it.
static void run_armed(struct side *s, int event, uint32_t stream) {
    size_t i = 0;
    while (i < s->armed_count && s->armed_in[i] != event)
        i++;
    if (i == s->armed_count)
        return;
    struct call call = s->armed[i];
    s->armed_count--;
    for (; i < s->armed_count; i++) {
        s->armed[i] = s->armed[i + 1];
        s->armed_in[i] = s->armed_in[i + 1];
    }
    apply(s, &call, stream);
}
