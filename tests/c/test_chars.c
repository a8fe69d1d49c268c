// Tests of chars.c and common.c, the two leaves everything else links. The reference for each word-wise
// function is the same rule written octet by octet, over every octet at every position and length.
#include "guard.h"

#include "message/chars.h"
#include "common.h"
#include "config.h"
#include "check.h"

static int ref_in_value(unsigned char c) {
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static int ref_in_target(unsigned char c) {
    return c > 0x20 && c < 0x7f && c != '#';
}

static int ref_value_is_valid(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!ref_in_value((unsigned char)s[i]))
            return 0;
    return !n || !(s[0] == ' ' || s[0] == '\t' || s[n - 1] == ' ' || s[n - 1] == '\t');
}

static struct guard guard, written;

// One octet `c` at `at` in `n` good ones, which end, or begin, where the page does.
static int agrees(int begin, size_t n, size_t at, unsigned char c, char filler) {
    char *s = begin ? guard.start : guard_last(&guard, n);
    memset(s, filler, n);
    if (at < n)
        s[at] = (char)c;
    size_t value = 0, target = 0;
    while (value < n && ref_in_value((unsigned char)s[value]))
        value++;
    while (target < n && ref_in_target((unsigned char)s[target]))
        target++;
    int ok = cno__value_span(s, n) == value && cno__target_span(s, n) == target &&
             cno__value_is_valid(s, n) == ref_value_is_valid(s, n);
    return ok;
}

static void test_spans(void) {
    static const char fillers[] = {'a', '~', '!', '\xff', '\x80', '\t'};
    int bad = 0;
    guard_open(&guard, 1);
    for (size_t f = 0; f < sizeof(fillers); f++)
        for (size_t n = 0; n < 36; n++)
            for (size_t at = 0; at <= n; at++)
                for (unsigned c = 0; c < 256; c++)
                    bad += !agrees((int)(c & 1), n, at, (unsigned char)c, fillers[f]);
    CHECK(bad == 0);
    CHECK(cno__value_is_valid("", 0));
    CHECK(cno__value_is_valid("a b\tc", 5));
    CHECK(!cno__value_is_valid(" ", 1));
    CHECK(!cno__value_is_valid("a\0b", 3));
}

