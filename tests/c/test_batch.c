// Tests of batch.c as a gateway uses it: what a request looks like in the arena, what an answer gets by
// itself, and calls with fields that are none. What the interpreter makes of the arena is tests/engine/test_raw.py's.
#include "batching.h"

#define H1(target, fields) "GET " target " HTTP/1.1\\r\\nHost: h\\r\\n" fields "\\r\\n"

static int holds(const char *data, size_t size, const char *part, size_t part_size) {
    for (size_t i = 0; i + part_size <= size; i++)
        if (!memcmp(data + i, part, part_size))
            return 1;
    return 0;
}

#define TELLS(b, part) holds((b)->events, (b)->events_size, part, sizeof(part) - 1)
#define SENDS(b, part) holds((b)->out, (b)->out_size, part, sizeof(part) - 1)

// The target as it was, the path decoded once, the query; `path` in the way that its type is written.
static void test_targets(void) {
    static const struct {
        const char *target, *expected;
        size_t size;
    } all[] = {{"/", "s\1\0\0\0/z\1/s\0\0\0\0", 14},
               {"/a%20b%2Fc?q=%41?", "s\12\0\0\0/a%20b%2Fcz\6/a b/cs\6\0\0\0q=%41?", 34},
               {"/%c3%a9", "s\7\0\0\0/%c3%a9u\3\0\0\0/\xc3\xa9s\0\0\0\0", 25},
               {"/%ff", "s\4\0\0\0/%ffs\2\0\0\0/\xff", 16},
               {"/%4/%zz/%2z%", "z\14/%4/%zz/%2z%", 14},
               {"http://h/p", "s\2\0\0\0/pz\2/ps\0\0\0\0", 16},
               {"https://h?x", "s\1\0\0\0/z\1/s\1\0\0\0x", 15},
               {"http://h", "s\1\0\0\0/z\1/s\0\0\0\0", 14}};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        struct cno_batch_t *b = start(0, CNO_BATCH_GATEWAY);
        char request[200];
        snprintf(request, sizeof(request), H1("%s", ""), all[i].target);
        CHECK(feed(b, request) > 0);
        CHECK(holds(b->events, b->events_size, all[i].expected, all[i].size));
        cno_batch_free(b);
    }
    // An escape that takes more room than the stack has.
    struct cno_batch_t *b = start(1, CNO_BATCH_GATEWAY);
    CHECK(feed(b, "PREFACE;SETTINGS 0 -") > 0);
    CHECK(feed(b, "HEADERS 1 END_STREAM|END_HEADERS :method=get :scheme=http :authority=h "
                  ":path=/%41{9000*x}") > 0);
    CHECK(TELLS(b, "/Axxx") && TELLS(b, "z\3GET"));
    cno_batch_free(b);
}

static void test_fields(void) {
    struct cno_batch_t *b = start(1, CNO_BATCH_GATEWAY);
    CHECK(feed(b, "PREFACE;SETTINGS 0 -") > 0);
    CHECK(feed(b, "HEADERS 1 END_STREAM|END_HEADERS @get host=h cookie=a=1 x=y cookie=b") > 0);
    CHECK(TELLS(b, "s\4\0\0\0hosts\1\0\0\0h") && TELLS(b, "s\6\0\0\0cookies\6\0\0\0a=1; b"));
    CHECK(!TELLS(b, ":scheme") && !TELLS(b, ":authority"));
    CHECK(feed(b, "HEADERS 3 END_STREAM|END_HEADERS :method=GET :scheme=http :path=/ host=i") > 0);
    CHECK(TELLS(b, "s\4\0\0\0hosts\1\0\0\0i"));
    cno_batch_free(b);

    b = start(0, CNO_BATCH_GATEWAY);
    CHECK(feed(b, H1("/", "Cookie: a\\r\\nCookie: b\\r\\n")) > 0);
    CHECK(TELLS(b, "s\6\0\0\0cookies\1\0\0\0a") && TELLS(b, "s\6\0\0\0cookies\1\0\0\0b"));
    cno_batch_free(b);

    b = start(0, CNO_BATCH_GATEWAY);
    CHECK(feed(b, "GET / HTTP/1.0\\r\\n\\r\\n") > 0 && !TELLS(b, "host"));
    cno_batch_free(b);
}

