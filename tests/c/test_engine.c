// What vectors cannot say: calls from inside events, events that fail, order of calls, arguments out of
// range, and what a connection costs in memory.
#include "batch.h"
#include "config.h"
#include "core.h"
#include "check.h"
#include "counting.h"
#include "wire.h"

// ---- a connection whose events make calls ------------------------------------------------------

struct site;
typedef int action(struct site *, uint32_t stream);

struct site {
    struct cno_connection_t c;
    struct wire out, log;
    action *in_start, *in_head, *in_data, *in_tail, *in_end, *in_close, *in_flow, *in_fault;
    int out_fails;
    int closed;       // on_close has come
    int out_of_turn;  // octets to send behind it
    int result;       // of the last call that an action made
    struct cno_error_t error;
};

static int act(struct site *s, const char *what, uint32_t stream, action *then) {
    char text[32];
    wire_put(&s->log, text, (size_t)snprintf(text, sizeof(text), "%s%u ", what, (unsigned)stream));
    return then ? then(s, stream) : 0;
}

static int on_writev(void *data, const struct cno_buffer_t *pieces, size_t count) {
    ((struct site *)data)->out_of_turn |= ((struct site *)data)->closed;
    for (size_t i = 0; i < count; i++)
        wire_put(&((struct site *)data)->out, pieces[i].data, pieces[i].size);
    return ((struct site *)data)->out_fails ? 127 : 0;
}

static int on_start(void *s, uint32_t id) {
    return act(s, "start", id, ((struct site *)s)->in_start);
}

static int on_head(void *s, uint32_t id, const struct cno_message_t *msg) {
    (void)msg;
    return act(s, "head", id, ((struct site *)s)->in_head);
}

static int on_data(void *s, uint32_t id, const char *data, size_t size) {
    (void)data;
    (void)size;
    return act(s, "data", id, ((struct site *)s)->in_data);
}

static int on_tail(void *s, uint32_t id, const struct cno_tail_t *tail) {
    (void)tail;
    return act(s, "tail", id, ((struct site *)s)->in_tail);
}

static int on_end(void *s, uint32_t id, uint32_t code, enum CNO_PEER_KIND side) {
    (void)code;
    (void)side;
    return act(s, "end", id, ((struct site *)s)->in_end);
}

static int on_close(void *s) {
    ((struct site *)s)->closed = 1;
    return act(s, "close", 0, ((struct site *)s)->in_close);
}

static int on_flow(void *s, uint32_t id) {
    return act(s, "flow", id, ((struct site *)s)->in_flow);
}

static int on_settings(void *s) {
    return act(s, "settings", 0, NULL);
}

static int on_fault(void *s, uint32_t id, const struct cno_error_t *error) {
    (void)error;
    return ((struct site *)s)->in_fault ? act(s, "fault", id, ((struct site *)s)->in_fault) : 0;
}

static const struct cno_vtable_t EVENTS = {
    .on_flow_increase = on_flow,
    .on_settings = on_settings,
    .on_fault = on_fault,
    .on_writev = on_writev,
    .on_close = on_close,
    .on_stream_start = on_start,
    .on_stream_end = on_end,
    .on_message_head = on_head,
    .on_message_tail = on_tail,
    .on_message_data = on_data,
};

static struct site *site(int http2) {
    struct site *s = calloc(1, sizeof(*s));
    cno_init(&s->c, CNO_SERVER);
    s->c.cb_code = &EVENTS;
    s->c.cb_data = s;
    CHECK(!cno_begin(&s->c, http2 ? CNO_HTTP2 : CNO_HTTP1));
    if (http2) {
        struct wire w = {0};
        wire_frame(&w, "PREFACE");
        wire_frame(&w, "SETTINGS 0 -");
        wire_frame(&w, "SETTINGS 0 ACK");
        CHECK(!cno_consume(&s->c, w.data, w.size));
        wire_free(&w);
        s->out.size = s->log.size = 0;
    }
    return s;
}

static void leave(struct site *s) {
    cno_fini(&s->c);
    wire_free(&s->out);
    wire_free(&s->log);
    free(s);
}

static int feed(struct site *s, const char *text) {
    struct wire w = {0};
    char line[256];
    for (size_t size; *text; text += size + (text[size] == ';')) {
        size = strcspn(text, ";");
        snprintf(line, sizeof(line), "%.*s", (int)size, text);
        wire_frame(&w, line);
    }
    int result = cno_consume(&s->c, w.data, w.size);
    wire_free(&w);
    return result;
}

static int feed_text(struct site *s, const char *text) {
    return cno_consume(&s->c, text, strlen(text));
}

static int logged(struct site *s, const char *expected) {
    int same = s->log.size == strlen(expected) && !memcmp(s->log.data, expected, s->log.size);
    if (!same)
        printf("  events: %.*s\n", (int)s->log.size, s->log.data);
    s->log.size = 0;
    return same;
}

static int kept(struct site *s, int result) {
    s->result = result;
    if (result < 0)
        s->error = *cno_error();
    return 0;
}

