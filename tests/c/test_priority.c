// The value of a priority field (RFC 9218 section 4) as a Dictionary (RFC 8941), each in a block of
// exactly its size.
#include "message/priority.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { MALFORMED = -1, I = CNO__PRIORITY_INCREMENTAL };

static int parse(const char *text) {
    size_t size = strlen(text);
    char *exact = malloc(size ? size : 1);
    uint8_t priority = CNO__PRIORITY_DEFAULT;
    memcpy(exact, text, size);
    int result = cno__priority_parse(exact, size, &priority);
    free(exact);
    if (result)
        CHECK(result == MALFORMED && priority == CNO__PRIORITY_DEFAULT);
    return result ? MALFORMED : priority;
}

static const struct {
    const char *text;
    int priority;
} CASES[] = {
    {"", 3},
    {"   ", 3},
    {"u=0", 0},
    {"u=7", 7},
    {"i", 3 | I},
    {"i=?1", 3 | I},
    {"i=?0", 3},
    {"u=5, i", 5 | I},
    {"i,u=5", 5 | I},
    {"  u=1 \t,\t i  ", 1 | I},
    // The last of a name counts.
    {"u=1, u=2", 2},
    {"i, i=?0", 3},
    {"u=1, u=abc", 3},
    {"i, i=1", 3},
    // Out of range, or of another type: as if it were not there.
    {"u=8", 3},
    {"u=-1", 3},
    {"u=-0", 0},
    {"u=999999999999999", 3},
    {"u=1.0", 3},
    {"u=?1", 3},
    {"u=\"1\"", 3},
    {"u=(1)", 3},
    {"u", 3},
    {"i=1", 3},
    {"i=()", 3},
    // What is not known, of every type.
    {"a, b=1, c=-1.25, d=\"x\\\"\\\\ \", e=tok*en/:!, f=:YWI=:, g=?0, *_-.*9=1, u=2", 2},
    {"a=(), b=( ), c=(1 2  \"x\" ), d=(a;q=1;r b);s=(, u=2", MALFORMED},
    {"a=(), b=( ), c=(1 2  \"x\" ), d=(a;q=1;r b);s=x;  t, u=2", 2},
    {"u=1;x;y=2, i;z=?1", 1 | I},
    {"uu=1, ii, u1=0", 3},
    {"a=123456789012.125, u=1", 1},
    {"a=*, u=1", 1},
    // What is no Dictionary says nothing at all.
    {"u=1,", MALFORMED},
    {"u=1, ", MALFORMED},
    {",u=1", MALFORMED},
    {"u=1,,i", MALFORMED},
    {"u=1 i", MALFORMED},
    {"\tu=1", MALFORMED},
    {"U=1", MALFORMED},
    {"1", MALFORMED},
    {"u =1", MALFORMED},
    {"u= 1", MALFORMED},
    {"u=", MALFORMED},
    {"u=+1", MALFORMED},
    {"u=-", MALFORMED},
    {"u=1.", MALFORMED},
    {"u=1.2345", MALFORMED},
    {"u=.5", MALFORMED},
    {"u=1234567890123.5", MALFORMED},
    {"u=1000000000000000", MALFORMED},
    {"u=99999999999999999999999999999", MALFORMED},
    {"i=?", MALFORMED},
    {"i=?2", MALFORMED},
    {"i=?true", MALFORMED},
    {"a=\"x", MALFORMED},
    {"a=\"x\\", MALFORMED},
    {"a=\"\\x\"", MALFORMED},
    {"a=\"\t\"", MALFORMED},
    {"a=\"\x80\"", MALFORMED},
    {"a=:YQ", MALFORMED},
    {"a=:Y Q:", MALFORMED},
    {"a=(1", MALFORMED},
    {"a=(1,2)", MALFORMED},
    {"a=(1\"x\")", MALFORMED},
    {"a=1;", MALFORMED},
    {"a=1;=2", MALFORMED},
    {"a=1;b=", MALFORMED},
    {"a=@1", MALFORMED},
    {"\xff", MALFORMED},
};

int main(void) {
    for (size_t i = 0; i < sizeof(CASES) / sizeof(*CASES); i++)
        if (!CHECK(parse(CASES[i].text) == CASES[i].priority))
            printf("  %s: %d\n", CASES[i].text, parse(CASES[i].text));
    // No octet is taken for the end of the value, and a flag of the caller's is kept.
    uint8_t priority = CNO__PRIORITY_FRAME | 5;
    CHECK(cno__priority_parse("u=1\0", 4, &priority) && priority == (CNO__PRIORITY_FRAME | 5));
    CHECK(!cno__priority_parse("i", 1, &priority) && priority == (CNO__PRIORITY_FRAME | 5 | I));
    CHECK(!cno__priority_parse(NULL, 0, &priority));
    return finish();
}