// A gateway opens no tunnels and is told of CONNECT as of a fault; without that flag, CONNECT is a
// request like any other.
static void test_connect(void) {
    static const char connect[] = "CONNECT h:80 HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n";
    struct cno_batch_t *b = start(0, CNO_BATCH_GATEWAY);
    CHECK(feed(b, connect) >= 0 && SENDS(b, "HTTP/1.1 501 ") && SENDS(b, "connection: close"));
    CHECK(TELLS(b, "no-tunnels") && !TELLS(b, ":authority") && TELLS(b, "CONNECT"));
    cno_batch_free(b);
    b = start(0, 0);
    CHECK(feed(b, connect) > 0 && TELLS(b, "CONNECT") && TELLS(b, ":authority") && !b->out_size);
    cno_batch_free(b);
}

// ---- answers -----------------------------------------------------------------------------------

#define TYPE ")\2s\14\0\0\0Content-Types\1\0\0\0t"
#define SIZED ")\2s\16\0\0\0Content-Lengths\1\0\0\0002"
#define SUM ")\2s\5\0\0\0X-Sums\1\0\0\0t"

static int answer(struct cno_batch_t *b, int code, const char *fields, size_t size,
                  long long total) {
    b->out_size = 0;
    return cno_batch_answer(b, 1, code, fields, size, "hi",
                            total < 0 || total > 2 ? 2 : (size_t)total, total);
}

static void test_lengths(void) {
    static const struct {
        int code;
        long long total;
        const char *expected;
    } all[] = {{200, 2, "content-length: 2\r\n"},           {200, 0, "content-length: 0\r\n"},
               {200, 12345, "content-length: 12345"},       {200, -1, "transfer-encoding: chunked"},
               {204, 0, "HTTP/1.1 204 No Content\r\n\r\n"}, {304, 0, "304 Not Modified\r\n\r\n"}};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        struct cno_batch_t *b = start(0, CNO_BATCH_GATEWAY);
        CHECK(feed(b, H1("/", "")) > 0);
        CHECK(answer(b, all[i].code, NULL, 0, all[i].total) >= 0);
        CHECK(holds(b->out, b->out_size, all[i].expected, strlen(all[i].expected)));
        cno_batch_free(b);
    }
    struct cno_batch_t *b = start(0, CNO_BATCH_GATEWAY);
    CHECK(feed(b, H1("/", "")) > 0 && answer(b, 200, LIST("\1", SIZED), 2) == 2);
    CHECK(SENDS(b, "Content-Length: 2\r\n\r\nhi"));
    cno_batch_free(b);
}

static void test_defaults(void) {
    struct cno_defaults_t *defaults = cno_defaults_new();
    CHECK(!cno_defaults_set(defaults, LIST("\2", ")\2s\6\0\0\0servers\1\0\0\0x"
                                                 ")\2s\14\0\0\0content-types\1\0\0\0d")));
    for (int http2 = 0; http2 < 2; http2++) {
        struct cno_batch_t *b = start(http2, CNO_BATCH_GATEWAY);
        b->defaults = defaults;
        CHECK(feed(b, http2 ? "PREFACE;SETTINGS 0 -;HEADERS 1 END_STREAM|END_HEADERS @get"
                            : H1("/", "")) > 0);
        CHECK(answer(b, 200, LIST("\1", TYPE), 2) == 2);
        CHECK(http2 || (SENDS(b, "server: x\r\nContent-Type: t\r\ncontent-length: 2\r\n")));
        cno_batch_free(b);
    }
    // Fields that cannot be sent leave the old ones in place.
    CHECK(cno_defaults_set(defaults, LIST("\1", ")\2s\1\0\0\0As\1\0\0\0x")) == CNO_ERROR);
    CHECK(cno_defaults_set(defaults, LIST("\1", ")\2s\2\0\0\0:as\1\0\0\0x")) == CNO_ERROR);
    CHECK(cno_defaults_set(defaults, LIST("\1", ")\2s\1\0\0\0as\1\0\0\0\n")) == CNO_ERROR);
    CHECK(cno_defaults_set(defaults, LIST("\21", "")) == CNO_ERROR);
    CHECK(cno_defaults_set(defaults, "N", 1) == CNO_ERROR);
    struct cno_batch_t *b = start(0, CNO_BATCH_GATEWAY);
    b->defaults = defaults;
    CHECK(feed(b, H1("/", "")) > 0 && answer(b, 200, NULL, 0, 2) == 2 && SENDS(b, "server: x"));
    cno_batch_free(b);
    cno_defaults_free(defaults);
    cno_defaults_free(NULL);
    cno_batch_free(NULL);
}

