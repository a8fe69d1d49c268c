// What the first libcno did wrong and no vector can show; tests/pages/test_labels.py says what the labels mean.
#include "counting.h"
#include "states.h"

static int feed(struct watched *w, const char *frame) {
    struct wire in = {0};
    wire_frame(&in, frame);
    int r = cno_consume(&w->c, in.data, in.size);
    wire_free(&in);
    return r;
}

static struct watched *http2(enum CNO_CONNECTION_KIND kind, const char *name) {
    struct watched *w = watch(kind, name);
    CHECK(!cno_begin(&w->c, CNO_HTTP2));
    if (kind == CNO_SERVER)
        CHECK(!feed(w, "PREFACE"));
    CHECK(!feed(w, "SETTINGS 0 -") && !feed(w, "SETTINGS 0 ACK"));
    step(w);
    return w;
}

// A stream that is answered in an event of its request is remembered like any other.
static void test_n1_answered_in_an_event(void) {
    struct watched *w = http2(CNO_SERVER, "N1");
    w->in_head = "whole";
    CHECK(!feed(w, "HEADERS 1 END_STREAM|END_HEADERS @get") && w->ended[1]);
    w->in_head = NULL;
    CHECK(!feed(w, "WINDOW_UPDATE 1 - u32:1") && !feed(w, "RST_STREAM 1 - u32:8"));
    CHECK(!feed(w, "PRIORITY 1 - u32:0 u8:1"));
    CHECK(!feed(w, "HEADERS 3 END_STREAM|END_HEADERS @get") && w->tailed[3]);
    unwatch(w);
}

// ---- allocations that are counted --------------------------------------------------------------

// 64 KiB of head octet by octet: what was looked at is not looked at again, what was kept is seldom moved.
static void test_n2_head_octet_by_octet(void) {
    struct wire in = {0};
    const char *start = "GET / HTTP/1.1\r\nHost: h\r\n", *line = "a: {989*x}\\r\\n";
    size_t mark, before = 0;
    wire_put(&in, start, strlen(start));
    for (int i = 0; i < 60; i++)
        wire_text(&in, line, strlen(line), &mark);
    cno_set_allocator(&COUNTING);
    struct watched *w = watch(CNO_SERVER, "N2");
    CHECK(!cno_begin(&w->c, CNO_HTTP1));
    resizes = 0;
    int again = 0;
    for (size_t i = 0; i < in.size; i++) {
        if (cno_consume(&w->c, in.data + i, 1))
            break;
        // All but the line under way was scanned for good: never less than before, and to its end.
        again += w->c.head_scanned < before || w->c.in.size - w->c.head_scanned > 1000;
        before = w->c.head_scanned;
    }
    CHECK(w->c.in.size == in.size && !again && resizes < 64);
    CHECK(!cno_consume(&w->c, "\r\n", 2) && w->tailed[1]);
    unwatch(w);
    cno_set_allocator(NULL);
    wire_free(&in);
}

// Ids end at 2^31-1: nothing of ours is begun above it, and nothing breaks.
static void test_n13_the_last_id(void) {
    struct watched *w = http2(CNO_CLIENT, "N13");
    w->c.last_stream[CNO_LOCAL] = 0x7ffffffd;
    CHECK(cno_next_stream(&w->c) == 0x7fffffff);
    w->c.cb_code = NULL;  // the watched connection knows ids up to 255
    CHECK(!call(w, "get", 0x7fffffff));
    CHECK(call(w, "get", cno_next_stream(&w->c)) == CNO_ERROR);
    CHECK(cno_error()->code == CNO_ERRNO_DISCONNECT && w->c.stream_count[CNO_LOCAL] == 1);
    CHECK(!feed(w, "HEADERS 2147483647 END_STREAM|END_HEADERS @ok"));
    CHECK(!w->c.stream_count[CNO_LOCAL]);
    unwatch(w);

    w = http2(CNO_SERVER, "N13");
    CHECK(!feed(w, "HEADERS 1 END_STREAM|END_HEADERS @get"));
    w->c.last_stream[CNO_LOCAL] = 0x7ffffffe;
    CHECK(!call(w, "push", 1) && w->c.stream_count[CNO_LOCAL] == 0);
    CHECK(!call(w, "whole", 1) && w->ended[1]);
    unwatch(w);
}

// What an upload and a head that came in pieces took is given back.
static void test_n17_buffers_shrink(void) {
    struct wire body = {0}, frame = {0};
    size_t mark;
    wire_text(&body, "{65000*x}", strlen("{65000*x}"), &mark);
    cno_set_allocator(&COUNTING);
    in_use = 0;
    struct watched *w = http2(CNO_SERVER, "N17");
    CHECK(!feed(w, "HEADERS 1 END_HEADERS @post") && !call(w, "whole", 1));
    size_t idle = in_use;
    most_in_use = 0;
    wire_frame(&frame, "DATA 1 - 16384*t:x");
    for (size_t i = 0; i < frame.size; i += 7)
        CHECK(!cno_consume(&w->c, frame.data + i, frame.size - i < 7 ? frame.size - i : 7));
    CHECK(most_in_use < idle + 2048 && w->c.in.size == 0);
    CHECK(!feed(w, "DATA 1 END_STREAM t:x") && w->ended[1]);
    CHECK(in_use <= idle + CNO_BUFFER_KEEP);
    unwatch(w);
    CHECK(in_use == 0);

    w = watch(CNO_SERVER, "N17");
    CHECK(!cno_begin(&w->c, CNO_HTTP1));
    const char *start = "GET / HTTP/1.1\r\nHost: h\r\na: ";
    CHECK(!cno_consume(&w->c, start, strlen(start)) &&
          !cno_consume(&w->c, body.data, body.size / 2));
    CHECK(in_use > 30000);
    CHECK(!cno_consume(&w->c, "\r\n\r\n", 4) && w->tailed[1] && !call(w, "whole", 1));
    CHECK(!cno_consume(&w->c, "\r\n", 2));
    CHECK(in_use < 4096);
    unwatch(w);
    CHECK(in_use == 0);
    cno_set_allocator(NULL);
    wire_free(&frame);
    wire_free(&body);
}

int main(void) {
    test_n1_answered_in_an_event();
    test_n2_head_octet_by_octet();
    test_n13_the_last_id();
    test_n17_buffers_shrink();
    return finish();
}
