// What a peer can make a connection keep or do, in figures: memory, output, reads of one octet. Nothing
// here is timed: octets, blocks and places are counted. The floods themselves are in tests/vectors.
#include "batch.h"
#include "config.h"
#include "core.h"
#include "check.h"
#include "counting.h"
#include "wire.h"

// ---- a server that answers at once, or not -----------------------------------------------------

struct site {
    struct cno_connection_t c;
    size_t out, largest;  // octets written, and by one event
    size_t heads, ends, faults;
    int answers;
};

static int on_writev(void *data, const struct cno_buffer_t *pieces, size_t count) {
    struct site *s = data;
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += pieces[i].size;
    s->out += size;
    s->largest = size > s->largest ? size : s->largest;
    return 0;
}

static int on_head(void *data, uint32_t id, const struct cno_message_t *msg) {
    struct site *s = data;
    struct cno_message_t answer = {.code = 204};
    (void)msg;
    s->heads++;
    return s->answers ? cno_write_head(&s->c, id, &answer, 1) : 0;
}

static int on_end(void *data, uint32_t id, uint32_t code, enum CNO_PEER_KIND side) {
    (void)id, (void)code, (void)side;
    ((struct site *)data)->ends++;
    return 0;
}

static int on_fault(void *data, uint32_t id, const struct cno_error_t *error) {
    (void)id, (void)error;
    ((struct site *)data)->faults++;
    return 0;
}

static const struct cno_vtable_t EVENTS = {
    .on_writev = on_writev,
    .on_message_head = on_head,
    .on_stream_end = on_end,
    .on_fault = on_fault,
};

static int feed(struct site *s, const char *lines) {
    struct wire w = {0};
    char line[512];
    for (size_t size; *lines; lines += size + (lines[size] == ';')) {
        size = strcspn(lines, ";");
        snprintf(line, sizeof(line), "%.*s", (int)size, lines);
        wire_frame(&w, line);
    }
    int result = cno_consume(&s->c, w.data, w.size);
    wire_free(&w);
    return result;
}

static struct site *site(int http2, const char *settings) {
    struct site *s = calloc(1, sizeof(*s));
    char hello[128];
    cno_init(&s->c, CNO_SERVER);
    s->c.cb_code = &EVENTS;
    s->c.cb_data = s;
    CHECK(!cno_begin(&s->c, http2 ? CNO_HTTP2 : CNO_HTTP1));
    snprintf(hello, sizeof(hello), "PREFACE;SETTINGS 0 - %s;SETTINGS 0 ACK", settings);
    CHECK(!http2 || !feed(s, hello));
    s->out = 0;
    return s;
}

static void leave(struct site *s) {
    cno_fini(&s->c);
    free(s);
}

// ---- budgets that an honest peer never empties -------------------------------------------------

// A download whose every frame is acknowledged on the stream and on the connection.
static void test_download(void) {
    struct site *s = site(1, "s:4=2147483647");
    struct cno_message_t msg = {.code = 200};
    static char body[262144];
    CHECK(!feed(s, "WINDOW_UPDATE 0 - u32:2147418112;HEADERS 1 END_STREAM|END_HEADERS @get"));
    CHECK(!cno_write_head(&s->c, 1, &msg, 0));
    for (int i = 0; i < 1000 && !s->faults; i++) {
        CHECK(cno_write_data(&s->c, 1, body, sizeof(body), 0) == sizeof(body));
        for (int frame = 0; frame < 16; frame++)
            CHECK(!feed(s, "WINDOW_UPDATE 1 - u32:16384;WINDOW_UPDATE 0 - u32:16384"));
    }
    CHECK(!s->faults);
    leave(s);
}

// An upload refills what the PINGs of its sender spend, however its octets are cut.
static void test_upload(void) {
    struct site *s = site(1, "");
    struct wire w = {0};
    CHECK(!feed(s, "HEADERS 1 END_HEADERS @post"));
    wire_frame(&w, "DATA 1 - 1000*t:x");
    wire_frame(&w, "PING 0 - t:12345678");
    for (int i = 0; i < 11000 && !s->faults; i++)
        for (size_t at = 0; at < w.size; at += 100)
            if (cno_consume(&s->c, w.data + at, w.size - at < 100 ? w.size - at : 100))
                s->faults++;
    CHECK(!s->faults);
    wire_free(&w);
    leave(s);
}

// ---- memory ------------------------------------------------------------------------------------

// Streams that begin and end within one read are not kept until its end.
static void test_streams_of_one_read(void) {
    struct wire w = {0};
    wire_frame(&w, "HEADERS 1 END_STREAM|END_HEADERS +:method=GET +:scheme=http +:path=/ "
                   "+:authority=h");
    for (unsigned id = 3; id < 20000; id += 2) {
        char line[80];
        snprintf(line, sizeof(line), "HEADERS %u END_STREAM|END_HEADERS x:bebfc0c1", id);
        wire_frame(&w, line);
    }
    cno_set_allocator(&COUNTING);
    struct site *s = site(1, "");
    s->answers = 1;
    most_in_use = in_use;
    CHECK(!cno_consume(&s->c, w.data, w.size) && s->ends == 10000);
    CHECK(most_in_use < 4096);
    leave(s);
    CHECK(in_use == 0);
    cno_set_allocator(NULL);
    wire_free(&w);
}