// ---- what the engine refuses by itself ---------------------------------------------------------

// Whether the only HEADERS frame in the output has this field.
static int sends_field(const struct cno_batch_t *b, const char *name, const char *value) {
    struct cno_header_t list[16];
    struct cno_hpack_fields_t fields = {list, 16, 4096, 0, 0};
    struct cno_hpack_t table;
    int found = 0;
    cno_hpack_init(&table, 4096);
    for (size_t at = 0; at < b->out_size;) {
        const unsigned char *u = (const unsigned char *)b->out + at;
        size_t size = (size_t)u[0] << 16 | (size_t)u[1] << 8 | u[2];
        if (u[3] == 1)
            CHECK(!cno_hpack_decode(&table, (struct cno_buffer_t){b->out + at + 9, size}, &fields));
        at += 9 + size;
    }
    for (size_t i = 0; i < fields.count; i++)
        found += wire_is(list[i].name.data, list[i].name.size, name) &&
                 wire_is(list[i].value.data, list[i].value.size, value);
    cno_hpack_fini(&table);
    return found == 1;
}

#define DATE(value) \
    LIST("\2", ")\2s\4\0\0\0dates\1\0\0\0" value ")\2s\14\0\0\0content-types\1\0\0\0t")

// Whether FAULT ends with this method and this target, or, with NULL, with None and None.
static int tells_request(const struct cno_batch_t *b, const char *method, const char *target) {
    char part[64];
    if (!method)
        return TELLS(b, "NN");
    size_t size = (size_t)snprintf(part, sizeof(part), "%c%ss%c", (char)strlen(method), method,
                                   (char)strlen(target));
    if (!*method)
        part[0] = 0, size = 2, part[1] = 's', part[size++] = (char)strlen(target);
    memset(part + size, 0, 3);
    memcpy(part + size + 3, target, strlen(target));
    return holds(b->events, b->events_size, part, size + 3 + strlen(target));
}

