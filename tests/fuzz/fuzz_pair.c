// Two connections back to back, whose applications do what fuzz octets say and whose octets arrive in
// pieces that they choose. Neither ever breaks the protocol in the eyes of the other, and a message that
// is told to be complete has the body that was written.
#include "output.h"
#include "script.h"

static struct side *sides[2];  // client, server

static void on_pair_fault(struct side *s, uint32_t stream, const struct cno_error_t *error) {
    static const char *const crossed[] = {"too-many-streams", "after-goaway", "late-push",
                                          "too-many-promises"};
    for (size_t i = 0; stream && i < sizeof(crossed) / sizeof(*crossed); i++)
        if (!strcmp(error->reason, crossed[i]))
            return;
    if (is_excess(error->reason)) {
        sides[0]->trusting = sides[1]->trusting = 0;  // the engine answers by itself
        return;
    }
    fprintf(stderr, "the %s refused stream %u: %s\n", s == sides[0] ? "client" : "server",
            (unsigned)stream, error->reason);
    REQUIRE(!"what was written is understood");
}

// Some of what one side wrote arrives at the other.
static size_t carry(int from, size_t size) {
    struct octets *out = &sides[from]->out;
    size = size < out->size ? size : out->size;
    if (!size)
        return 0;
    if (getenv("FUZZ_TRACE"))
        fprintf(stderr, "from the %s:\n%.*s\n", from ? "server" : "client",
                size < 500 ? (int)size : 500, out->data);
    if (side_read(sides[!from], out->data, size) && cno_error()->code == CNO_ERRNO_WOULD_BLOCK)
        return 0;
    drop(out, size);
    return size;
}

static struct call pair_call(struct reader *r, int who) {
    struct call call = take_call(r);
    unsigned kind = call.kind % CALL_KINDS;
    if (kind == CALL_PUSH || (who == 0 && kind <= CALL_MESSAGE))
        call.a &= 0x7f;  // no CONNECT, no bad target
    return call;
}

static void step(struct reader *r) {
    static const size_t sizes[] = {1, 9, 30, 100, 1000, 20000, SIZE_MAX, SIZE_MAX};
    unsigned op = take(r);
    int who = op >> 3 & 1;
    struct side *s = sides[who];
    struct call call;
    switch (op & 7) {
        case 0:
        case 1:
        case 2:
            call = pair_call(r, who);
            apply(s, &call, 0);
            return;
        case 3:
            if (s->armed_count == ARMED_MAX)
                return;
            s->armed_in[s->armed_count] = (uint8_t)(take(r) % IN_COUNT);
            s->armed[s->armed_count++] = pair_call(r, who);
            return;
        case 4:
            side_read(s, NULL, 0);
            return;
        default:
            carry(who, sizes[op >> 4 & 7]);
    }
}

// A message that one side has seen the end of is what the other wrote. Bodies of HEAD, 204 and 304 are
// dropped by the writer.
static void compare(struct side *reader, struct side *writer) {
    for (size_t i = 0; i < reader->count; i++) {
        struct seen *in = &reader->seen[i], *out = seen_find(writer, in->id);
        if (in->tail && (in->id & 1) && out && in->code != 101 && reader->trusting)
            REQUIRE(in->in == out->out || (in->in == 0 && reader == sides[0]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size};
    int http2 = take(&r) & 1, greeted;
    memory_begin(-1);
    for (int i = 0; i < 2; i++) {
        sides[i] = script_side(&r, i ? CNO_SERVER : CNO_CLIENT, &greeted);
        sides[i]->trusting = 1;
        sides[i]->on_fault = on_pair_fault;
    }
    cno_begin(&sides[0]->c, http2 ? CNO_HTTP2 : CNO_HTTP1);
    cno_begin(&sides[1]->c, http2 && (greeted || sides[1]->c.options & CNO_NO_PRIOR_KNOWLEDGE)
                                ? CNO_HTTP2
                                : CNO_HTTP1);
    for (unsigned n = 0; r.size && n < 180; n++)
        step(&r);
    while (carry(0, SIZE_MAX) + carry(1, SIZE_MAX) != 0) {
    }
    compare(sides[0], sides[1]);
    compare(sides[1], sides[0]);
    REQUIRE(peak < 3000000);
    side_eof(sides[0]);
    side_eof(sides[1]);
    side_free(sides[0]);
    side_free(sides[1]);
    REQUIRE(live == 0);
    return 0;
}
