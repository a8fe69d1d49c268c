// An honest client that stays: requests by the hundred thousand on one connection, one in ten of them
// cancelled before its answer, with the PINGs, window updates and priorities that clients send. All are
// served and nothing grows. `make soak` asks for 5,000,000.
#include "core.h"
#include "check.h"
#include "counting.h"
#include "wire.h"

#define ROUND 20  // requests of one read

struct site {
    struct cno_connection_t c;
    uint64_t heads, bodies, answered, cancelled, faults, out;
    uint32_t waiting[ROUND], waits;
    const char *reason;
};

static int on_writev(void *data, const struct cno_buffer_t *pieces, size_t count) {
    for (size_t i = 0; i < count; i++)
        ((struct site *)data)->out += pieces[i].size;
    return 0;
}

static int on_head(void *data, uint32_t id, const struct cno_message_t *msg) {
    struct site *s = data;
    (void)msg;
    s->heads++;
    s->waiting[s->waits++ % ROUND] = id;
    return 0;
}

static int on_data(void *data, uint32_t id, const char *octets, size_t size) {
    (void)id, (void)octets;
    ((struct site *)data)->bodies += size;
    return 0;
}

static int on_end(void *data, uint32_t id, uint32_t code, enum CNO_PEER_KIND side) {
    struct site *s = data;
    (void)id;
    s->cancelled += code == CNO_RST_CANCEL && side == CNO_REMOTE;
    return 0;
}

static int on_fault(void *data, uint32_t id, const struct cno_error_t *error) {
    struct site *s = data;
    (void)id;
    s->faults++;
    s->reason = error->reason;
    return 0;
}

static const struct cno_vtable_t EVENTS = {
    .on_writev = on_writev,
    .on_message_head = on_head,
    .on_message_data = on_data,
    .on_stream_end = on_end,
    .on_fault = on_fault,
};

// ---- the client --------------------------------------------------------------------------------

static void put_frame(struct wire *w, unsigned size, unsigned type, unsigned flags, uint32_t id,
                      const char *payload) {
    wire_number(w, size, 3);
    wire_number(w, type, 1);
    wire_number(w, flags, 1);
    wire_number(w, id, 4);
    wire_put(w, payload, size);
}

// A round of requests: every tenth is cancelled, every fifth has a body of two frames.
static void put_round(struct wire *w, uint64_t first) {
    w->size = 0;
    for (uint64_t n = first; n < first + ROUND; n++) {
        uint32_t id = (uint32_t)(2 * n + 1);
        int body = n % 5 == 3;
        put_frame(w, 4, 1, body ? 4 : 5, id, body ? "\xbf\xc0\xc1\xc2" : "\xbe\xc0\xc1\xc2");
        if (body) {
            put_frame(w, 10, 0, 0, id, "0123456789");
            put_frame(w, 10, 0, 1, id, "0123456789");
        }
        if (n % 10 == 9)
            put_frame(w, 4, 3, 0, id, "\0\0\0\x8");
    }
    put_frame(w, 8, 6, 0, 0, "soaksoak");
    put_frame(w, 4, 8, 0, 0, "\0\0\0\x64");
    char update[] = "____u=1,i";
    struct wire id = {0};
    wire_number(&id, 2 * (first + ROUND) + 1, 4);
    memcpy(update, id.data, 4);
    wire_free(&id);
    put_frame(w, 9, 0x10, 0, 0, update);
}

static void answer(struct site *s) {
    struct cno_header_t length = {{"content-length", 14}, {"5", 1}, 0, 0};
    struct cno_message_t msg = {.code = 200, .headers = &length, .headers_len = 1};
    for (uint32_t i = 0; i < s->waits; i++)
        s->answered += cno_write_message(&s->c, s->waiting[i], &msg, "hello", 5, 1) == 5;
    s->waits = 0;
}

int main(int argc, char **argv) {
    uint64_t total = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
    total -= total % ROUND;
    struct site *s = calloc(1, sizeof(*s));
    struct wire w = {0};
    size_t early = 0, most = 0;
    cno_set_allocator(&COUNTING);
    cno_init(&s->c, CNO_SERVER);
    s->c.cb_code = &EVENTS;
    s->c.cb_data = s;
    CHECK(!cno_begin(&s->c, CNO_HTTP2));
    wire_frame(&w, "PREFACE");
    wire_frame(&w, "SETTINGS 0 -");
    wire_frame(&w, "SETTINGS 0 ACK");
    // The table that the rounds refer to, filled by the first request.
    wire_frame(&w, "HEADERS 1 END_STREAM|END_HEADERS +:authority=h +:path=/ +:scheme=http "
                   "+:method=POST +:method=GET");
    CHECK(cno_consume(&s->c, w.data, w.size) == CNO_OK);
    CHECK(s->faults == 1);  // :method twice: refused, and the table is filled
    s->faults = 0;
    for (uint64_t n = 1; n < total; n += ROUND) {
        put_round(&w, n);
        if (cno_consume(&s->c, w.data, w.size) || s->faults) {
            printf("request %llu: %s\n", (unsigned long long)n, s->reason);
            break;
        }
        answer(s);
        if (n < 1000)
            early = in_use;
        most = in_use > most ? in_use : most;
    }
    printf("%llu requests, %llu answered, %llu cancelled, %llu octets out, %zu octets kept\n",
           (unsigned long long)s->heads, (unsigned long long)s->answered,
           (unsigned long long)s->cancelled, (unsigned long long)s->out, most);
    CHECK(s->faults == 0 && s->heads == total);
    CHECK(s->cancelled == total / 10 && s->answered == total - total / 10);
    CHECK(s->bodies == total / 5 * 20);
    CHECK(most <= early);
    CHECK(!cno_eof(&s->c));
    cno_fini(&s->c);
    CHECK(in_use == 0);
    cno_set_allocator(NULL);
    wire_free(&w);
    free(s);
    return finish();
}
