// What the HPACK encoder writes, its decoder reads as the same list, block after block, whatever the fields
// are and however the limit of the table changes.
#include "harness.h"

#define FIELDS_MAX 100

// A name or value: fuzz octets, one of a few that recur, or a long run.
static struct cno_buffer_t take_text(struct reader *r, int name) {
    static const char *const known[] = {":path",         "/",          "cookie",  "x-a",
                                        "content-type",  "text/html",  ":status", "200",
                                        "authorization", "set-cookie", "a",       "accept-encoding",
                                        "gzip, deflate", "404",        "",        "x"};
    static char lower[FIELDS_MAX * 2][64];
    static unsigned turn;
    unsigned how = take(r);
    if (how < 0x60 || (name && how >= 0xf0)) {
        const char *text = known[how & 15];
        return (struct cno_buffer_t){text, name && !*text ? 1 : strlen(text)};
    }
    if (how >= 0xf0)
        return (struct cno_buffer_t){body_octets + (how & 3), (size_t)take2(r) % 9000};
    struct reader run = take_run(r, (how & 0x3f) + (name ? 1 : 0));
    if (!name)
        return (struct cno_buffer_t){(const char *)run.data, run.size};
    char *to = lower[turn++ % (FIELDS_MAX * 2)];
    size_t size = 0;
    for (; size < run.size && size < 63; size++)
        to[size] = "abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~"[run.data[size] % 51];
    to[size] = 'z';
    return (struct cno_buffer_t){to, size ? size : 1};
}

static int same(struct cno_buffer_t a, struct cno_buffer_t b) {
    return a.size == b.size && (!a.size || !memcmp(a.data, b.data, a.size));
}

static void round_trip(struct cno_hpack_t *encoder, struct cno_hpack_t *decoder, struct reader *r,
                       size_t count) {
    struct cno_header_t in[FIELDS_MAX], out[FIELDS_MAX];
    for (size_t i = 0; i < count; i++) {
        struct cno_buffer_t name = take_text(r, 1), value = take_text(r, 0);
        in[i] = (struct cno_header_t){name, value, take(r) % 8 ? 0 : CNO_HEADER_NEVER_INDEXED, 0};
    }
    struct cno__bytes block = {0};
    if (cno_hpack_encode(encoder, &block, in, count)) {
        REQUIRE(starved && cno_error()->code == CNO_ERRNO_NO_MEMORY && !block.size);
        cno__bytes_free(&block);
        return;
    }
    char *exact = malloc(block.size ? block.size : 1);
    if (block.size)
        memcpy(exact, block.data, block.size);
    struct cno_hpack_fields_t fields = {out, FIELDS_MAX, SIZE_MAX, 0, 0};
    until_failure = -1;  // of the encoder alone
    REQUIRE(!cno_hpack_decode(decoder, (struct cno_buffer_t){exact, block.size}, &fields));
    REQUIRE(fields.count == count && encoder->size == decoder->size &&
            encoder->count == decoder->count && encoder->limit == decoder->limit);
    for (size_t i = 0; i < count; i++) {
        REQUIRE(same(in[i].name, out[i].name) && same(in[i].value, out[i].value));
        REQUIRE((in[i].flags & CNO_HEADER_NEVER_INDEXED) <=
                (out[i].flags & CNO_HEADER_NEVER_INDEXED));
    }
    cno__bytes_free(&block);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t limits[] = {4096, 0, 64, 256, 1000, 4095, 100, 2000};
    struct reader r = {data, size};
    struct cno_hpack_t encoder, decoder;
    unsigned fail = take(&r);
    memory_begin(fail >= 0xf0 ? (long)(fail & 15) : -1);
    cno_hpack_init(&encoder, 4096);
    cno_hpack_init(&decoder, 4096);
    while (r.size) {
        unsigned op = take(&r);
        if (op >= 0xe0)
            cno_hpack_set_limit(&encoder, limits[op & 7]);
        else
            round_trip(&encoder, &decoder, &r, op % FIELDS_MAX % (op & 1 ? 8 : FIELDS_MAX));
    }
    cno_hpack_fini(&encoder);
    cno_hpack_fini(&decoder);
    REQUIRE(live == 0);
    return 0;
}