static int answer(struct site *s, uint32_t id) {
    struct cno_header_t length = {{"content-length", 14}, {"2", 1}, 0, 0};
    struct cno_message_t msg = {.code = 200, .headers = &length, .headers_len = 1};
    return kept(s, cno_write_message(&s->c, id, &msg, "hi", 2, 1));
}

static int interim(struct site *s, uint32_t id) {
    struct cno_message_t msg = {.code = 103};
    return kept(s, cno_write_head(&s->c, id, &msg, 0));
}

static int cancel(struct site *s, uint32_t id) {
    return kept(s, cno_write_reset(&s->c, id, CNO_RST_CANCEL));
}

static int stop(struct site *s, uint32_t id) {
    (void)id;
    return kept(s, cno_shutdown(&s->c, 1));
}

static int abandon(struct site *s, uint32_t id) {
    (void)id;
    return kept(s, cno_write_reset(&s->c, 0, CNO_RST_INTERNAL_ERROR));
}

static int nested_consume(struct site *s, uint32_t id) {
    (void)id;
    return kept(s, cno_consume(&s->c, "x", 1));
}

static int nested_eof(struct site *s, uint32_t id) {
    (void)id;
    return kept(s, cno_eof(&s->c));
}

static int refused(int result, int code) {
    return result == CNO_ERROR && cno_error()->code == code;
}

static int fail(struct site *s, uint32_t id) {
    (void)s;
    (void)id;
    return 127;
}

// ---- calls from events -------------------------------------------------------------------------

#define GET "HEADERS 1 END_STREAM|END_HEADERS @get"
#define POST "HEADERS 1 END_HEADERS @post;DATA 1 - t:ab;DATA 1 END_STREAM t:cd"
#define H1_GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define H1_POST "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd"

static void test_answers_from_events(void) {
    // The end of a stream is told behind the tail, whichever event the answer was made in.
    struct site *s = site(1);
    s->in_head = answer;
    CHECK(!feed(s, GET) && logged(s, "start1 head1 tail1 end1 ") && s->result == 2);
    // A stream that ended in an event is remembered like any other.
    CHECK(!feed(s, "WINDOW_UPDATE 1 - u32:1;RST_STREAM 1 - u32:8;HEADERS 3 END_HEADERS @post"));
    CHECK(logged(s, "start3 head3 "));
    CHECK(!feed(s, "DATA 3 - t:x;DATA 3 END_STREAM t:y") && logged(s, "data3 data3 tail3 end3 "));
    leave(s);

    s = site(1);
    s->in_tail = answer;
    CHECK(!feed(s, POST) && logged(s, "start1 head1 data1 data1 tail1 end1 "));
    leave(s);

    s = site(1);
    s->in_start = interim;
    s->in_data = answer;
    CHECK(!feed(s, POST) && logged(s, "start1 head1 data1 data1 tail1 end1 "));
    CHECK(s->result == CNO_ERROR && s->error.code == CNO_ERRNO_INVALID_STREAM);  // the second one
    leave(s);

    s = site(0);
    s->in_head = answer;
    CHECK(!feed_text(s, H1_GET H1_POST H1_GET));
    CHECK(logged(s,
                 "start1 head1 tail1 end1 start3 head3 data3 tail3 end3 start5 head5 tail5 end5 "));
    leave(s);

    s = site(0);
    s->in_start = interim;
    s->in_tail = answer;
    CHECK(!feed_text(s, H1_POST H1_GET));
    CHECK(logged(s, "start1 head1 data1 tail1 end1 start3 head3 tail3 end3 "));
    leave(s);

    // The next request is begun when the end of one is told, and may be answered at once.
    s = site(0);
    s->in_end = answer;
    s->in_head = answer;
    CHECK(!feed_text(s, H1_GET) && s->result == CNO_ERROR);
    CHECK(s->error.code == CNO_ERRNO_INVALID_STREAM);
    leave(s);
}

static void test_endings_from_events(void) {
    action *const places[] = {cancel, stop, abandon};
    for (int k = 0; k < 3; k++) {
        for (int where = 0; where < 5; where++) {
            for (int http2 = 0; http2 < 2; http2++) {
                struct site *s = site(http2);
                *(where == 0   ? &s->in_start
                  : where == 1 ? &s->in_head
                  : where == 2 ? &s->in_data
                  : where == 3 ? &s->in_tail
                               : &s->in_end) = places[k];
                s->in_close = stop;
                int r = http2 ? feed(s, POST
                                     ";HEADERS 3 END_STREAM|END_HEADERS @get;PING 0 - u32:1 u32:2")
                              : feed_text(s, H1_POST H1_GET);
                CHECK(!r);
                CHECK(s->c.depth == 0 && !s->c.dead);
                int ended = cno_eof(&s->c);
                CHECK(ended == CNO_OK || cno_error()->code == CNO_ERRNO_PROTOCOL);
                leave(s);
            }
        }
    }
    // A stream that is reset in its own data: the rest of the frame is read over.
    struct site *s = site(1);
    s->in_data = cancel;
    CHECK(!feed(s, "HEADERS 1 END_HEADERS @post;RAW x:0000060000 u32:1 t:ab"));
    s->in_data = NULL;
    CHECK(!feed(s, "RAW t:cdef;DATA 1 - t:g;HEADERS 3 END_STREAM|END_HEADERS @get"));
    CHECK(logged(s, "start1 head1 data1 end1 start3 head3 tail3 "));
    leave(s);
}