static void test_names(void) {
    static const struct {
        const char *name;
        enum CNO_NAME id;
    } all[] = {
        {":authority", CNO_NAME_P_AUTHORITY},
        {":method", CNO_NAME_P_METHOD},
        {":path", CNO_NAME_P_PATH},
        {":protocol", CNO_NAME_P_PROTOCOL},
        {":scheme", CNO_NAME_P_SCHEME},
        {":status", CNO_NAME_P_STATUS},
        {":", CNO_NAME_P_UNKNOWN},
        {":pathx", CNO_NAME_P_UNKNOWN},
        {":paty", CNO_NAME_P_UNKNOWN},
        {":metho_", CNO_NAME_P_UNKNOWN},
        {":protocox", CNO_NAME_P_UNKNOWN},
        {":authoritx", CNO_NAME_P_UNKNOWN},
        {"connection", CNO_NAME_CONNECTION},
        {"content-length", CNO_NAME_CONTENT_LENGTH},
        {"cookie", CNO_NAME_COOKIE},
        {"date", CNO_NAME_DATE},
        {"expect", CNO_NAME_EXPECT},
        {"host", CNO_NAME_HOST},
        {"http2-settings", CNO_NAME_HTTP2_SETTINGS},
        {"keep-alive", CNO_NAME_KEEP_ALIVE},
        {"priority", CNO_NAME_PRIORITY},
        {"proxy-connection", CNO_NAME_PROXY_CONNECTION},
        {"server", CNO_NAME_SERVER},
        {"te", CNO_NAME_TE},
        {"transfer-encoding", CNO_NAME_TRANSFER_ENCODING},
        {"upgrade", CNO_NAME_UPGRADE},
        {"", CNO_NAME_OTHER},
        {"tE", CNO_NAME_OTHER},
        {"Date", CNO_NAME_OTHER},
        {"hosts", CNO_NAME_OTHER},
        {"hosx", CNO_NAME_OTHER},
        {"serves", CNO_NAME_OTHER},
        {"trailex", CNO_NAME_OTHER},
        {"prioritx", CNO_NAME_OTHER},
        {"keep-alivx", CNO_NAME_OTHER},
        {"http2-settingz", CNO_NAME_OTHER},
        {"proxy-connectiox", CNO_NAME_OTHER},
        {"transfer-encodinx", CNO_NAME_OTHER},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        CHECK(cno__name_id(all[i].name, strlen(all[i].name)) == all[i].id);

    static const char token_punctuation[] = "!#$%&'*+-.^_`|~";
    int bad = 0;
    for (int c = 0; c < 256; c++) {
        int lower =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr(token_punctuation, c));
        int upper = c >= 'A' && c <= 'Z';
        char name[3] = {'x', (char)c, 'x'};
        bad += cno__tchar_lower[c] != (lower ? c : upper ? c + 32 : 0);
        bad += cno__name_is_valid_h2(name, 3) != lower;
        bad += cno__name_is_token(name, 3) != (lower || upper);
        bad += cno__name_is_token(name + 1, 1) != (lower || upper);
        bad += cno__name_is_valid_h2(name + 1, 1) != lower;
    }
    CHECK(bad == 0);
    CHECK(cno__name_is_valid_h2(":path", 5));
    CHECK(!cno__name_is_valid_h2(":", 1));
    CHECK(!cno__name_is_valid_h2("::a", 3));
    CHECK(!cno__name_is_valid_h2("", 0));
    CHECK(!cno__name_is_token("", 0));
    CHECK(!cno__name_is_token(":path", 5));
}

// The token at s[i..n) in lower case. Returns where it ends.
static size_t ref_lower(const char *s, size_t n, size_t i, char *lower) {
    for (; i < n && cno__tchar_lower[(unsigned char)s[i]]; i++)
        lower[i] = (char)cno__tchar_lower[(unsigned char)s[i]];
    return i;
}

// One octet `c` at `at` in a name of `n`; what is written ends where a page does, too.
static int lowers(int begin, size_t n, size_t at, unsigned char c, char filler) {
    char *s = begin ? guard.start : guard_last(&guard, n), *lower = guard_last(&written, n);
    char expect[40] = ":";
    int changed;
    memset(s, filler, n);
    if (at < n)
        s[at] = (char)c;
    size_t token = ref_lower(s, n, 0, expect), colon = n && s[0] == ':';
    if (cno__token_lower(s, n, lower) != token || memcmp(lower, expect, token))
        return 0;
    int is_name = n > colon && ref_lower(s, n, colon, expect) == n;
    if (cno__name_lower(s, n, lower, &changed) != is_name)
        return 0;
    return !is_name || (!memcmp(lower, expect, n) && changed == !!memcmp(expect, s, n));
}

static void test_lowering(void) {
    static const char fillers[] = {'a', 'Z', '-', '9', '_'};
    int bad = 0;
    for (size_t f = 0; f < sizeof(fillers); f++)
        for (size_t n = 0; n < 36; n++)
            for (size_t at = 0; at <= n; at++)
                for (unsigned c = 0; c < 256; c++)
                    bad += !lowers((int)(c & 1), n, at, (unsigned char)c, fillers[f]);
    CHECK(bad == 0);
}

static int parse(const char *s, uint64_t *out) {
    return cno__parse_uint(s, strlen(s), out);
}