static void test_refusals(void) {
    static const struct {
        const char *input, *status, *method, *target;
    } all[] = {
        {"GET /a HTTP/1.1\\r\\n\\r\\n", "HTTP/1.1 400 ", "GET", "/a"},
        {"HEAD /a HTTP/1.1\\r\\n\\r\\n", "HTTP/1.1 400 ", "HEAD", "/a"},
        {"GET /a\\x80 HTTP/1.1\\r\\n\\r\\n", "HTTP/1.1 400 ", "GET", ""},
        {"G(T /a HTTP/1.1\\r\\n\\r\\n", "HTTP/1.1 400 ", "", ""},
        {"{6*\\r\\n}", "HTTP/1.1 400 ", NULL, NULL},
        {"GET /{8184*a} HTTP/1.1", "HTTP/1.1 414 ", "GET", "/aaa"},
        {"GET /a HTTP/1.1\\r\\n{200*x: y\\r\\n}\\r\\n", "HTTP/1.1 431 ", "GET", "/a"},
        {"GET /a HTTP/2.0\\r\\n\\r\\n", "HTTP/1.1 505 ", "GET", "/a"},
        {"GET /a HTTP/1.1\\r\\nHost: h\\r\\nTransfer-Encoding: x\\r\\n\\r\\n", "HTTP/1.1 501 ",
         "GET", "/a"},
        {"POST /a HTTP/1.1\\r\\nHost: h\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nx\\r\\n",
         "HTTP/1.1 400 ", NULL, NULL},
    };
    struct cno_defaults_t *defaults = cno_defaults_new();
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        CHECK(!cno_defaults_set(defaults, DATE("1")));
        struct cno_batch_t *b = start(0, CNO_BATCH_GATEWAY);
        b->defaults = defaults;
        feed(b, "");
        CHECK(!cno_defaults_set(defaults, DATE("2")));
        feed(b, all[i].input);
        CHECK(holds(b->out, b->out_size, all[i].status, strlen(all[i].status)));
        CHECK(SENDS(b, "\r\ndate: 2\r\n") && SENDS(b, "content-type: text/plain\r\n"));
        CHECK(!SENDS(b, "content-type: t\r\n") && SENDS(b, "\r\nconnection: close\r\n\r\n"));
        CHECK(tells_request(b, all[i].method, all[i].target) ||
              (!strcmp(all[i].target, "/aaa") && TELLS(b, "\3GETs\371\037\0\0/aaa")));
        cno_batch_free(b);
    }
    struct cno_batch_t *b = start(0, CNO_BATCH_GATEWAY);
    b->defaults = defaults;
    feed(b, "CONNECT h:1 HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n");
    CHECK(SENDS(b, "HTTP/1.1 501 ") && SENDS(b, "date: 2\r\n") && TELLS(b, "no-tunnels"));
    cno_batch_free(b);
    b = start(1, CNO_BATCH_GATEWAY);
    b->defaults = defaults;
    CHECK(feed(b, "PREFACE;SETTINGS 0 -;HEADERS 1 END_STREAM|END_HEADERS @get 200*x=y") > 0);
    CHECK(tells_request(b, "GET", "/") && sends_field(b, ":status", "431"));
    CHECK(sends_field(b, "date", "2") && !sends_field(b, "content-type", "t"));
    CHECK(feed(b, "HEADERS 3 END_STREAM|END_HEADERS :method=GET :scheme=http :path=x") > 0);
    CHECK(tells_request(b, "GET", "x"));
    CHECK(feed(b, "HEADERS 5 END_HEADERS @post content-length=2") > 0);
    CHECK(feed(b, "DATA 5 END_STREAM t:x") > 0 && tells_request(b, NULL, NULL));
    cno_batch_free(b);
    b = start(1, CNO_BATCH_GATEWAY);
    b->defaults = defaults;
    CHECK(feed(b, "PREFACE;SETTINGS 0 -;HEADERS 1 END_HEADERS :method=CONNECT :authority=h:1") >=
          0);
    CHECK(sends_field(b, ":status", "501") && sends_field(b, "date", "2"));
    cno_batch_free(b);
    cno_defaults_free(defaults);
}

static int refused(int result) {
    return result == CNO_ERROR && cno_error()->code == CNO_ERRNO_ASSERTION;
}

// What is not a list of pairs of bytes is refused in every call, and the stream is as it was.
static void test_wrong_fields(void) {
    struct cno_batch_t *b = start(1, 0);
    CHECK(feed(b, "PREFACE;SETTINGS 0 -;HEADERS 1 END_STREAM|END_HEADERS @get") > 0);
    CHECK(refused(answer(b, 200, "N", 1, 2)));
    CHECK(refused(cno_batch_head(b, 1, 200, "", 0, "", 0, "[\1\0\0\0N", 6, 1)));
    CHECK(refused(cno_batch_message(b, 1, 200, "", 0, "", 0, "N", 1, "hello", 5, 1)));
    CHECK(refused(cno_batch_push(b, 1, "GET", 3, "/", 1, "N", 1)));
    CHECK(!cno_batch_head(b, 1, 200, "", 0, "", 0, NULL, 0, 0));
    CHECK(refused(cno_batch_tail(b, 1, "N", 1)) && !cno_batch_tail(b, 1, LIST("\1", SUM)));
    cno_batch_free(b);
}

static void test_whole_messages(void) {
    struct cno_batch_t *b = start(1, 0);
    CHECK(feed(b, "PREFACE;SETTINGS 0 -;HEADERS 1 END_STREAM|END_HEADERS @get") > 0);
    CHECK(cno_batch_message(b, 1, 200, "", 0, "", 0, LIST("\1", ")\2s\1\0\0\0as\1\0\0\0b"), "hello",
                            5, 1) == 5);
    CHECK(cno_batch_message(b, 1, 200, "", 0, "", 0, NULL, 0, "hello", 5, 1) == CNO_ERROR);
    CHECK(cno_error()->code == CNO_ERRNO_INVALID_STREAM);
    cno_batch_free(b);
}

int main(void) {
    test_targets();
    test_fields();
    test_connect();
    test_lengths();
    test_defaults();
    test_refusals();
    test_wrong_fields();
    test_whole_messages();
    return finish();
}