static int promise_of(struct site *s, uint32_t id, const char *method) {
    struct cno_header_t fields[] = {{{":scheme", 7}, {"http", 4}, 0, 0},
                                    {{":authority", 10}, {"h", 1}, 0, 0}};
    struct cno_message_t msg = {
        .method = {method, strlen(method)}, .path = {"/", 1}, .headers = fields, .headers_len = 2};
    return kept(s, cno_write_push(&s->c, id, &msg));
}

static int promise(struct site *s, uint32_t id) {
    return promise_of(s, id, "GET");
}

// A stream that an application ends in its very first event: nothing more is told of it.
static void test_ending_in_the_start(void) {
    struct site *s = site(1);
    s->in_start = cancel;
    CHECK(!feed(s, GET) && logged(s, "start1 end1 "));
    s->in_start = stop;
    CHECK(!feed(s, "HEADERS 3 END_STREAM|END_HEADERS @get") && logged(s, "start3 head3 tail3 "));
    leave(s);

    // A push that is given up in its start was promised before it is reset.
    s = site(1);
    CHECK(!feed(s, GET) && logged(s, "start1 head1 tail1 "));
    s->in_start = cancel;
    s->out.size = 0;
    promise(s, 1);
    CHECK(!s->result && logged(s, "start2 end2 "));
    CHECK(s->out.size > 9 + 13 && s->out.data[3] == 5);
    CHECK(!memcmp(s->out.data + s->out.size - 13, "\0\0\4\3\0\0\0\0\2\0\0\0\10", 13));
    s->in_start = fail;
    s->out.size = 0;
    promise(s, 1);
    CHECK(s->result == CNO_ERROR && s->error.code == 127 && logged(s, "start4 "));
    CHECK(!answer(s, 1) && s->result == 2 && s->out.data[3] == 5);
    leave(s);
}

static int is_untold(const struct site *s) {
    return s->result == CNO_ERROR && s->error.code == CNO_ERRNO_ASSERTION &&
           !strcmp(s->error.reason, "no-request");
}

