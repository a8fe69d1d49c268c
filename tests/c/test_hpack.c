// Tests of hpack*.c and huffman.c: the examples of RFC 7541 appendix C, every way in which a block can
// be wrong, an encoder that is checked against the decoder, and allocations that fail.
#include "guard.h"

#include "message/chars.h"
#include "config.h"
#include "hpack.h"
#include "hpack/huffman.h"
#include "check.h"

#define COMPRESSION_ERROR 0x9
#define ENHANCE_YOUR_CALM 0xb

static struct cno_header_t list[CNO_MAX_HEADERS];
static struct cno_hpack_fields_t fields;

// ---- helpers -----------------------------------------------------------------------------------

// Octets of a string of hexadecimal digits and spaces, in a block of exactly that size for ASan.
static struct cno_buffer_t unhex(const char *hex) {
    size_t digits = 0;
    for (const char *p = hex; *p; p++)
        digits += *p != ' ';
    char *data = malloc(digits / 2 + (digits == 0));
    size_t size = 0;
    for (const char *p = hex; *p;) {
        unsigned octet;
        if (*p == ' ') {
            p++;
            continue;
        }
        sscanf(p, "%2x", &octet);
        data[size++] = (char)octet;
        p += 2;
    }
    return (struct cno_buffer_t){data, size};
}

// The block that `fields` points into, against the end of a page. It lives until the next one.
static struct guard block;

static int decode_block(struct cno_hpack_t *t, struct cno_buffer_t b) {
    char *copy = guard_copy(&block, b.data, b.size);
    fields = (struct cno_hpack_fields_t){
        .list = list, .capacity = CNO_MAX_HEADERS, .max_size = CNO_MAX_HEADER_LIST_SIZE};
    return cno_hpack_decode(t, (struct cno_buffer_t){copy, b.size}, &fields);
}

static int decode_hex(struct cno_hpack_t *t, const char *hex) {
    struct cno_buffer_t b = unhex(hex);
    int result = decode_block(t, b);
    free((void *)b.data);
    return result;
}

static int is(struct cno_buffer_t b, const char *text) {
    return b.size == strlen(text) && !memcmp(b.data, text, b.size);
}

static int field_is(size_t i, const char *name, const char *value) {
    return i < fields.count && is(fields.list[i].name, name) && is(fields.list[i].value, value);
}

// Whether the block, alone and to a new table of `limit`, is a compression error of that reason.
static int refused(uint32_t limit, const char *hex, const char *reason) {
    struct cno_hpack_t t;
    cno_hpack_init(&t, limit);
    int ok = decode_hex(&t, hex) == CNO_ERROR && cno_error()->code == CNO_ERRNO_PROTOCOL &&
             cno_error()->wire == COMPRESSION_ERROR && !strcmp(cno_error()->reason, reason);
    cno_hpack_fini(&t);
    return ok;
}

struct pair {
    const char *name;
    const char *value;
};

// Decodes an example and looks at all its fields and at the size of the table behind it.
static int example(struct cno_hpack_t *t, const char *hex, const struct pair *p, size_t count,
                   uint32_t entries, uint32_t size) {
    if (decode_hex(t, hex) || fields.count != count || t->count != entries || t->size != size)
        return 0;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if (!field_is(i, p[i].name, p[i].value) || fields.list[i].flags)
            return 0;
        if (fields.list[i].id != cno__name_id(p[i].name, strlen(p[i].name)))
            return 0;
        total += strlen(p[i].name) + strlen(p[i].value) + 32;
    }
    return fields.size == total;
}

// Whether index 62 + i is this field now.
static int entry_is(struct cno_hpack_t *t, unsigned i, const char *name, const char *value) {
    char octet = (char)(0x80 | (62 + i));
    return !decode_block(t, (struct cno_buffer_t){&octet, 1}) && field_is(0, name, value);
}

// ---- RFC 7541 appendix C -----------------------------------------------------------------------

#define EXAMPLE(t, hex, pairs, entries, size) \
    CHECK(example(t, hex, pairs, sizeof(pairs) / sizeof(pairs[0]), entries, size))

// C.1: 10 in 5 bits, 1337 in 5 bits, 42 in 8 bits (as a length in 7).
static void test_integers(void) {
    struct cno_hpack_t t;
    cno_hpack_init(&t, 4096);
    CHECK(!decode_hex(&t, "2a") && t.limit == 10);
    CHECK(!decode_hex(&t, "3f9a0a") && t.limit == 1337);
    CHECK(!decode_hex(&t, "3f 9a 8a 80 00") && t.limit == 1337);  // the longest form that is read
    CHECK(!decode_hex(&t, "3f e1 1f") && t.limit == 4096);
    CHECK(!decode_hex(&t, "20") && t.limit == 0);
    CHECK(!decode_hex(&t, "3f 00") && t.limit == 31);
    cno_hpack_fini(&t);
}

