// Tests of cno_batch_lend: the output, with the views of the body in their places, is what cno_write_data
// would have written, and a call that fails leaves neither output nor views.
#include "batching.h"
#include "config.h"

#define LENGTH(size) ")\2s\16\0\0\0content-lengths\4\0\0\0" size
#define GET "GET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n"
#define SETUP2 "PREFACE;SETTINGS 0 - s:4=1000000;WINDOW_UPDATE 0 - u32:1000000;"
#define PING "PING 0 - t:12345678;"
#define PINGS PING PING PING PING PING PING PING PING
#define GET2 "HEADERS 1 END_STREAM|END_HEADERS @get"

// A response whose body is given in parts of equal size; the last part is smaller.
struct lent {
    const char *input, *fields;  // `input` begins with PREFACE on HTTP/2
    size_t fields_size, size, part;
    int final;
    size_t room, views;  // room for views in each call, and the views that all calls note
};

static struct cno_batch_t *begin_response(const struct lent *l, int code) {
    struct cno_batch_t *b = start(!memcmp(l->input, "PREFACE", 7), 0);
    CHECK(feed(b, l->input) > 0);
    CHECK(!cno_batch_head(b, 1, code, "", 0, "", 0, l->fields, l->fields_size, 0));
    return b;
}

// A body in memory of its own, so that a sanitizer sees an access beyond it.
static char *make_body(size_t size) {
    char *body = malloc(size + !size);
    for (size_t i = 0; i < size; i++)
        body[i] = (char)(i % 251);
    return body;
}

// Appends the output with the parts of the body in their places. Both must be in order and in bounds.
static void put_together(struct wire *w, const struct cno_batch_t *b, const char *body, size_t size,
                         const struct cno_view_t *views, size_t count) {
    size_t done = 0;
    for (size_t i = 0; i < count; i++) {
        struct cno_view_t v = views[i];
        if (!CHECK(v.at >= done && v.at <= b->out_size && v.size && v.offset < size &&
                   v.size <= size - v.offset))
            return;
        wire_put(w, b->out + done, v.at - done);
        wire_put(w, body + v.offset, v.size);
        done = v.at;
    }
    wire_put(w, b->out + done, b->out_size - done);
}

static int is_same(const char *a, size_t a_size, const char *b, size_t b_size) {
    return a_size == b_size && (!a_size || !memcmp(a, b, a_size));
}

// Lends one part on `b` and writes it on `a`, with the same result, output and events. The output is taken.
static int lend_part(struct cno_batch_t *a, struct cno_batch_t *b, const char *part, size_t size,
                     int final, size_t room, size_t *noted) {
    struct cno_view_t views[64];
    struct wire w = {0};
    int written = cno_write_data(&a->conn, 1, part, size, final);
    int taken = cno_batch_lend(b, 1, part, size, final, views, &room);
    CHECK(taken == written && !b->loan);
    put_together(&w, b, part, size, views, room);
    CHECK(is_same(w.data, w.size, a->out, a->out_size));
    CHECK(is_same(a->events, a->events_size, b->events, b->events_size));
    a->out_size = b->out_size = 0;
    *noted += room;
    wire_free(&w);
    return taken;
}