// What an answer consists of depends on the method and on the version: before they are told, nothing
// can be said.
static void test_answers_before_the_head(void) {
    static action *const early[] = {answer, interim};
    for (int i = 0; i < 4; i++) {
        struct site *s = site(i & 1);
        s->in_start = early[i >> 1];
        s->out.size = 0;
        CHECK(!(i & 1 ? feed(s, "HEADERS 1 END_STREAM|END_HEADERS :method=HEAD :path=/ "
                                ":scheme=http :authority=h")
                      : feed_text(s, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")));
        CHECK(is_untold(s) && logged(s, "start1 head1 tail1 ") && s->out.size == 0);
        CHECK(!answer(s, 1) && s->result == 2 && logged(s, "end1 "));
        CHECK(memcmp(s->out.data + s->out.size - 2, "hi", 2) != 0);
        leave(s);
    }
    // Nor to what is promised: there is the promise alone, and then an answer to HEAD.
    for (int i = 0; i < 2; i++) {
        struct site *s = site(1);
        CHECK(!feed(s, GET) && logged(s, "start1 head1 tail1 "));
        s->in_start = early[i];
        s->out.size = 0;
        CHECK(!promise_of(s, 1, "HEAD") && logged(s, "start2 head2 tail2 "));
        CHECK(s->error.code == CNO_ERRNO_ASSERTION && !strcmp(s->error.reason, "no-request"));
        CHECK(s->out.data[3] == 5 && s->out.size == 9 + (size_t)s->out.data[2]);
        CHECK(!answer(s, 2) && s->result == 2 && logged(s, "end2 "));
        CHECK(memcmp(s->out.data + s->out.size - 2, "hi", 2) != 0);
        leave(s);
    }
    // Nor where the head will not be told.
    struct site *s = site(1);
    s->in_fault = answer;
    CHECK(!feed(s, "HEADERS 1 END_HEADERS @post 130*a=b"));
    CHECK(is_untold(s) && logged(s, "start1 fault1 end1 "));
    leave(s);
}

// The same in the event that tells of a fault, or of more room: no second RST_STREAM, nothing behind
// the close.
static void test_ending_in_other_events(void) {
    static const char *const wrong[] = {"HEADERS 1 END_STREAM|END_HEADERS @get :x=y",
                                        "HEADERS 1 END_HEADERS @post 130*a=b"};
    for (int i = 0; i < 2; i++) {
        struct site *s = site(1);
        s->in_fault = cancel;
        CHECK(!feed(s, wrong[i]) && logged(s, "start1 fault1 end1 "));
        CHECK(s->out.size == 13 && s->out.data[3] == 3);
        leave(s);
    }
    struct site *s = site(1);
    s->in_flow = stop;
    CHECK(!feed(s, "SETTINGS 0 - s:4=100000") && logged(s, "flow0 close0 "));
    leave(s);
}

static int ask(struct site *s, uint32_t id) {
    struct cno_header_t fields[] = {{{":scheme", 7}, {"http", 4}, 0, 0},
                                    {{":authority", 10}, {"h", 1}, 0, 0}};
    struct cno_message_t msg = {
        .method = {"GET", 3}, .path = {"/", 1}, .headers = fields, .headers_len = 2};
    return kept(s, cno_write_head(&s->c, id, &msg, 1));
}

static int ask_next(struct site *s, uint32_t id) {
    s->in_start = NULL;
    return ask(s, id + 2);
}

// The head of a request leaves behind on_stream_start. Until then nothing goes out on its stream, nor on
// later ones.
static void test_starts_of_requests(void) {
    struct site *s = calloc(1, sizeof(*s));
    cno_init(&s->c, CNO_CLIENT);
    s->c.cb_code = &EVENTS;
    s->c.cb_data = s;
    CHECK(!cno_begin(&s->c, CNO_HTTP2));
    s->out.size = 0;
    s->in_start = cancel;
    ask(s, 1);
    CHECK(s->result == CNO_ERROR && s->error.code == CNO_ERRNO_INVALID_STREAM);
    CHECK(logged(s, "start1 end1 ") && s->out.size == 0);
    s->in_start = ask_next;
    ask(s, 3);
    CHECK(!s->result && logged(s, "start3 ") && s->out.size > 9 && s->out.data[8] == 3);
    // What was promised is not ours to ask, from its first event on.
    struct cno_settings_t settings = s->c.pending;
    settings.enable_push = 1;
    CHECK(!feed(s, "SETTINGS 0 -;SETTINGS 0 ACK") && !cno_configure(&s->c, &settings));
    CHECK(!feed(s, "SETTINGS 0 ACK"));
    s->out.size = 0;
    s->in_start = ask;
    CHECK(!feed(s, "PUSH_PROMISE 3 END_HEADERS u32:2 @get"));
    CHECK(s->result == CNO_ERROR && s->error.code == CNO_ERRNO_INVALID_STREAM && !s->out.size);
    leave(s);
}

// Has a body for a tunnel, and no :scheme.
static int ask_wrongly(struct site *s, uint32_t id) {
    struct cno_header_t fields[] = {{{":authority", 10}, {"h", 1}, 0, 0},
                                    {{"upgrade", 7}, {"x", 1}, 0, 0}};
    struct cno_message_t msg = {
        .method = {"GET", 3}, .path = {"/", 1}, .headers = fields, .headers_len = 2};
    CHECK(cno_write_message(&s->c, id, &msg, "x", 1, 0) == CNO_ERROR);
    CHECK(cno_error()->code == CNO_ERRNO_ASSERTION);
    return 0;
}

static int ask_for_head(struct site *s, uint32_t id) {
    struct cno_header_t fields[] = {{{":scheme", 7}, {"http", 4}, 0, 0},
                                    {{":authority", 10}, {"h", 1}, 0, 0}};
    struct cno_message_t msg = {
        .method = {"HEAD", 4}, .path = {"/", 1}, .headers = fields, .headers_len = 2};
    CHECK(!cno_write_head(&s->c, id, &msg, 1));
    return 0;
}

// A request that is written in the start of its stream, in place of the one that began it, is checked as
// that was, and it is the one that is answered.
static void test_requests_in_starts(void) {
    for (int http2 = 0; http2 < 2; http2++) {
        struct site *s = calloc(1, sizeof(*s));
        cno_init(&s->c, CNO_CLIENT);
        s->c.cb_code = &EVENTS;
        s->c.cb_data = s;
        CHECK(!cno_begin(&s->c, http2 ? CNO_HTTP2 : CNO_HTTP1));
        CHECK(!http2 || !feed(s, "SETTINGS 0 -;SETTINGS 0 ACK"));
        s->log.size = 0;
        s->in_start = ask_wrongly;
        ask(s, 1);
        CHECK(!s->result && logged(s, "start1 "));
        CHECK(!(http2 ? feed(s, "HEADERS 1 END_STREAM|END_HEADERS @ok")
                      : feed_text(s, "HTTP/1.1 204 \r\n\r\n")));
        CHECK(logged(s, "head1 tail1 end1 "));
        s->in_start = ask_for_head;
        ask(s, 3);
        CHECK(s->result == CNO_ERROR && s->error.code == CNO_ERRNO_INVALID_STREAM);
        CHECK(!(http2 ? feed(s, "HEADERS 3 END_STREAM|END_HEADERS @ok content-length=5")
                      : feed_text(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")));
        CHECK(logged(s, "start3 head3 tail3 end3 "));
        leave(s);
    }
}

static void test_nesting(void) {
    for (int http2 = 0; http2 < 2; http2++) {
        struct site *s = site(http2);
        s->in_head = nested_consume;
        s->in_tail = nested_eof;
        CHECK(!(http2 ? feed(s, GET) : feed_text(s, H1_GET)));
        CHECK(s->result == CNO_ERROR && s->error.code == CNO_ERRNO_ASSERTION);
        CHECK(!strcmp(s->error.reason, "nested-eof") && logged(s, "start1 head1 tail1 "));
        leave(s);
    }
}

static void test_events_that_fail(void) {
    for (int where = 0; where < 5; where++) {
        for (int http2 = 0; http2 < 2; http2++) {
            struct site *s = site(http2);
            *(where == 0   ? &s->in_start
              : where == 1 ? &s->in_head
              : where == 2 ? &s->in_data
              : where == 3 ? &s->in_tail
                           : &s->in_end) = fail;
            if (where == 4)
                s->in_head = answer;
            cno_error_set(CNO_ERRNO_WOULD_BLOCK, "stale", "from before");
            CHECK((http2 ? feed(s, POST) : feed_text(s, H1_POST)) == CNO_ERROR);
            CHECK(cno_error()->code == 127);
            CHECK(s->c.depth == 0);
            // What was left of the input is lost, so there is no going on.
            *(where == 0   ? &s->in_start
              : where == 1 ? &s->in_head
              : where == 2 ? &s->in_data
              : where == 3 ? &s->in_tail
                           : &s->in_end) = NULL;
            CHECK(feed_text(s, H1_POST) == CNO_ERROR && cno_error()->code == CNO_ERRNO_DISCONNECT);
            CHECK(cno_eof(&s->c) == CNO_OK || cno_error()->code == CNO_ERRNO_PROTOCOL);
            leave(s);
        }
    }
    // A stream whose end failed is gone, and so is the HTTP/1 connection that ends with it, be it reset
    // in an event, where nobody need heed the failure, or between two reads.
    for (int outside = 0; outside < 2; outside++) {
        struct site *s = site(0);
        s->in_end = fail;
        s->in_data = outside ? NULL : cancel;
        CHECK(!feed_text(s, outside ? "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\na"
                                    : H1_POST));
        if (outside)
            cancel(s, 1);
        CHECK(s->result == CNO_ERROR && s->error.code == 127);
        CHECK(logged(s, "start1 head1 data1 end1 close0 "));
        CHECK(refused(feed_text(s, "bcdGET"), CNO_ERRNO_DISCONNECT));
        leave(s);
    }
    // A push whose start failed is gone.
    struct site *s = site(1);
    CHECK(!feed(s, GET));
    s->in_start = fail;
    promise(s, 1);
    CHECK(s->result == CNO_ERROR && s->error.code == 127);
    answer(s, 2);
    CHECK(s->result == CNO_ERROR && s->error.code == CNO_ERRNO_INVALID_STREAM);
    leave(s);
    // Output that could not be handed over is lost, and with it the connection.
    s = site(1);
    CHECK(!feed(s, GET));
    s->out_fails = 1;
    CHECK(answer(s, 1) == 0 && s->result == CNO_ERROR && s->error.code == 127);
    s->out_fails = 0;
    CHECK(feed(s, "PING 0 - t:12345678") == CNO_ERROR);
    CHECK(cno_error()->code == CNO_ERRNO_DISCONNECT);
    leave(s);
}

// ---- order and arguments -----------------------------------------------------------------------

static void test_order(void) {
    // Calls on a connection that was not begun: it ends, or nothing happens.
    for (int which = 0; which < 6; which++) {
        struct site *before = calloc(1, sizeof(*before));
        cno_init(&before->c, CNO_SERVER);
        before->c.cb_code = &EVENTS;
        before->c.cb_data = before;
        int r = which == 0   ? cno_shutdown(&before->c, 1)
                : which == 1 ? cno_shutdown(&before->c, 0)
                : which == 2 ? cno_write_reset(&before->c, 0, CNO_RST_CANCEL)
                : which == 3 ? cno_eof(&before->c)
                : which == 4 ? cno_write_ping(&before->c, "12345678")
                             : cno_open_flow(&before->c, 1, 1);
        CHECK(r == CNO_OK && (which < 4 ? logged(before, "close0 ") : !before->log.size) &&
              !before->out.size);
        leave(before);
    }
    struct cno_connection_t c;
    struct cno_message_t msg = {.code = 200};
    cno_init(&c, CNO_SERVER);
    CHECK(refused(cno_consume(&c, "x", 1), CNO_ERRNO_DISCONNECT));
    CHECK(refused(cno_write_head(&c, 1, &msg, 1), CNO_ERRNO_DISCONNECT));
    CHECK(refused(cno_write_data(&c, 1, "x", 1, 1), CNO_ERRNO_INVALID_STREAM));
    CHECK(!cno_pending(&c) && cno_next_stream(&c) == 2);
    CHECK(!cno_begin(&c, CNO_HTTP1));
    CHECK(refused(cno_begin(&c, CNO_HTTP1), CNO_ERRNO_ASSERTION));
    // Nobody listens: everything works without events.
    CHECK(!cno_consume(&c, H1_GET, strlen(H1_GET)) && !cno_write_head(&c, 1, &msg, 1));
    CHECK(!cno_consume(&c, NULL, 0) && !cno_eof(&c) && !cno_eof(&c));
    CHECK(refused(cno_consume(&c, "x", 1), CNO_ERRNO_DISCONNECT));
    cno_fini(&c);
    cno_fini(&c);
    CHECK(!cno_shutdown(&c, 1));

    cno_init(&c, CNO_CLIENT);
    CHECK(cno_next_stream(&c) == 1);
    CHECK(cno_closing(&c) && !cno_begin(&c, CNO_HTTP1) && !cno_closing(&c));
    CHECK(!cno_shutdown(&c, 1) && cno_closing(&c));
    cno_fini(&c);

    // A request that is refused has not begun a stream.
    for (int version = CNO_HTTP1; version <= CNO_HTTP2; version++) {
        struct cno_header_t wrong[] = {{{":authority", 10}, {"h", 1}, 0, 0},
                                       {{":status", 7}, {"200", 3}, 0, 0}};
        struct cno_message_t get = {
            .method = {"GET", 3}, .path = {"/", 1}, .headers = wrong, .headers_len = 2};
        cno_init(&c, CNO_CLIENT);
        CHECK(!cno_begin(&c, version));
        CHECK(refused(cno_write_head(&c, 1, &get, 1), CNO_ERRNO_ASSERTION));
        CHECK(cno_next_stream(&c) == 1);
        cno_fini(&c);
    }

    // A body that is too large for a result is refused, not answered with the error before.
    struct site *s = site(0);
    CHECK(!feed_text(s, H1_GET));
    cno_error_set(CNO_ERRNO_WOULD_BLOCK, "stale", "from before");
    CHECK(cno_write_message(&s->c, 1, &msg, "", (size_t)INT32_MAX + 1, 1) == CNO_ERROR);
    CHECK(cno_error()->code == CNO_ERRNO_ASSERTION);
    CHECK(!cno_write_head(&s->c, 1, &msg, 0));
    CHECK(refused(cno_write_data(&s->c, 1, "", (size_t)INT32_MAX + 1, 1), CNO_ERRNO_ASSERTION));
    leave(s);

    s = site(0);
    struct cno_header_t many[CNO_MAX_HEADERS_OUT + 1];
    for (size_t i = 0; i <= CNO_MAX_HEADERS_OUT; i++)
        many[i] = (struct cno_header_t){{"a", 1}, {"b", 1}, 0, 0};
    msg = (struct cno_message_t){
        .code = 200, .headers = many, .headers_len = CNO_MAX_HEADERS_OUT + 1};
    CHECK(!feed_text(s, H1_GET) && refused(cno_write_head(&s->c, 1, &msg, 1), CNO_ERRNO_ASSERTION));
    CHECK(!cno_write_head(&s->c, 1, &(struct cno_message_t){.code = 200}, 0));
    struct cno_tail_t tail = {many, CNO_MAX_HEADERS_OUT + 1};
    CHECK(refused(cno_write_tail(&s->c, 1, &tail), CNO_ERRNO_ASSERTION));
    leave(s);
}

// ---- tunnels -----------------------------------------------------------------------------------

static int grant(struct site *s, uint32_t id) {
    struct cno_header_t upgrade = {{"upgrade", 7}, {"x", 1}, 0, 0};
    struct cno_message_t msg = {.code = 101, .headers = &upgrade, .headers_len = 1};
    return kept(s, cno_write_head(&s->c, id, &msg, 0));
}

static int say(struct site *s, uint32_t id) {
    return kept(s, cno_write_data(&s->c, id, "hi", 2, 0));
}

static int say_last(struct site *s, uint32_t id) {
    return kept(s, cno_write_data(&s->c, id, "hi", 2, 1));
}

#define H1_UPGRADE "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"

static struct site *upgrade_site(void) {
    struct site *s = site(0);
    s->c.options |= CNO_OFFER_UPGRADE;
    return s;
}

static void test_tunnels_from_events(void) {
    // Granted in the head: what follows in the same read is the tunnel's.
    struct site *s = upgrade_site();
    s->in_head = grant;
    s->in_data = say;
    CHECK(!feed_text(s, H1_UPGRADE "raw") && logged(s, "start1 head1 data1 ") && s->result == 2);
    CHECK(!cno_pending(&s->c) && s->out.size > 2 &&
          !memcmp(s->out.data + s->out.size - 2, "hi", 2));
    s->in_tail = say_last;
    CHECK(!cno_eof(&s->c) && logged(s, "tail1 end1 close0 "));
    leave(s);

    // Refused in the head, or in the beginning of the stream by 1xx and then in the head.
    s = upgrade_site();
    s->in_start = interim;
    s->in_head = answer;
    CHECK(!feed_text(s, H1_UPGRADE H1_GET));
    CHECK(logged(s, "start1 head1 tail1 end1 start3 head3 tail3 end3 "));
    leave(s);

    // Kept until granted, and bounded as pipelined requests are.
    s = upgrade_site();
    CHECK(!feed_text(s, H1_UPGRADE "raw") && logged(s, "start1 head1 ") && cno_pending(&s->c) == 3);
    CHECK(!grant(s, 1) && s->result == CNO_OK && cno_pending(&s->c) == 3 && logged(s, ""));
    CHECK(!cno_consume(&s->c, NULL, 0) && logged(s, "data1 ") && !cno_pending(&s->c));
    s->in_data = say_last;
    CHECK(!feed_text(s, "x") && logged(s, "data1 end1 close0 ") && s->result == 2);
    CHECK(refused(cno_consume(&s->c, "x", 1), CNO_ERRNO_DISCONNECT));
    leave(s);

    // The tail that a refusal brings may do anything.
    action *const acts[] = {answer, cancel, stop, abandon, fail, nested_consume, nested_eof};
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        s = upgrade_site();
        CHECK(!feed_text(s, H1_UPGRADE H1_GET));
        s->in_tail = acts[i];
        struct cno_message_t no = {.code = 403};
        int r = cno_write_message(&s->c, 1, &no, "no", 2, 1);
        CHECK(acts[i] == fail ? r == CNO_ERROR && cno_error()->code == 127
                              : r != CNO_OK || s->log.size);
        CHECK((acts[i] != cancel && acts[i] != abandon) ||
              refused(r, CNO_ERRNO_INVALID_STREAM));  // the body has nowhere to go anymore
        CHECK(!s->out_of_turn);
        CHECK(s->c.depth == 0 && !s->c.dead);
        cno_eof(&s->c);
        leave(s);
    }
    // And so may every event of a tunnel.
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        for (int where = 0; where < 3; where++) {
            s = upgrade_site();
            s->in_head = grant;
            *(where == 0 ? &s->in_data : where == 1 ? &s->in_tail : &s->in_end) = acts[i];
            feed_text(s, H1_UPGRADE "raw");
            feed_text(s, "more");
            cno_eof(&s->c);
            CHECK(s->c.depth == 0 && !s->c.dead);
            leave(s);
        }
    }
}

// A request that turns the connection to HTTP/2, answered or ended in its events.
static void test_h2c_from_events(void) {
    action *const acts[] = {answer, cancel, stop, abandon, fail, nested_consume, nested_eof};
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        for (int where = 0; where < 4; where++) {
            struct site *s = site(0);
            s->c.options |= CNO_H2C_UPGRADE;
            *(where == 0   ? &s->in_start
              : where == 1 ? &s->in_head
              : where == 2 ? &s->in_tail
                           : &s->in_end) = acts[i];
            feed_text(s, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                         "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n");
            if (s->c.mode == 2 && acts[i] != fail) {
                CHECK(cno_version(&s->c) == CNO_HTTP2);
                CHECK(!feed(s, "PREFACE;SETTINGS 0 -;SETTINGS 0 ACK;PING 0 - u32:1 u32:2"));
            }
            CHECK(s->c.depth == 0 && !s->c.dead);
            cno_eof(&s->c);
            leave(s);
        }
    }
}

// A caller with a clock knows whether our settings are acknowledged.
static void test_settings_unacked(void) {
    struct cno_connection_t c;
    struct wire w = {0};
    for (int server = 0; server < 2; server++) {
        cno_init(&c, server ? CNO_SERVER : CNO_CLIENT);
        CHECK(!cno_settings_unacked(&c) && !cno_begin(&c, CNO_HTTP2));
        CHECK(cno_settings_unacked(&c) == 1);
        if (server)
            wire_frame(&w, "PREFACE");
        wire_frame(&w, "SETTINGS 0 -");
        CHECK(!cno_consume(&c, w.data, w.size) && cno_settings_unacked(&c) == 1);
        CHECK(refused(cno_configure(&c, &c.pending), CNO_ERRNO_WOULD_BLOCK));
        w.size = 0;
        wire_frame(&w, "SETTINGS 0 ACK");
        CHECK(!cno_consume(&c, w.data, w.size) && cno_settings_unacked(&c) == 0);
        CHECK(!cno_configure(&c, &c.pending) && cno_settings_unacked(&c) == 1);
        CHECK(!cno_write_reset(&c, 0, CNO_RST_SETTINGS_TIMEOUT) && !cno_settings_unacked(&c));
        cno_fini(&c);
        wire_free(&w);
    }
}

// Ids end at 2^31-1 (RFC 9113 section 5.1.1): none is used twice.
static void test_ids_run_out(void) {
    struct cno_header_t host = {{":authority", 10}, {"h", 1}, 0, 0};
    struct cno_header_t both[] = {host, {{":scheme", 7}, {"http", 4}, 0, 0}};
    struct cno_message_t get = {
        .method = {"GET", 3}, .path = {"/", 1}, .headers = both, .headers_len = 2};
    for (int http2 = 0; http2 < 2; http2++) {
        struct cno_connection_t c;
        cno_init(&c, CNO_CLIENT);
        CHECK(!cno_begin(&c, http2 ? CNO_HTTP2 : CNO_HTTP1));
        c.last_stream[CNO_LOCAL] = 0x7ffffffd;
        CHECK(cno_next_stream(&c) == 0x7fffffff);
        CHECK(!cno_closing(&c) && !cno_write_head(&c, 0x7fffffff, &get, 1) && cno_closing(&c));
        CHECK(cno_next_stream(&c) > 0x7fffffff);
        CHECK(refused(cno_write_head(&c, cno_next_stream(&c), &get, 1), CNO_ERRNO_DISCONNECT));
        CHECK(!strcmp(cno_error()->reason, "no-stream-ids"));
        CHECK(refused(cno_write_head(&c, 1, &get, 1), CNO_ERRNO_DISCONNECT));
        cno_fini(&c);
    }
    // A server of HTTP/1 numbers the requests itself: the last one closes the connection.
    struct site *s = site(0);
    s->in_tail = answer;
    s->c.last_stream[CNO_REMOTE] = 0x7ffffffb;
    CHECK(!feed_text(s, H1_GET H1_GET H1_GET));
    CHECK(logged(s, "start2147483645 head2147483645 tail2147483645 end2147483645 "
                    "start2147483647 head2147483647 tail2147483647 end2147483647 close0 "));
    CHECK(strstr(s->out.data, "connection: close"));
    leave(s);
    // No push beyond them.
    s = site(1);
    CHECK(!feed(s, "HEADERS 1 END_STREAM|END_HEADERS @get"));
    s->c.last_stream[CNO_LOCAL] = 0x7ffffffe;
    s->out.size = 0;
    CHECK(!cno_write_push(&s->c, 1, &get) && !s->out.size);
    leave(s);
}

// What is kept of requests that wait is bounded, and nothing of it is lost.
static void test_pipeline(void) {
    struct site *s = site(0);
    struct wire w = {0};
    size_t requests = 0;
    while (w.size < 400000) {
        wire_put(&w, H1_GET, strlen(H1_GET));
        requests++;
    }
    CHECK(!cno_consume(&s->c, w.data, w.size) && cno_pending(&s->c) == w.size - strlen(H1_GET));
    CHECK(!cno_consume(&s->c, w.data, w.size) && !cno_consume(&s->c, w.data, w.size));
    CHECK(refused(cno_consume(&s->c, w.data, w.size), CNO_ERRNO_WOULD_BLOCK));
    CHECK(cno_pending(&s->c) == 3 * w.size - strlen(H1_GET));
    requests *= 3;
    for (uint32_t id = 1; requests--; id += 2) {
        s->log.size = s->out.size = 0;
        answer(s, id);
        if (s->result != 2)
            break;
        s->result = cno_consume(&s->c, NULL, 0);
    }
    CHECK(s->result == CNO_OK && !cno_pending(&s->c) && !s->c.in.size);
    wire_free(&w);
    leave(s);
}

// ---- memory ------------------------------------------------------------------------------------

// The fields of refusals are read when one is written, and are left out when they cannot be sent.
static void test_refusal_fields(void) {
    struct cno_header_t list[CNO_MAX_DEFAULTS + 1];
    static const struct {
        const char *name, *value, *sent;
        size_t times;
    } all[] = {
        {"date", "x", "\r\ndate: x\r\n", 1},
        {"Date", "x", NULL, 1},
        {":date", "x", NULL, 1},
        {"date", "\n", NULL, 1},
        {"connection", "keep-alive", NULL, 1},
        {"content-length", "7", NULL, 1},
        {"content-type", "text/html", NULL, 1},
        {"transfer-encoding", "chunked", NULL, 1},
        {"x", "y", "\r\nx: y\r\nx: y\r\n", 16},
        {"x", "y", NULL, 17},
        {"date", "x", NULL, 0},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        struct cno_fields_t fields = {list, all[i].times};
        struct site *s = site(0);
        s->c.refusal_fields = &fields;
        for (size_t k = 0; k < CNO_MAX_DEFAULTS + 1; k++)
            list[k] = (struct cno_header_t){
                {all[i].name, strlen(all[i].name)}, {all[i].value, strlen(all[i].value)}, 0, 0};
        CHECK(cno_consume(&s->c, "GET / HTTP/1.1\r\n\r\n", 18) == CNO_ERROR);
        const char *plain = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n"
                            "content-length: 23\r\nconnection: close\r\n\r\nno Host";
        CHECK(all[i].sent ? strstr(s->out.data, all[i].sent) != NULL
                          : !strncmp(s->out.data, plain, strlen(plain)));
        CHECK(!cno_refused(&s->c));
        leave(s);
    }
}

static void test_memory(void) {
    cno_set_allocator(&COUNTING);
    struct site *s = site(1);
    CHECK(sizeof(s->c) + in_use < 2048);
    s->in_tail = answer;
    for (unsigned id = 1; id < 200; id += 2) {
        char line[80];
        snprintf(line, sizeof(line), "HEADERS %u END_HEADERS @post;DATA %u END_STREAM 9000*t:x", id,
                 id);
        CHECK(!feed(s, line));
        s->log.size = s->out.size = 0;
    }
    CHECK(sizeof(s->c) + in_use < 4096);
    leave(s);
    CHECK(in_use == 0);

    // A peer that uploads what nobody takes: the engine keeps none of it.
    s = site(1);
    s->c.options |= CNO_MANUAL_FLOW;
    CHECK(!feed(s, "HEADERS 1 END_HEADERS @post;DATA 1 - 16384*t:x;DATA 1 - 16384*t:x"));
    CHECK(sizeof(s->c) + in_use < 4096);
    leave(s);
    cno_set_allocator(NULL);
}

int main(void) {
    test_answers_from_events();
    test_endings_from_events();
    test_ending_in_the_start();
    test_answers_before_the_head();
    test_ending_in_other_events();
    test_starts_of_requests();
    test_requests_in_starts();
    test_nesting();
    test_events_that_fail();
    test_order();
    test_tunnels_from_events();
    test_h2c_from_events();
    test_settings_unacked();
    test_ids_run_out();
    test_pipeline();
    test_refusal_fields();
    test_memory();
    return finish();
}
