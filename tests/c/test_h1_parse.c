// Tests of h1_parse.c: every head is parsed where a page ends, cut at every octet, found in any number of
// pieces, and with every octet of it replaced by others. What the grammar accepts is in tests/vectors/h1.
#include "guard.h"

#include "message/chars.h"
#include "config.h"
#include "h1/parse.h"
#include "check.h"

static struct guard guard, spare;

static const char *const REQUESTS[] = {
    "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
    "POST /a?b=c HTTP/1.1\r\nHost: example.org:8080\r\nContent-Length: 5\r\nX-Empty:\r\n"
    "X-Space: \t a b \t\r\n\r\n",
    "OPTIONS * HTTP/1.9\r\nA-Name-Longer-Than-Eight: "
    "value-longer-than-sixteen-octets\r\nb:c\r\n\r\n"};

static const char *const RESPONSES[] = {"HTTP/1.1 200\r\n\r\n", "HTTP/1.0 204 \r\nA: b\r\n\r\n",
                                        "HTTP/1.1 404 Not Found\r\nServer: x\r\nDate: y\r\n\r\n"};

static size_t find(const char *data, size_t size, uint32_t *scanned, int is_request,
                   const struct cno__fault **fault) {
    *fault = NULL;
    return cno__h1_find_head(guard_copy(&guard, data, size), size, scanned,
                             is_request ? CNO_MAX_H1_LINE : 0, CNO_MAX_H1_HEAD, fault);
}

// What parsing says of a head that has an end: the fault, or NULL with all views inside the input.
static const struct cno__fault *parse(const char *data, size_t size, int is_request, size_t *at,
                                      int *inside) {
    struct cno_header_t list[8];
    struct cno__h1_head head = {0};
    const char *copy = guard_copy(&guard, data, size);
    char *names = guard_last(&spare, size);
    const struct cno__fault *fault =
        cno__h1_parse_head(copy, size, is_request, &head, list, 8, names, at);
    *inside = !fault || *at <= size;
    for (size_t i = 0; !fault && i < head.count; i++)
        *inside &= list[i].value.data >= copy &&
                   list[i].value.data + list[i].value.size <= copy + size &&
                   list[i].name.data >= names && list[i].name.size > 0 &&
                   list[i].name.data + list[i].name.size <= names + size;
    return fault;
}

static void try_head(const char *text, int is_request) {
    const struct cno__fault *fault;
    size_t size = strlen(text), at;
    int bad = 0, inside;
    uint32_t scanned = 0;
    CHECK(find(text, size, &scanned, is_request, &fault) == size && !fault);
    CHECK(!parse(text, size, is_request, &at, &inside) && inside);
    for (size_t cut = 0; cut < size; cut++) {
        scanned = 0;
        bad += find(text, cut, &scanned, is_request, &fault) != 0 || fault || scanned != cut;
        bad += find(text, size, &scanned, is_request, &fault) != size || fault;
    }
    CHECK(bad == 0);
    // Another octet anywhere: whatever is said is said within the input, and the same in pieces.
    static const char others[] = "\0\r\n\t :;,ahHT1/\x7f\x80\xff";
    char changed[256];
    for (size_t i = 0; i < size; i++) {
        for (size_t k = 0; k < sizeof(others) - 1; k++) {
            memcpy(changed, text, size);
            changed[i] = others[k];
            scanned = 0;
            size_t whole = find(changed, size, &scanned, is_request, &fault), pieces = 0;
            const struct cno__fault *in_pieces = NULL;
            uint32_t seen = 0;
            for (size_t n = 1; n <= size && !pieces && !in_pieces; n++)
                pieces = find(changed, n, &seen, is_request, &in_pieces);
            bad += pieces != whole || in_pieces != fault || (fault && seen != scanned);
            if (whole)
                parse(changed, whole, is_request, &at, &inside);
            bad += whole && !inside;
        }
    }
    CHECK(bad == 0);
}

static void test_chunks(void) {
    static const char *const lines[] = {"5",
                                        "0",
                                        "fffffffffffffff",
                                        "7fffffffffffffff",
                                        "1a;b=c",
                                        "00000000000000ff",
                                        "5;\"quoted\"=x"};
    uint64_t chunk;
    size_t extensions;
    int faults = 0;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        for (size_t n = 0; n <= strlen(lines[i]); n++)
            faults += cno__h1_parse_chunk(guard_copy(&guard, lines[i], n), n, &chunk,
                                          &extensions) != NULL;
    CHECK(faults == (int)(sizeof(lines) / sizeof(*lines)));  // only the empty ones
    CHECK(cno__h1_parse_chunk("8000000000000000", 16, &chunk, &extensions));
    CHECK(cno__h1_parse_chunk("00000000000000005", 17, &chunk, &extensions));
    CHECK(cno__h1_parse_chunk("5 ", 2, &chunk, &extensions));
    CHECK(!cno__h1_parse_chunk("5 ;a", 4, &chunk, &extensions) && chunk == 5);
    CHECK(!cno__h1_parse_chunk("1A;x", 4, &chunk, &extensions) && chunk == 26 && extensions == 2);
}

int main(void) {
    for (size_t i = 0; i < sizeof(REQUESTS) / sizeof(*REQUESTS); i++)
        try_head(REQUESTS[i], 1);
    for (size_t i = 0; i < sizeof(RESPONSES) / sizeof(*RESPONSES); i++)
        try_head(RESPONSES[i], 0);
    test_chunks();
    guard_close(&guard);
    guard_close(&spare);
    return finish();
}