static void test_literals(void) {
    struct cno_hpack_t t;
    cno_hpack_init(&t, 4096);
    static const struct pair c21[] = {{"custom-key", "custom-header"}};
    EXAMPLE(&t, "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", c21, 1, 55);
    cno_hpack_fini(&t);
    cno_hpack_init(&t, 4096);
    static const struct pair c22[] = {{":path", "/sample/path"}};
    EXAMPLE(&t, "040c 2f73 616d 706c 652f 7061 7468", c22, 0, 0);
    CHECK(!decode_hex(&t, "1008 7061 7373 776f 7264 0673 6563 7265 74") && fields.count == 1);
    CHECK(field_is(0, "password", "secret") && t.count == 0);
    CHECK(list[0].flags == CNO_HEADER_NEVER_INDEXED);
    static const struct pair c24[] = {{":method", "GET"}};
    EXAMPLE(&t, "82", c24, 0, 0);
    cno_hpack_fini(&t);
}

static const struct pair request1[] = {
    {":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "www.example.com"}};
static const struct pair request2[] = {{":method", "GET"},
                                       {":scheme", "http"},
                                       {":path", "/"},
                                       {":authority", "www.example.com"},
                                       {"cache-control", "no-cache"}};
static const struct pair request3[] = {{":method", "GET"},
                                       {":scheme", "https"},
                                       {":path", "/index.html"},
                                       {":authority", "www.example.com"},
                                       {"custom-key", "custom-value"}};

static void test_requests(const char *first, const char *second, const char *third) {
    struct cno_hpack_t t;
    cno_hpack_init(&t, 4096);
    EXAMPLE(&t, first, request1, 1, 57);
    CHECK(entry_is(&t, 0, ":authority", "www.example.com"));
    EXAMPLE(&t, second, request2, 2, 110);
    CHECK(entry_is(&t, 0, "cache-control", "no-cache"));
    CHECK(entry_is(&t, 1, ":authority", "www.example.com"));
    EXAMPLE(&t, third, request3, 3, 164);
    CHECK(entry_is(&t, 0, "custom-key", "custom-value"));
    CHECK(entry_is(&t, 1, "cache-control", "no-cache"));
    CHECK(entry_is(&t, 2, ":authority", "www.example.com"));
    cno_hpack_fini(&t);
}

#define DATE1 "Mon, 21 Oct 2013 20:13:21 GMT"
#define DATE2 "Mon, 21 Oct 2013 20:13:22 GMT"
#define LOCATION "https://www.example.com"
#define SET_COOKIE "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"

static const struct pair response1[] = {
    {":status", "302"}, {"cache-control", "private"}, {"date", DATE1}, {"location", LOCATION}};
static const struct pair response2[] = {
    {":status", "307"}, {"cache-control", "private"}, {"date", DATE1}, {"location", LOCATION}};
static const struct pair response3[] = {
    {":status", "200"},     {"cache-control", "private"}, {"date", DATE2},
    {"location", LOCATION}, {"content-encoding", "gzip"}, {"set-cookie", SET_COOKIE}};

static void test_responses(const char *first, const char *second, const char *third) {
    struct cno_hpack_t t;
    cno_hpack_init(&t, 256);
    EXAMPLE(&t, first, response1, 4, 222);
    CHECK(entry_is(&t, 0, "location", LOCATION) && entry_is(&t, 1, "date", DATE1));
    CHECK(entry_is(&t, 2, "cache-control", "private") && entry_is(&t, 3, ":status", "302"));
    EXAMPLE(&t, second, response2, 4, 222);
    CHECK(entry_is(&t, 0, ":status", "307") && entry_is(&t, 3, "cache-control", "private"));
    EXAMPLE(&t, third, response3, 3, 215);
    CHECK(entry_is(&t, 0, "set-cookie", SET_COOKIE));
    CHECK(entry_is(&t, 1, "content-encoding", "gzip") && entry_is(&t, 2, "date", DATE2));
    cno_hpack_fini(&t);
}

static void test_appendix_c(void) {
    test_integers();
    test_literals();
    test_requests("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",  // C.3
                  "8286 84be 5808 6e6f 2d63 6163 6865",
                  "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65");
    test_requests("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",  // C.4
                  "8286 84be 5886 a8eb 1064 9cbf",
                  "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
    test_responses("4803 3330 3258 0770 7269 7661 7465 611d"  // C.5
                   "4d6f 6e2c 2032 3120 4f63 7420 3230 3133"
                   "2032 303a 3133 3a32 3120 474d 546e 1768"
                   "7474 7073 3a2f 2f77 7777 2e65 7861 6d70"
                   "6c65 2e63 6f6d",
                   "4803 3330 37c1 c0bf",
                   "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420"
                   "3230 3133 2032 303a 3133 3a32 3220 474d"
                   "54c0 5a04 677a 6970 7738 666f 6f3d 4153"
                   "444a 4b48 514b 425a 584f 5157 454f 5049"
                   "5541 5851 5745 4f49 553b 206d 6178 2d61"
                   "6765 3d33 3630 303b 2076 6572 7369 6f6e"
                   "3d31");
    test_responses("4882 6402 5885 aec3 771a 4b61 96d0 7abe"  // C.6
                   "9410 54d4 44a8 2005 9504 0b81 66e0 82a6"
                   "2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8"
                   "e9ae 82ae 43d3",
                   "4883 640e ffc1 c0bf",
                   "88c1 6196 d07a be94 1054 d444 a820 0595"
                   "040b 8166 e084 a62d 1bff c05a 839b d9ab"
                   "77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b"
                   "3960 d5af 2708 7f36 72c1 ab27 0fb5 291f"
                   "9587 3160 65c0 03ed 4ee5 b106 3d50 07");
}

// ---- what is refused ---------------------------------------------------------------------------

static void test_errors(void) {
    CHECK(refused(4096, "80", "hpack-index"));
    CHECK(refused(4096, "be", "hpack-index"));
    CHECK(refused(4096, "ff ff ff ff 7f", "hpack-index"));
    CHECK(refused(4096, "7e 01 61", "hpack-index"));  // a name of index 62
    CHECK(refused(4096, "0f 2f 01 61", "hpack-index"));
    CHECK(refused(4096, "1f 2f 01 61", "hpack-index"));
    CHECK(refused(4096, "40 01 61 01 62 be bf", "hpack-index"));  // one entry, so 63 is too far

    CHECK(refused(4096, "ff 80 80 80 80 00", "hpack-integer"));
    CHECK(refused(4096, "ff ff ff ff ff 0f", "hpack-integer"));
    CHECK(refused(4096, "ff ff ff ff ff ff ff ff ff ff ff 01", "hpack-integer"));
    CHECK(refused(4096, "3f 80 80 80 80 01", "hpack-integer"));
    CHECK(refused(4096, "00 7f 80 80 80 80 80 01 61", "hpack-integer"));
    CHECK(refused(4096, "00 01 61 7f ff ff ff ff ff 61", "hpack-integer"));

    CHECK(refused(4096, "ff", "hpack-truncated"));
    CHECK(refused(4096, "ff 80", "hpack-truncated"));
    CHECK(refused(4096, "3f", "hpack-truncated"));
    CHECK(refused(4096, "40", "hpack-truncated"));
    CHECK(refused(4096, "00", "hpack-truncated"));
    CHECK(refused(4096, "10", "hpack-truncated"));
    CHECK(refused(4096, "44", "hpack-truncated"));
    CHECK(refused(4096, "40 7f", "hpack-truncated"));
    CHECK(refused(4096, "40 02 61", "hpack-truncated"));
    CHECK(refused(4096, "40 82 1f", "hpack-truncated"));
    CHECK(refused(4096, "40 01 61", "hpack-truncated"));
    CHECK(refused(4096, "40 01 61 01", "hpack-truncated"));
    CHECK(refused(4096, "40 01 61 ff ff ff ff 7f 61", "hpack-truncated"));  // 2^28 octets

    CHECK(refused(4096, "82 20", "hpack-size-update"));
    CHECK(refused(4096, "20 82 20", "hpack-size-update"));
    CHECK(refused(4096, "20 20 20", "hpack-size-update"));
    CHECK(refused(4096, "3f e2 1f", "hpack-size-update"));  // 4097
    CHECK(refused(0, "21", "hpack-size-update"));
}

static void test_huffman_errors(void) {
    CHECK(refused(4096, "00 01 61 84 ff ff ff ff", "hpack-huffman"));     // EOS, then 2 ones
    CHECK(refused(4096, "00 01 61 85 1f ff ff ff ff", "hpack-huffman"));  // 'a', EOS within
    CHECK(refused(4096, "00 01 61 89 18c6 318c 63ff ffff ff", "hpack-huffman"));
    CHECK(refused(4096, "00 01 61 81 ff", "hpack-huffman"));        // 8 bits of padding, no code
    CHECK(refused(4096, "00 01 61 82 1f ff", "hpack-huffman"));     // 'a', 11 ones
    CHECK(refused(4096, "00 01 61 83 1f ff ff", "hpack-huffman"));  // 'a', 19 ones
    CHECK(refused(4096, "00 01 61 81 18", "hpack-huffman"));        // 'a', three zeros
    CHECK(refused(4096, "00 01 61 81 1e", "hpack-huffman"));        // 'a', 110
    CHECK(refused(4096, "00 01 61 81 fe", "hpack-huffman"));        // the first 8 bits of '!'
    CHECK(refused(4096, "00 81 ff 01 61", "hpack-huffman"));        // in a name

    struct cno_hpack_t t;
    cno_hpack_init(&t, 4096);
    CHECK(!decode_hex(&t, "00 01 61 82 fe 3f") && field_is(0, "a", "!"));
    CHECK(!decode_hex(&t, "00 01 61 81 1f") && field_is(0, "a", "a"));  // 3 ones
    CHECK(!decode_hex(&t, "00 01 61 80") && field_is(0, "a", ""));
    cno_hpack_fini(&t);
}

// Each octet alone, twice and among others: decoded from what encoding gives, whole and cut short.
static void test_huffman(void) {
    char in[67], packed[300], out[CNO__HUFFMAN_MAX_DECODED(300) + 1];
    int bad = 0;
    struct guard decoded = {0};
    for (unsigned c = 0; c < 256; c++) {
        for (size_t n = 1; n < sizeof(in); n++) {
            for (size_t i = 0; i < n; i++)
                in[i] = (char)(i % 3 ? c : i * 31 + c);
            size_t size = cno__huffman_size(in, n);
            bad += cno__huffman_encode(packed, in, n) != packed + size;
            char *exact = guard_copy(&block, packed, size);
            char *room = guard_last(&decoded, CNO__HUFFMAN_MAX_DECODED(size));
            bad += cno__huffman_decode(room, exact, size) != (ptrdiff_t)n || memcmp(room, in, n);
            exact[size - 1] ^= 1;  // another last bit is another text or an error
            ptrdiff_t other = cno__huffman_decode(room, exact, size);
            bad += other == (ptrdiff_t)n && !memcmp(room, in, n);
        }
    }
    guard_close(&decoded);
    CHECK(bad == 0);
    CHECK(cno__huffman_decode(out, packed, 0) == 0 && cno__huffman_size("", 0) == 0);
    CHECK(CNO__HUFFMAN_MAX_DECODED(5) == 8 && CNO__HUFFMAN_MAX_DECODED(4) == 6);
}

// ---- decoder: limits ---------------------------------------------------------------------------

static int is_refusal(int result, uint32_t wire, const char *reason) {
    return result == CNO_ERROR && cno_error()->code == CNO_ERRNO_PROTOCOL &&
           cno_error()->wire == wire && !strcmp(cno_error()->reason, reason);
}

// A smaller limit must be answered with a size update at most as big (RFC 7541 section 4.2).
static void test_decoder_limits(void) {
    static const char insert[] = "40 01 61 01 62";
    struct cno_hpack_t t;
    cno_hpack_init(&t, 4096);
    CHECK(!decode_hex(&t, insert) && t.count == 1);
    cno_hpack_set_limit(&t, 33);
    CHECK(t.count == 1 && t.must_update);  // nothing goes before the peer says so
    CHECK(is_refusal(decode_hex(&t, "be"), COMPRESSION_ERROR, "hpack-size-update"));
    CHECK(is_refusal(decode_hex(&t, ""), COMPRESSION_ERROR, "hpack-size-update"));
    CHECK(is_refusal(decode_hex(&t, "3f 03 be"), COMPRESSION_ERROR, "hpack-size-update"));  // 34
    CHECK(is_refusal(decode_hex(&t, "3f 02 be"), COMPRESSION_ERROR, "hpack-index"));        // 33
    CHECK(t.count == 0 && !t.must_update);

    cno_hpack_set_limit(&t, 100);  // a larger one needs no answer
    CHECK(!decode_hex(&t, "82") && t.limit == 33);
    CHECK(!decode_hex(&t, "3f 45 82") && t.limit == 100);
    CHECK(!decode_hex(&t, insert) && t.count == 1);

    cno_hpack_set_limit(&t, 10);  // down and up: the lowest must come first
    cno_hpack_set_limit(&t, 4096);
    CHECK(is_refusal(decode_hex(&t, "3f e1 1f 82"), COMPRESSION_ERROR, "hpack-size-update"));
    CHECK(!decode_hex(&t, "2a 3f e1 1f 82") && t.limit == 4096 && t.count == 0);

    CHECK(!decode_hex(&t, "3f 05 82") && t.limit == 36);  // its own choice to use less
    cno_hpack_set_limit(&t, 100);
    CHECK(!t.must_update && !decode_hex(&t, "82"));
    CHECK(is_refusal(decode_hex(&t, "3f 46"), COMPRESSION_ERROR, "hpack-size-update"));  // 101
    cno_hpack_fini(&t);
}

// Fields that a caller has no room for still go through the table.
static void test_dropping(void) {
    struct cno_hpack_t t;
    cno_hpack_init(&t, 4096);
    struct cno_buffer_t b = unhex("82 40 01 61 01 62 00 81 1f 81 1f 40 01 63 81 1f 84");
    fields = (struct cno_hpack_fields_t){.list = list, .capacity = 2, .max_size = SIZE_MAX};
    CHECK(!cno_hpack_decode(&t, b, &fields) && fields.count == 5 && t.count == 2);
    CHECK(fields.size == 42 + 34 + 34 + 34 + 38 && field_is(1, "a", "b"));
    fields = (struct cno_hpack_fields_t){.list = list, .capacity = 9, .max_size = 42 + 34};
    CHECK(!cno_hpack_decode(&t, b, &fields) && fields.count == 5 && t.count == 4);
    CHECK(field_is(1, "a", "b"));
    fields = (struct cno_hpack_fields_t){.list = NULL, .capacity = 0, .max_size = 0};
    CHECK(!cno_hpack_decode(&t, b, &fields) && fields.count == 5 && t.count == 6);
    free((void *)b.data);
    CHECK(entry_is(&t, 0, "c", "a") && entry_is(&t, 1, "a", "b"));

    char many[CNO_MAX_HEADERS_HARD + 1];
    memset(many, 0x82, sizeof(many));
    CHECK(!decode_block(&t, (struct cno_buffer_t){many, sizeof(many) - 1}));
    CHECK(fields.count == CNO_MAX_HEADERS_HARD);
    CHECK(is_refusal(decode_block(&t, (struct cno_buffer_t){many, sizeof(many)}), ENHANCE_YOUR_CALM,
                     "hpack-too-many-fields"));
    cno_hpack_fini(&t);
}

static size_t live, live_octets, peak_octets;

static void *measured_resize(void *data, size_t size) {
    size_t *old = data ? (size_t *)data - 2 : NULL;
    live_octets += size - (old ? old[0] : 0);
    live += old == NULL;
    if (live_octets > peak_octets)
        peak_octets = live_octets;
    size_t *p = realloc(old, size + 2 * sizeof(size_t));
    p[0] = size;
    return p + 2;
}

static void measured_release(void *data) {
    size_t *p = (size_t *)data - 2;
    live_octets -= p[0];
    live--;
    free(p);
}

static const struct cno_allocator_t measured = {measured_resize, measured_release};

// Many insertions named by a long entry: three octets each, and four kilobytes of table.
static void test_bomb(void) {
    cno_set_allocator(&measured);
    live_octets = peak_octets = live = 0;
    struct cno_hpack_t t;
    cno_hpack_init(&t, 4096);
    struct cno__bytes b = {0};
    char name[3900];
    memset(name, 'n', sizeof(name));
    cno__bytes_append(&b, "\x40\x7f\xbd\x1d", 4);  // 127 + 61 + 29 * 128
    cno__bytes_append(&b, name, 127 + 61 + 29 * 128);
    cno__bytes_append(&b, "\x01v", 2);
    for (int i = 0; i < 900; i++)
        cno__bytes_append(&b, "\x7e\x01w", 3);
    CHECK(!decode_block(&t, (struct cno_buffer_t){b.data, b.size}) && fields.count == 901);
    CHECK(peak_octets < b.size * 2 + CNO_MAX_HEADER_LIST_SIZE + 3 * 4096);
    int bad = 0;
    for (size_t i = 0; i < 16; i++)  // those are stored, and still there after their eviction
        bad += list[i].name.size != 3900 || memcmp(list[i].name.data, name, 3900);
    CHECK(bad == 0 && t.count == 1);
    CHECK(!decode_hex(&t, "82") && t.dead == NULL);
    cno__bytes_free(&b);
    cno_hpack_fini(&t);
    CHECK(live == 0 && live_octets == 0);
    cno_set_allocator(NULL);
}

// RFC 7541 section 4.4: a name of the entry that makes room; an entry that is too large for the table.
static void test_eviction(void) {
    struct cno_hpack_t t;
    cno_hpack_init(&t, 40);
    CHECK(!decode_hex(&t, "40 04 6e61 6d65 01 31  7e 02 3232  be  7e 03 333333"));
    CHECK(field_is(0, "name", "1") && field_is(1, "name", "22") && field_is(2, "name", "22"));
    CHECK(field_is(3, "name", "333") && t.count == 1 && t.size == 39);
    CHECK(!decode_hex(&t, "7e 05 3434343434 82"));  // 41: named by what it pushes out
    CHECK(field_is(0, "name", "44444") && field_is(1, ":method", "GET"));
    CHECK(t.count == 0 && t.size == 0);
    // Huffman strings of it stay in the scratch, where others are written behind them.
    CHECK(
        !decode_hex(&t, "40 81 1f 8c f1e3 c2e5 f23a 6ba0 ab90 f4ff 00 01 61 81 1f 40 01 62 81 27"));
    CHECK(field_is(0, "a", "www.example.com") && t.count == 1);
    CHECK(field_is(1, "a", "a") && field_is(2, "b", "c"));
    cno_hpack_fini(&t);
}

static void test_flags(void) {
    struct cno_hpack_t t;
    cno_hpack_init(&t, 4096);
    CHECK(
        !decode_hex(&t, "40 01 41 01 62  40 01 61 01 20  40 00 00  00 02 3a3a 01 0a  04 02 610d"));
    for (int again = 0; again < 2; again++) {
        size_t at = again ? 2 : 0;
        CHECK(list[at].flags == CNO_HEADER_BAD_NAME && list[1].flags == CNO_HEADER_BAD_VALUE);
        if (!again) {
            CHECK(list[2].flags == CNO_HEADER_BAD_NAME);
            CHECK(list[3].flags == (CNO_HEADER_BAD_NAME | CNO_HEADER_BAD_VALUE));
            CHECK(list[4].flags == CNO_HEADER_BAD_VALUE && list[4].id == CNO_NAME_P_PATH);
            CHECK(!decode_hex(&t, "be bf c0"));  // from the table: the same
        }
    }
    // A bad value does not stay with the name it came with, a bad name does.
    CHECK(!decode_hex(&t, "7f 00 01 62") && list[0].flags == 0);
    CHECK(!decode_hex(&t, "7f 02 01 62") && list[0].flags == CNO_HEADER_BAD_NAME);
    CHECK(!decode_hex(&t, "1f 2f 01 62") && field_is(0, "A", "b"));
    CHECK(list[0].flags == (CNO_HEADER_BAD_NAME | CNO_HEADER_NEVER_INDEXED));
    cno_hpack_fini(&t);
}

// ---- encoder -----------------------------------------------------------------------------------

static struct cno_header_t header(const char *name, const char *value) {
    return (struct cno_header_t){.name = {name, strlen(name)}, .value = {value, strlen(value)}};
}

static int bytes_are(struct cno__bytes *b, const char *hex) {
    struct cno_buffer_t expect = unhex(hex);
    int ok = b->size == expect.size && (!b->size || !memcmp(b->data, expect.data, b->size));
    free((void *)expect.data);
    b->size = 0;
    return ok;
}

// The first octet of what a field is encoded as.
static int encoded_as(struct cno_hpack_t *t, const char *name, const char *value, int flags) {
    struct cno__bytes b = {0};
    struct cno_header_t h = header(name, value);
    h.flags = (uint8_t)flags;
    int first = cno_hpack_encode(t, &b, &h, 1) ? -1 : (unsigned char)b.data[0];
    cno__bytes_free(&b);
    return first;
}

static void test_policy(void) {
    static const char long_value[] = "0123456789abcdefghij";
    struct cno_hpack_t t;
    cno_hpack_init(&t, 4096);
    CHECK(encoded_as(&t, ":status", "200", 0) == 0x88 &&
          encoded_as(&t, ":status", "500", 0) == 0x8e);
    CHECK(encoded_as(&t, ":method", "POST", 0) == 0x83);
    CHECK(encoded_as(&t, ":path", "/", 0) == 0x84 && encoded_as(&t, ":path", "/x", 0) == 0x04);
    CHECK(encoded_as(&t, "accept-encoding", "gzip, deflate", 0) == 0x90);
    CHECK(encoded_as(&t, "accept", "", 0) == 0x93);
    static const char *plain[] = {"content-length",    "age",           "etag",
                                  "last-modified",     "location",      "content-range",
                                  "if-modified-since", "if-none-match", "set-cookie"};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        CHECK(encoded_as(&t, plain[i], long_value, 0) == 0x0f);
    CHECK(encoded_as(&t, "authorization", long_value, 0) == 0x1f);
    CHECK(encoded_as(&t, "proxy-authorization", long_value, 0) == 0x1f);
    CHECK(encoded_as(&t, "set-cookie", long_value + 1, 0) == 0x1f);
    CHECK(encoded_as(&t, "cookie", long_value + 1, 0) == 0x1f);
    CHECK(encoded_as(&t, "cookie", "", 0) == 0x1f);
    CHECK(encoded_as(&t, "x-secret", "abc", CNO_HEADER_NEVER_INDEXED) == 0x10);
    CHECK(encoded_as(&t, ":method", "GET", CNO_HEADER_NEVER_INDEXED) == 0x12);
    CHECK(t.count == 0);
    CHECK(encoded_as(&t, "cookie", long_value, 0) == 0x60 && t.count == 1);
    CHECK(encoded_as(&t, "cookie", long_value, 0) == 0xbe);
    CHECK(encoded_as(&t, "x-new", "abc", 0) == 0x40 && encoded_as(&t, "x-new", "abc", 0) == 0xbe);
    CHECK(encoded_as(&t, "x-new", "abd", 0) == 0x7e && t.count == 3);
    CHECK(encoded_as(&t, "x-new", "abe", CNO_HEADER_NEVER_INDEXED) == 0x1f && t.count == 3);
    CHECK(encoded_as(&t, "date", "now", 0) == 0x61 && encoded_as(&t, "date", "now", 0) == 0xbe);
    char large[3037];
    memset(large, 'v', sizeof(large));
    large[3036] = 0;
    CHECK(encoded_as(&t, "date", large + 0, 0) == 0x61 && t.count > 1);  // 3072: three quarters
    large[3036] = 'v';
    struct cno_header_t h = {.name = {"date", 4}, .value = {large, sizeof(large)}};
    struct cno__bytes b = {0};
    CHECK(!cno_hpack_encode(&t, &b, &h, 1) && (unsigned char)b.data[0] == 0x0f);
    cno__bytes_free(&b);
    cno_hpack_fini(&t);
}

static void test_encoder_limits(void) {
    struct cno_hpack_t t;
    struct cno__bytes b = {0};
    struct cno_header_t get = header(":method", "GET"), x = header("x", "y");
    cno_hpack_init(&t, 4096);
    CHECK(!cno_hpack_encode(&t, &b, NULL, 0) && bytes_are(&b, ""));
    CHECK(!cno_hpack_encode(&t, &b, &get, 1) && bytes_are(&b, "82"));
    CHECK(!cno_hpack_encode(&t, &b, &x, 1) && bytes_are(&b, "40 01 78 01 79"));
    cno_hpack_set_limit(&t, 0);
    cno_hpack_set_limit(&t, 1337);
    CHECK(t.count == 1);
    CHECK(!cno_hpack_encode(&t, &b, &get, 1) && bytes_are(&b, "20 3f9a0a 82"));
    CHECK(t.count == 0 && t.limit == 1337);
    CHECK(!cno_hpack_encode(&t, &b, &get, 1) && bytes_are(&b, "82"));
    cno_hpack_set_limit(&t, 100);
    CHECK(!cno_hpack_encode(&t, &b, &get, 1) && bytes_are(&b, "3f45 82"));
    cno_hpack_set_limit(&t, 4096);
    cno_hpack_set_limit(&t, 1337);  // never below what it was
    CHECK(!cno_hpack_encode(&t, &b, &get, 1) && bytes_are(&b, "3f9a0a 82"));
    cno_hpack_set_limit(&t, 20);
    cno_hpack_set_limit(&t, 10);
    cno_hpack_set_limit(&t, 1337);  // the same as before, but it was less
    CHECK(!cno_hpack_encode(&t, &b, &get, 1) && bytes_are(&b, "2a 3f9a0a 82"));
    cno_hpack_set_limit(&t, 1337);
    CHECK(!cno_hpack_encode(&t, &b, &get, 1) && bytes_are(&b, "82"));
    cno__bytes_free(&b);
    cno_hpack_fini(&t);
}

// ---- round trips -------------------------------------------------------------------------------

static uint64_t random_state = 0x2545f4914f6cdd1du;

static uint32_t random_below(uint32_t n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % n;
}

static const char *const names[] = {":path",
                                    ":status",
                                    "cookie",
                                    "date",
                                    "authorization",
                                    "content-length",
                                    "etag",
                                    "x-a",
                                    "x-b",
                                    "x-abcdefgh",
                                    "x-abcdefgi",
                                    "set-cookie",
                                    "x-a-rather-long-name-0",
                                    "accept",
                                    "x",
                                    "server",
                                    "vary",
                                    "x-a-rather-long-name-1"};

static char texts[16][600];

// A field from a small set, so that some come again; some values with any octets.
static struct cno_header_t random_field(size_t slot) {
    const char *name = names[random_below(sizeof(names) / sizeof(names[0]))];
    struct cno_header_t h = {.name = {name, strlen(name)}, .value = {texts[slot], 0}};
    uint32_t kind = random_below(20), mark = random_below(6);
    h.value.size = kind == 0 ? random_below(sizeof(texts[0])) : random_below(30);
    for (size_t i = 0; i < h.value.size; i++)
        texts[slot][i] = (char)(kind < 2 ? random_below(256) : 'a' + (mark + i) % 26);
    h.flags = random_below(25) == 0 ? CNO_HEADER_NEVER_INDEXED : 0;
    return h;
}

static int same_fields(const struct cno_header_t *h, size_t count) {
    if (fields.count != count)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const struct cno_header_t *g = &list[i];
        if (g->name.size != h[i].name.size || g->value.size != h[i].value.size ||
            memcmp(g->name.data, h[i].name.data, g->name.size) ||
            memcmp(g->value.data, h[i].value.data, g->value.size))
            return 0;
        if (g->id != cno__name_id(h[i].name.data, h[i].name.size))
            return 0;
        int valid = cno__value_is_valid(g->value.data, g->value.size);
        if (valid != !(g->flags & CNO_HEADER_BAD_VALUE))
            return 0;
        if ((h[i].flags & CNO_HEADER_NEVER_INDEXED) && !(g->flags & CNO_HEADER_NEVER_INDEXED))
            return 0;
    }
    return 1;
}

static int same_tables(const struct cno_hpack_t *a, const struct cno_hpack_t *b) {
    return a->count == b->count && a->size == b->size && a->limit == b->limit &&
           a->size <= a->limit;
}

static void test_round_trips(void) {
    int bad = 0;
    for (int connection = 0; connection < 60; connection++) {
        struct cno_hpack_t encoder, decoder;
        uint32_t limit = connection % 2 ? 4096 : random_below(1200);
        cno_hpack_init(&encoder, limit);
        cno_hpack_init(&decoder, limit);
        encoder.inserted = decoder.inserted = UINT32_MAX - random_below(100);  // it wraps
        for (int n = 0; n < 60; n++) {
            for (uint32_t changes = random_below(10) < 8 ? 0 : random_below(4); changes;
                 changes--) {
                limit = random_below(random_below(2) ? 4097 : 200);
                cno_hpack_set_limit(&encoder, limit);
                cno_hpack_set_limit(&decoder, limit);
            }
            struct cno_header_t h[16];
            size_t count = random_below(16);
            for (size_t i = 0; i < count; i++)
                h[i] = random_field(i);
            struct cno__bytes b = {0};
            bad += cno_hpack_encode(&encoder, &b, h, count) != CNO_OK;
            bad += decode_block(&decoder, (struct cno_buffer_t){b.data, b.size}) != CNO_OK;
            bad += !same_fields(h, count) || !same_tables(&encoder, &decoder);
            cno__bytes_free(&b);
        }
        cno_hpack_fini(&encoder);
        cno_hpack_fini(&decoder);
    }
    CHECK(bad == 0);
}

// Whatever comes in: no octet is read beyond it, and the table is within its limit.
static void test_noise(void) {
    struct cno_hpack_t t;
    cno_hpack_init(&t, 300);
    int bad = 0, errors = 0;
    for (int n = 0; n < 20000; n++) {
        char noise[24];
        size_t size = random_below(sizeof(noise));
        for (size_t i = 0; i < size; i++)
            noise[i] = (char)random_below(random_below(3) ? 256 : 16);
        errors += decode_block(&t, (struct cno_buffer_t){noise, size}) != CNO_OK;
        bad += t.size > t.limit || t.limit > 300;
    }
    CHECK(bad == 0 && errors > 1000 && errors < 20000);
    cno_hpack_fini(&t);
}

// ---- memory ------------------------------------------------------------------------------------

static size_t allocations_left;

static void *failing_resize(void *data, size_t size) {
    if (!allocations_left)
        return NULL;
    allocations_left--;
    return measured_resize(data, size);
}

static const struct cno_allocator_t failing = {failing_resize, measured_release};

// Three blocks from an encoder to a decoder. Returns how many calls failed; what goes through is right.
static int exchange(int *wrong) {
    static const char value[] = "some value that is Huffman coded";
    struct cno_hpack_t encoder, decoder;
    struct cno__bytes b = {0};
    int failed = 0;
    cno_hpack_init(&encoder, 1000);
    cno_hpack_init(&decoder, 1000);
    for (int n = 0; n < 3 && !failed; n++) {
        struct cno_header_t h[16];
        char text[16][16];
        for (int i = 0; i < 16; i++) {
            snprintf(text[i], sizeof(text[i]), "x%d", i + n * 9);
            h[i] = header(text[i], i % 4 ? value : "?");
        }
        b.size = 0;
        if (cno_hpack_encode(&encoder, &b, h, 16) ||
            decode_block(&decoder, (struct cno_buffer_t){b.data, b.size})) {
            *wrong += cno_error()->code != CNO_ERRNO_NO_MEMORY;
            failed++;
        } else {
            *wrong += !same_fields(h, 16) || !same_tables(&encoder, &decoder);
        }
    }
    cno__bytes_free(&b);
    cno_hpack_fini(&encoder);
    cno_hpack_fini(&decoder);
    return failed;
}

static void test_no_memory(void) {
    cno_set_allocator(&failing);
    live = live_octets = 0;
    int wrong = 0, failures = 0, n = 0;
    for (;; n++) {
        allocations_left = (size_t)n;
        failures += exchange(&wrong);
        wrong += live != 0;
        if (allocations_left)
            break;
    }
    CHECK(wrong == 0 && failures > 20 && n > 40);
    CHECK(live_octets == 0);
    cno_set_allocator(NULL);
}

// What a connection keeps after a browser's request and an answer, and what an unused one does.
static void test_footprint(void) {
    static const struct pair request[] = {
        {":method", "GET"},
        {":scheme", "https"},
        {":path", "/static/js/app.7f3a9c.js?v=20240611"},
        {":authority", "www.example.com"},
        {"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0"},
        {"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
        {"accept-language", "en-US,en;q=0.5"},
        {"accept-encoding", "gzip, deflate, br, zstd"},
        {"referer", "https://www.example.com/index.html"},
        {"cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"},
        {"sec-fetch-mode", "no-cors"},
        {"priority", "u=2"}};
    static const struct pair answer[] = {
        {":status", "200"},       {"date", DATE1},
        {"server", "cno"},        {"content-type", "text/plain; charset=utf-8"},
        {"content-length", "13"}, {"x-request-id", "0123456789abcdef"}};
    struct cno_header_t h[12];
    struct cno_hpack_t peer, in, out;
    struct cno__bytes b = {0};
    cno_hpack_init(&peer, 4096);
    for (size_t i = 0; i < 12; i++)
        h[i] = header(request[i].name, request[i].value);
    cno_hpack_encode(&peer, &b, h, 12);
    cno_set_allocator(&measured);
    live = live_octets = 0;
    cno_hpack_init(&in, 4096);
    cno_hpack_init(&out, 4096);
    CHECK(live == 0);
    CHECK(!decode_block(&in, (struct cno_buffer_t){b.data, b.size}) && same_fields(h, 12));
    for (size_t i = 0; i < 6; i++)
        h[i] = header(answer[i].name, answer[i].value);
    struct cno__bytes sent = {0};
    CHECK(!cno_hpack_encode(&out, &sent, h, 6));
    cno__bytes_free(&sent);
    CHECK(live_octets + live * sizeof(size_t) < 2500);
    printf("both tables after a request and an answer: %zu octets in %zu blocks\n", live_octets,
           live);
    cno_hpack_fini(&in);
    cno_hpack_fini(&out);
    CHECK(live == 0 && live_octets == 0);
    cno_set_allocator(NULL);
    cno__bytes_free(&b);
    cno_hpack_fini(&peer);
}

int main(void) {
    test_appendix_c();
    test_errors();
    test_huffman_errors();
    test_huffman();
    test_decoder_limits();
    test_dropping();
    test_bomb();
    test_eviction();
    test_flags();
    test_policy();
    test_encoder_limits();
    test_round_trips();
    test_noise();
    test_no_memory();
    test_footprint();
    guard_close(&block);
    return finish();
}