// Nothing of a head is kept behind its event: the HTTP/2 bomb of 2026 pins what was decoded.
static void test_large_heads(void) {
    static const char *const blocks[] = {
        "HEADERS 1 END_STREAM|END_HEADERS @get 124*a=b",
        "HEADERS 1 END_STREAM|END_HEADERS @get 900*a=b",
        "HEADERS 1 END_STREAM|END_HEADERS @get +cookie=a 900*x:be",
        // A Huffman string of 12000 octets, decoded to 19200.
        "HEADERS 1 END_STREAM|END_HEADERS @get x:000161ffe15c 12000*x:00",
        "HEADERS 1 END_STREAM @get a={1*x} x:000161ff817c 16000*x:00;CONTINUATION 1 END_HEADERS",
    };
    cno_set_allocator(&COUNTING);
    for (size_t i = 0; i < sizeof(blocks) / sizeof(*blocks); i++) {
        struct site *s = site(1, "s:4=0");
        CHECK(!feed(s, blocks[i]));
        CHECK(!feed(s, "PING 0 - u32:0 u32:0"));
        CHECK(s->heads + s->ends == 1 && in_use < 2048);
        leave(s);
    }
    struct site *s = site(0, "");
    struct wire w = {0};
    size_t mark;
    const char *head = "GET / HTTP/1.1\\r\\nHost: h\\r\\na: {40000*x}\\r\\n\\r\\n";
    wire_text(&w, head, strlen(head), &mark);
    CHECK(!cno_consume(&s->c, w.data, w.size) && s->heads == 1 && in_use < 2048);
    wire_free(&w);
    leave(s);
    CHECK(in_use == 0);
    cno_set_allocator(NULL);
}

// The HTTP/2 bomb of 2026 on every stream at once, with windows of 0 to pin it: streams cost what they
// cost without fields. And a stream that has ended costs nothing.
static void test_open_streams(void) {
    struct wire w = {0};
    wire_frame(&w, "HEADERS 1 END_STREAM|END_HEADERS @get +cookie=a 123*x:be");
    for (unsigned id = 3; id < 200; id += 2) {
        char line[80];
        snprintf(line, sizeof(line), "HEADERS %u END_STREAM|END_HEADERS @get 124*x:be", id);
        wire_frame(&w, line);
    }
    cno_set_allocator(&COUNTING);
    struct site *s = site(1, "s:4=0");
    size_t before = in_use;
    struct cno_message_t msg = {.code = 200};
    CHECK(!cno_consume(&s->c, w.data, w.size) && s->heads == 100);
    for (uint32_t id = 1; id < 200; id += 2)
        CHECK(!cno_write_head(&s->c, id, &msg, 0) && !cno_write_data(&s->c, id, "hello", 5, 1));
    CHECK(in_use - before < 100 * 96);
    for (uint32_t id = 1; id < 200; id += 2)
        CHECK(!cno_write_reset(&s->c, id, CNO_RST_CANCEL));
    CHECK(s->ends == 100 && in_use - before < 1024);
    leave(s);
    CHECK(in_use == 0);
    cno_set_allocator(NULL);
    wire_free(&w);
}

// ---- output ------------------------------------------------------------------------------------

// PING flood of a peer that does not read (CVE-2019-9512): the engine hands everything over at once and
// keeps nothing; a batch stops reading until its output is taken.
static void test_unread_replies(void) {
    struct wire w = {0}, hello = {0};
    wire_frame(&w, "RAW 1000*x:0000080600000000000000000000000000");
    wire_frame(&hello, "PREFACE");
    wire_frame(&hello, "SETTINGS 0 -");
    wire_frame(&hello, "SETTINGS 0 ACK");
    struct cno_limits_t limits = {.overhead = 65535};
    cno_set_allocator(&COUNTING);
    struct site *s = site(1, "");
    for (int i = 0; i < 9; i++)
        CHECK(!cno_consume(&s->c, w.data, w.size) && !s->c.out.size && in_use < 2048);
    CHECK(s->out == 9 * w.size && s->largest == w.size);
    leave(s);

    struct cno_batch_t *b = cno_batch_new(CNO_SERVER, 0);
    CHECK(!cno_limit(&b->conn, &limits) && !cno_begin(&b->conn, CNO_HTTP2));
    CHECK(cno_batch_consume(b, hello.data, hello.size) >= 0);
    int reads = 0;
    while (reads < 60 && cno_batch_consume(b, w.data, w.size) >= 0)
        reads++;
    CHECK(cno_error()->code == CNO_ERRNO_WOULD_BLOCK &&
          !strcmp(cno_error()->reason, "output-full"));
    CHECK(b->out_size <= CNO_MAX_QUEUED_REPLIES + w.size && reads == 16);
    // What the caller itself wants to send is no reply.
    b->out_size = 0;
    CHECK(cno_batch_consume(b, w.data, w.size) >= 0 && b->out_size == w.size);
    cno_batch_free(b);
    CHECK(in_use == 0);
    cno_set_allocator(NULL);
    wire_free(&w);
    wire_free(&hello);
}

