// Tests of marshal.c: what an application's list of fields may look like, cut and changed at every octet
// where a page ends, and how strings are told from octets.
#include "guard.h"

#include "batch/marshal.h"
#include "check.h"

static struct guard guard;

static long read_at_edge(const char *data, size_t size, struct cno_header_t *list) {
    return cno__read_fields(guard_copy(&guard, data, size), size, list, 4);
}

// [(b"a", b"bc"), [b"", b"d"]], the inner ones as a tuple and as a list.
static const char FIELDS[] = "[\2\0\0\0)\2s\1\0\0\0as\2\0\0\0bc[\2\0\0\0s\0\0\0\0s\1\0\0\0d";

static void test_reading(void) {
    struct cno_header_t list[4];
    size_t size = sizeof(FIELDS) - 1;
    CHECK(read_at_edge(FIELDS, size, list) == 2);
    CHECK(list[0].name.size == 1 && list[0].value.size == 2 &&
          !memcmp(list[0].value.data, "bc", 2));
    CHECK(list[1].name.size == 0 && list[1].value.data[0] == 'd' && !list[1].flags);
    CHECK(cno__read_fields(NULL, 0, list, 4) == 0);
    int bad = 0;
    for (size_t cut = 1; cut < size; cut++)
        bad += read_at_edge(FIELDS, cut, list) != -1 || cno_error()->code != CNO_ERRNO_ASSERTION;
    CHECK(bad == 0);
    char changed[sizeof(FIELDS)];
    for (size_t at = 0; at < size; at++) {
        for (unsigned octet = 0; octet < 256; octet++) {
            memcpy(changed, FIELDS, size);
            changed[at] = (char)octet;
            long count = read_at_edge(changed, size, list);
            bad += count > 4 || (count < 0 && cno_error()->code != CNO_ERRNO_ASSERTION);
            for (long i = 0; i < count; i++)
                bad += list[i].value.data + list[i].value.size > guard.end;
        }
    }
    CHECK(bad == 0);
    static const struct {
        const char *data, *word;
        size_t size;
    } wrong[] = {{"N", "not a list", 1},
                 {"[\5\0\0\0", "more than 4", 5},
                 {"[\1\0\0\0N", "not None", 6},
                 {"[\1\0\0\0)\1", "of another length", 7},
                 {"[\1\0\0\0)\2z\1a", "not str", 9},
                 {"[\1\0\0\0)\2i\1\0\0\0", "not int", 12},
                 {"[\1\0\0\0)\2g", "something else", 8},
                 {"[\1\0\0\0)\2s\0\0\0\0u\1\0\0\0a", "the value", 18}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        CHECK(read_at_edge(wrong[i].data, wrong[i].size, list) == -1);
        CHECK(strstr(cno_error()->text, wrong[i].word) != NULL);
    }
}

// The type that a text gets: short or long ASCII, UTF-8, or octets.
static char type_of(const char *text, size_t size) {
    struct cno__writer w = {0};
    cno__put_text(&w, guard_copy(&guard, text, size), size);
    char type = w.failed ? 0 : w.data[0];
    free(w.data);
    return type;
}

static void test_text(void) {
    static const char *const utf8[] = {"\xc2\x80",         "a\xdf\xbf",    "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",     "\xee\x80\x80", "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbfz"};
    // Overlong, a surrogate, beyond U+10FFFF, cut, and no start (RFC 3629 sections 3 and 4).
    static const char *const octets[] = {"\xc1\xbf",
                                         "\xc0\x80",
                                         "\xe0\x9f\xbf",
                                         "\xed\xa0\x80",
                                         "\xf0\x8f\xbf\xbf",
                                         "\xf4\x90\x80\x80",
                                         "\xf5\x80\x80\x80",
                                         "\xc2",
                                         "a\xe1\x80",
                                         "\xe1\x80z",
                                         "\x80",
                                         "\xff"};
    char large[300];
    memset(large, 'x', sizeof(large));
    CHECK(type_of("", 0) == 'z' && type_of("abc", 3) == 'z' && type_of(large, 255) == 'z');
    CHECK(type_of(large, 256) == 'a');
    for (size_t i = 0; i < sizeof(utf8) / sizeof(*utf8); i++)
        CHECK(type_of(utf8[i], strlen(utf8[i])) == 'u');
    for (size_t i = 0; i < sizeof(octets) / sizeof(*octets); i++)
        CHECK(type_of(octets[i], strlen(octets[i])) == 's');
}

int main(void) {
    test_reading();
    test_text();
    guard_close(&guard);
    return finish();
}