static void test_values(void) {
    uint64_t n = 7;
    CHECK(parse("", &n) == -1 && parse("-1", &n) == -1 && parse("+1", &n) == -1);
    CHECK(parse("1 ", &n) == -1 && parse("0x1", &n) == -1 && parse("1:", &n) == -1);
    CHECK(parse("9223372036854775808", &n) == -1 && parse("99999999999999999999", &n) == -1);
    CHECK(parse("18446744073709551617", &n) == -1 && n == 7);
    CHECK(parse("0", &n) == 0 && n == 0);
    CHECK(parse("0000000000000000000000000013", &n) == 0 && n == 13);
    CHECK(parse("9223372036854775807", &n) == 0 && n == INT64_MAX);

    CHECK(cno__equals_icase("ChUnKeD", 7, "chunked"));
    CHECK(!cno__equals_icase("chunke", 6, "chunked") &&
          !cno__equals_icase("chunkedd", 8, "chunked"));
    CHECK(!cno__equals_icase("a\0b", 3, "a") && !cno__equals_icase("\0", 1, ""));
    CHECK(!cno__equals_icase("[", 1, "{") && cno__equals_icase("", 0, ""));

    static const char list[] = " , ,close ,\tUpgrade,, keep-alive\t ,";
    static const char *expect[] = {"close", "Upgrade", "keep-alive"};
    size_t pos = 0, item_size, found = 0;
    const char *item;
    while (cno__list_next(list, sizeof(list) - 1, &pos, &item, &item_size) && found < 3) {
        CHECK(item_size == strlen(expect[found]) && !memcmp(item, expect[found], item_size));
        found++;
    }
    CHECK(found == 3 && pos == sizeof(list) - 1);
    pos = 0;
    CHECK(!cno__list_next("", 0, &pos, &item, &item_size));
    pos = 0;
    CHECK(!cno__list_next(" \t,", 3, &pos, &item, &item_size));
    pos = 0;
    CHECK(cno__list_next("a b", 3, &pos, &item, &item_size) && item_size == 3);
}

static int host(const char *text, int needs_port) {
    size_t size = strlen(text);
    return cno__host_is_valid(guard_copy(&guard, text, size), size, needs_port);
}

static void test_hosts(void) {
    CHECK(host("h", 0) && host("", 0) && host("h:", 0) && host("h:80", 1) && host("[::1]:8", 1));
    CHECK(host("%41b", 0) && host("a%aF", 0) && host("[1.f:A]", 0));
    CHECK(!host("%4", 0) && !host("%g1", 0) && !host("%1g", 0) && !host("%`a", 0));
    CHECK(!host("[", 0) && !host("[]", 0) && !host("[::1", 0) && !host("[x]", 0) &&
          !host("[1]a", 0));
    CHECK(!host("", 1) && !host("h", 1) && !host("h:", 1) && !host(":80", 1) && !host("h:8a", 0));
    CHECK(!host("u@h", 0) && !host("a b", 0) && !host("h\x80", 0));
}

// Names, numbers, hosts and lists of every length, against the page.
static void test_edges(void) {
    static const char *const texts[] = {":authority",
                                        "transfer-encoding",
                                        "connection",
                                        "example.org",
                                        "example.org:8080",
                                        "[::1]:80",
                                        "1234567890123456789",
                                        "close, keep-alive, upgrade",
                                        "trailers",
                                        "x"};
    char lower[64];
    uint64_t number;
    int changed, used = 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        for (size_t n = 0; n <= strlen(texts[i]); n++) {
            const char *s = guard_copy(&guard, texts[i], n), *item;
            size_t pos = 0, size;
            used += cno__name_lower(s, n, lower, &changed) + (int)cno__name_id(s, n) +
                    cno__name_is_valid_h2(s, n) + cno__name_is_token(s, n) +
                    cno__host_is_valid(s, n, 0) + cno__host_is_valid(s, n, 1) +
                    cno__equals_icase(s, n, texts[i]) + !cno__parse_uint(s, n, &number);
            while (cno__list_next(s, n, &pos, &item, &size))
                used += (int)size;
        }
    }
    CHECK(used > 0);
    guard_close(&guard);
    guard_close(&written);
}

// ---- common.c ----------------------------------------------------------------------------------