// ---- reads of one octet ------------------------------------------------------------------------

// Nothing that was looked at is looked at again, and what is kept is copied a few times at most: each
// octet of a head, a chunk line, a trailer section or a frame costs the same however long it is.
static void one_octet_reads(int http2, const char *before, const char *input, int scanned) {
    struct wire w = {0};
    size_t mark;
    cno_set_allocator(&COUNTING);
    struct site *s = site(http2, "");
    if (http2)
        wire_frame(&w, input);
    else
        wire_text(&w, input, strlen(input), &mark);
    CHECK(!cno_consume(&s->c, before, strlen(before)));
    moved = resizes = 0;
    for (size_t i = 0; i < w.size; i++) {
        CHECK(!cno_consume(&s->c, w.data + i, 1));
        if (scanned && !CHECK(s->c.in.size == i + 1 && s->c.head_scanned == i + 1))
            break;
    }
    CHECK(moved <= 2 * w.size && resizes <= 24);
    leave(s);
    cno_set_allocator(NULL);
    wire_free(&w);
}

static void test_one_octet_reads(void) {
    static const char GET[] = "GET / HTTP/1.1\r\nHost: h\r\n";
    static const char POST[] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    one_octet_reads(0, "", "GET /{8100*a}", 1);
    one_octet_reads(0, "", "GET / HTTP/1.1\\r\\nHost: h\\r\\n{5000*abc: 012345\\r\\n}", 1);
    one_octet_reads(0, "", "GET / HTTP/1.1\\r\\nHost: h\\r\\na: {65000*b}", 1);
    one_octet_reads(0, GET, "{65000*a}", 0);
    one_octet_reads(0, POST, "1;{4000*a}", 1);
    one_octet_reads(0, POST, "0\\r\\n{8000*a}", 0);
    one_octet_reads(1, "", "HEADERS 1 END_STREAM|END_HEADERS @get 100*a=0123456789", 0);
    one_octet_reads(1, "", "0x77 0 - 16384*x:00", 0);
    // A body is not even kept.
    one_octet_reads(0, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 65000\r\n\r\n", "{65000*a}",
                    0);
    struct site *s = site(1, "");
    struct wire w = {0};
    wire_frame(&w, "HEADERS 1 END_HEADERS @post");
    wire_frame(&w, "DATA 1 PADDED u8:255 15000*t:x 255*x:00");
    size_t kept = 0;
    for (size_t i = 0; i < w.size; i++) {
        CHECK(!cno_consume(&s->c, w.data + i, 1));
        kept = i > 100 && s->c.in.size > kept ? s->c.in.size : kept;
    }
    CHECK(kept == 0 && s->out == 0);
    leave(s);
    wire_free(&w);
}

// ---- limits that can be changed ----------------------------------------------------------------

static void test_limits(void) {
    struct cno_connection_t c;
    uint32_t before[sizeof(struct cno_limits_t) / 4], with[sizeof(before) / 4];
    static const uint32_t outside[][2] = {{3, 513},      {15, 1u << 31}, {63, 1u << 31},
                                          {0, 1u << 31}, {0, 1u << 31},  {65534, 1u << 31},
                                          {0, 1u << 31}, {0, 65536},     {0, 65536}};
    struct cno_limits_t limits;
    cno_init(&c, CNO_SERVER);
    memcpy(before, &c.limits, sizeof(before));
    for (size_t i = 0; i < sizeof(before) / 4; i++) {
        for (int k = 0; k < 4; k++) {
            // Below, above, and the ends of the range; of 0 nothing comes.
            memset(with, 0, sizeof(with));
            with[i] = outside[i][k & 1] + (k == 2 ? 1 : 0) - (k == 3 ? 1 : 0);
            memcpy(&limits, with, sizeof(with));
            int result = cno_limit(&c, &limits);
            CHECK(k < 2 && with[i]
                      ? result == CNO_ERROR && !strcmp(cno_error()->reason, "bad-limit")
                      : result == CNO_OK);
        }
    }
    CHECK(c.limits.fields == 512 && c.limits.overhead == 65535 && c.budget_overhead == 65535);
    limits = (struct cno_limits_t){.resets = 7};
    CHECK(!cno_limit(&c, &limits) && c.limits.fields == 512 && c.budget_resets == 7);
    CHECK(!cno_begin(&c, CNO_HTTP1));
    CHECK(cno_limit(&c, &limits) == CNO_ERROR && cno_error()->code == CNO_ERRNO_ASSERTION);
    cno_fini(&c);
}

int main(void) {
    test_open_streams();
    test_unread_replies();
    test_one_octet_reads();
    test_limits();
    test_download();
    test_upload();
    test_streams_of_one_read();
    test_large_heads();
    return finish();
}