static void test_lending(void) {
    static const struct lent all[] = {
        {GET, LIST("\1", LENGTH("5000")), 5000, 5000, 1, 4, 1},
        {GET, LIST("\1", LENGTH("5000")), 5000, 1999, 1, 4, 3},
        {GET, LIST("\1", LENGTH("5000")), 5000, 1999, 1, 0, 0},
        {GET, LIST("\1", LENGTH("0000")), 0, 1, 1, 4, 0},
        {GET, NULL, 0, 70000, 70000, 1, 4, 1},
        {GET, NULL, 0, 3, 1, 1, 4, 3},
        {GET, NULL, 0, 3, 1, 0, 4, 3},
        {GET, NULL, 0, 0, 1, 1, 4, 0},
        {GET, NULL, 0, 0, 1, 0, 4, 0},
        {"GET / HTTP/1.0\\r\\n\\r\\n", NULL, 0, 5000, 1999, 1, 4, 3},
        {"GET / HTTP/1.0\\r\\n\\r\\n", NULL, 0, 0, 1, 1, 4, 0},
        {"HEAD / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n", LIST("\1", LENGTH("5000")), 5000, 1999, 1, 4,
         0},
        {"HEAD / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n", NULL, 0, 5000, 5000, 0, 4, 0},
        {SETUP2 GET2, LIST("\1", LENGTH("5000")), 5000, 5000, 1, 4, 1},
        {SETUP2 GET2, NULL, 0, 40000, 40000, 1, 64, 3},
        {SETUP2 GET2, NULL, 0, 40000, 40000, 0, 2, 2},
        {SETUP2 GET2, NULL, 0, 40000, 40000, 1, 0, 0},
        {SETUP2 GET2, NULL, 0, 32768, 32768, 1, 64, 2},
        {SETUP2 GET2, NULL, 0, 600000, 600000, 1, 64, 37},
        {SETUP2 GET2, NULL, 0, 600000, 600000, 1, 17, 17},
        {SETUP2 GET2, NULL, 0, 3073, 1025, 1, 4, 2},
        {SETUP2 GET2, NULL, 0, 0, 1, 1, 4, 0},
        {SETUP2 GET2, NULL, 0, 0, 1, 0, 4, 0},
        {SETUP2 PING GET2, NULL, 0, 5000, 1999, 1, 4, 2},
        {SETUP2 "SETTINGS 0 - s:5=20000;" GET2, NULL, 0, 40000, 40000, 1, 4, 2},
        {SETUP2 "HEADERS 1 END_STREAM|END_HEADERS :method=HEAD :scheme=http :path=/ :authority=h",
         LIST("\1", LENGTH("5000")), 5000, 1999, 1, 4, 0},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        const struct lent *l = &all[i];
        struct cno_batch_t *a = begin_response(l, 200), *b = begin_response(l, 200);
        size_t noted = 0, at = 0, size;
        do {
            char *part = make_body(size = l->size - at < l->part ? l->size - at : l->part);
            at += size;
            CHECK(lend_part(a, b, part, size, l->final && at == l->size, l->room, &noted) ==
                  (int)size);
            free(part);
        } while (at < l->size);
        if (!CHECK(noted == l->views))
            printf("case %zu: %zu views\n", i, noted);
        // The stream is gone after the whole response, and goes on after a part.
        CHECK((cno_batch_lend(b, 1, "", 0, 0, NULL, &(size_t){0}) == CNO_ERROR) == l->final);
        cno_batch_free(a);
        cno_batch_free(b);
    }
}

// A body that the window cuts: `final` does not apply, and an empty window takes nothing.
static void test_windows(void) {
    static const struct lent l = {"PREFACE;SETTINGS 0 -;" GET2, NULL, 0, 100000, 0, 1, 64, 5};
    struct cno_batch_t *a = begin_response(&l, 200), *b = begin_response(&l, 200);
    char *body = make_body(l.size);
    size_t noted = 0;
    CHECK(lend_part(a, b, body, l.size, 1, 64, &noted) == 65535 && noted == 4);
    CHECK(lend_part(a, b, body + 65535, 34465, 1, 64, &noted) == 0 && noted == 4);
    CHECK(feed(a, "WINDOW_UPDATE 0 - u32:2000;WINDOW_UPDATE 1 - u32:90000") > 0);
    CHECK(feed(b, "WINDOW_UPDATE 0 - u32:2000;WINDOW_UPDATE 1 - u32:90000") > 0);
    CHECK(lend_part(a, b, body + 65535, 34465, 1, 64, &noted) == 2000 && noted == 5);
    free(body);
    cno_batch_free(a);
    cno_batch_free(b);
}

// Calls that the engine refuses write nothing, and the output of before stays.
static void test_refused(void) {
    static const struct {
        struct lent l;
        uint32_t stream;
        size_t size;
        int final, code;
    } all[] = {
        {{GET, LIST("\1", LENGTH("5000")), 0, 0, 0, 0, 0}, 1, 4999, 1, CNO_ERRNO_ASSERTION},
        {{GET, LIST("\1", LENGTH("5000")), 0, 0, 0, 0, 0}, 1, 5001, 0, CNO_ERRNO_ASSERTION},
        {{GET, LIST("\1", LENGTH("5000")), 0, 0, 0, 0, 0}, 3, 5000, 1, CNO_ERRNO_INVALID_STREAM},
        {{SETUP2 GET2, LIST("\1", LENGTH("5000")), 0, 0, 0, 0, 0}, 1, 0, 1, CNO_ERRNO_ASSERTION},
        {{SETUP2 GET2, LIST("\1", LENGTH("5000")), 0, 0, 0, 0, 0}, 1, 5001, 1, CNO_ERRNO_ASSERTION},
        {{SETUP2 GET2, NULL, 0, 0, 0, 0, 0, 0}, 3, 5000, 1, CNO_ERRNO_INVALID_STREAM},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        struct cno_batch_t *b = begin_response(&all[i].l, 200);
        struct cno_view_t views[4];
        size_t count = 4, before = b->out_size;
        char *body = make_body(all[i].size);
        CHECK(before && cno_batch_lend(b, all[i].stream, body, all[i].size, all[i].final, views,
                                       &count) == CNO_ERROR);
        CHECK(cno_error()->code == all[i].code);
        CHECK(!count && b->out_size == before && !b->loan);
        count = 4;
        CHECK(cno_batch_lend(b, 1, body, 0, 0, views, &count) == 0 && b->out_size == before);
        free(body);
        cno_batch_free(b);
    }
}