static size_t moved_by_resize;
static int resize_fails;

static void *counting_resize(void *data, size_t size) {
    moved_by_resize += size;
    return resize_fails ? NULL : realloc(data, size);
}

static void test_errors(void) {
    CHECK(cno_error()->reason != NULL);
    CHECK(cno_error_set(CNO_ERRNO_PROTOCOL, "bad", "%d and %s", 5, "six") == CNO_ERROR);
    CHECK(!strcmp(cno_error()->text, "5 and six") && !strcmp(cno_error()->reason, "bad"));
    CHECK(cno_error_set_wire(9, 77) == CNO_ERROR);
    CHECK(cno_error()->code == CNO_ERRNO_PROTOCOL && cno_error()->wire == 9);
    CHECK(cno_error()->offset == 77);
    cno_error_set(CNO_ERRNO_ASSERTION, "long", "%0500d", 1);
    CHECK(strlen(cno_error()->text) == sizeof(cno_error()->text) - 1);
    CHECK(cno_error()->wire == 0 && cno_error()->offset == 0);
}

static void test_bytes(void) {
    struct cno__bytes b = {0};
    CHECK(!cno__bytes_append(&b, NULL, 0) && b.data == NULL);
    cno__bytes_consume(&b, 0);
    cno__bytes_clear(&b);
    CHECK(!cno__bytes_append(&b, "hello", 5) && !cno__bytes_append(&b, " world", 6));
    cno__bytes_consume(&b, 6);
    CHECK(b.size == 5 && b.front == 6 && !memcmp(b.data, "world", 5));

    CHECK(cno__bytes_reserve(&b, SIZE_MAX) == CNO_ERROR);
    CHECK(cno__bytes_reserve(&b, SIZE_MAX - 4) == CNO_ERROR);
    CHECK(cno_error()->code == CNO_ERRNO_NO_MEMORY && b.size == 5);

    size_t whole = b.front + b.room;
    CHECK(!cno__bytes_reserve(&b, whole - 5));  // fits only when moved to the front
    CHECK(b.front == 0 && b.room == whole && !memcmp(b.data, "world", 5));

    struct cno_allocator_t failing = {.resize = counting_resize, .release = free};
    cno_set_allocator(&failing);
    resize_fails = 1;
    CHECK(cno__bytes_reserve(&b, 5000) == CNO_ERROR && cno_error()->code == CNO_ERRNO_NO_MEMORY);
    CHECK(b.size == 5 && !memcmp(b.data, "world", 5));
    resize_fails = 0;
    CHECK(!cno__bytes_reserve(&b, 5000));
    cno__bytes_clear(&b);
    CHECK(b.data == NULL && b.size == 0);  // more than CNO_BUFFER_KEEP goes back
    CHECK(!cno__bytes_append(&b, "x", 1));
    cno__bytes_consume(&b, 1);
    CHECK(b.size == 0 && b.front == 0);
    cno__bytes_clear(&b);
    CHECK(b.data != NULL && b.room <= CNO_BUFFER_KEEP);

    // A queue that holds 1000 octets while a million go through: bounded room, no growth per octet.
    moved_by_resize = 0;
    char piece[100];
    int ok = 1;
    for (unsigned i = 0; i < 10000; i++) {
        memset(piece, (int)(i & 0x7f), sizeof(piece));
        ok &= !cno__bytes_append(&b, piece, sizeof(piece));
        if (i >= 10) {
            ok &= b.data[0] == (char)((i - 10) & 0x7f);
            cno__bytes_consume(&b, sizeof(piece));
        }
    }
    CHECK(ok && b.size == 1000 && b.front + b.room <= 4096 && moved_by_resize < 16384);
    cno__bytes_free(&b);
    cno__bytes_free(&b);
    cno_set_allocator(NULL);
}

int main(void) {
    test_spans();
    test_names();
    test_lowering();
    test_values();
    test_hosts();
    test_edges();
    test_errors();
    test_bytes();
    return finish();
}