static long until_failure = -1;

static void *failing_resize(void *data, size_t size) {
    if (until_failure >= 0 && until_failure-- == 0)
        return NULL;
    return realloc(data, size);
}

// A call in which memory ran out leaves no view, and no frame header or chunk size whose payload would be
// missing, wherever it happened: in the first of several writes, in a later one, in the event behind them.
static void test_without_memory(void) {
    static const struct cno_allocator_t failing = {failing_resize, free};
    static const char *const inputs[] = {"GET /{%d*a} HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n",
                                         SETUP2 PINGS PINGS GET2 " a={%d*a}"};
    char *body = make_body(600000);
    int failures[2] = {0};
    cno_set_allocator(&failing);
    for (int i = 0; i < 2 * 2 * 32; i++) {
        char input[600];
        snprintf(input, sizeof(input), inputs[i & 1], i / 4 * 16 + 1);
        struct cno_batch_t *b = begin_response(&(struct lent){.input = input}, 200);
        struct cno_view_t views[64];
        size_t count = 64, before = b->out_size;
        until_failure = i >> 1 & 1;
        int taken = cno_batch_lend(b, 1, body, 600000, 1, views, &count);
        until_failure = -1;
        CHECK(!b->loan && (taken == 600000 || taken == CNO_ERROR));
        if (taken == CNO_ERROR) {
            CHECK(cno_error()->code == CNO_ERRNO_NO_MEMORY && !count && b->out_size == before);
            failures[i & 1]++;
        }
        cno_batch_free(b);
    }
    CHECK(failures[0] > 0 && failures[1] > 32);
    cno_set_allocator(NULL);
    free(body);
}

static char memory[32768];
static char *next_block;  // where in `memory` the next allocation is to be, or NULL
static size_t placed;     // size of the block that is there

static void *placing_resize(void *data, size_t size) {
    char *at = data;
    if (!data && next_block) {
        at = next_block == memory + 16384 ? next_block - size : next_block;
        next_block = NULL;
        placed = size;
        return at;
    }
    if (at < memory || at >= memory + sizeof(memory))
        return realloc(data, size);
    char *moved = malloc(size);
    memcpy(moved, at, placed < size ? placed : size);
    return moved;
}

static void placing_release(void *data) {
    if ((char *)data < memory || (char *)data >= memory + sizeof(memory))
        free(data);
}

// What the engine writes by itself is no part of the body: not if it lies directly in front of the body
// or directly behind it, and not if the body begins in it (a linker may merge equal literals).
static void test_neighbours(void) {
    static const struct cno_allocator_t placing = {placing_resize, placing_release};
    static const struct lent l = {.input = GET};
    char *body = memory + 16384;
    size_t noted = 0;
    memset(body, 'b', 4096);
    for (int i = 0; i < 2; i++) {
        struct cno_batch_t *a = begin_response(&l, 200), *b = start(0, 0);
        CHECK(feed(b, GET) > 0);
        cno_set_allocator(&placing);
        next_block = body + i * 4096;
        CHECK(!cno_batch_head(b, 1, 200, "", 0, "", 0, NULL, 0, 0) && !next_block);
        CHECK(lend_part(a, b, body, 4096, 0, 4, &noted) == 4096);
        CHECK(lend_part(a, b, body, 4096, 1, 4, &noted) == 4096);
        cno_batch_free(b);
        cno_set_allocator(NULL);
        cno_batch_free(a);
    }
    CHECK(noted == 4);
    struct cno_batch_t *a = begin_response(&l, 200), *b = begin_response(&l, 200);
    CHECK(lend_part(a, b, "\r\n0\r\n\r\n", 3, 1, 4, &noted) == 3 && noted == 5);
    cno_batch_free(a);
    cno_batch_free(b);
}

int main(void) {
    test_lending();
    test_windows();
    test_refused();
    test_without_memory();
    test_neighbours();
    return finish();
}
