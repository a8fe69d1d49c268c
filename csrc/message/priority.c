// The value of a priority field: a Dictionary of Structured Fields (RFC 8941) with two known
// members. In this file "section" is one of RFC 8941.
#include "message/priority.h"

#include <string.h>

struct reader {
    const char *at, *end;
};

enum TYPE { BAD, INTEGER, BOOLEAN, OTHER };

// A bare item. `number` is the value of an integer or a boolean.
struct item {
    enum TYPE type;
    int64_t number;
};

static int peek(const struct reader *r) {
    return r->at < r->end ? (unsigned char)*r->at : -1;
}

static int take(struct reader *r, char c) {
    int is = peek(r) == (unsigned char)c;
    r->at += is;
    return is;
}

static int is_digit(int c) {
    return c >= '0' && c <= '9';
}

static int is_lower(int c) {
    return c >= 'a' && c <= 'z';
}

static int is_alpha(int c) {
    return is_lower(c | 0x20);
}

static int one_of(int c, const char *set) {
    return c > 0 && strchr(set, c) != NULL;
}

static void skip(struct reader *r, const char *set) {
    while (one_of(peek(r), set))
        r->at++;
}

// Section 3.1.2. Returns its size, or 0.
static size_t read_key(struct reader *r) {
    const char *start = r->at;
    if (!is_lower(peek(r)) && peek(r) != '*')
        return 0;
    while (is_lower(peek(r)) || is_digit(peek(r)) || one_of(peek(r), "_-.*"))
        r->at++;
    return (size_t)(r->at - start);
}

// Sections 3.3.1 and 3.3.2: 15 digits, or 12 and 3 behind the point.
static struct item read_number(struct reader *r) {
    struct item item = {INTEGER, 0};
    int sign = take(r, '-') ? -1 : 1, digits = 0, fraction = 0;
    for (; is_digit(peek(r)) && digits < 16; digits++)
        item.number = item.number * 10 + (*r->at++ - '0');
    item.number *= sign;
    if (digits == 0 || digits == 16)
        return (struct item){BAD, 0};
    if (!take(r, '.'))
        return item;
    for (; is_digit(peek(r)) && fraction < 4; fraction++)
        r->at++;
    int fits = digits <= 12 && fraction >= 1 && fraction <= 3;
    return (struct item){fits ? OTHER : BAD, 0};
}

// Section 3.3.3, behind the opening quote.
static enum TYPE read_string(struct reader *r) {
    for (int c; (c = peek(r)) >= 0x20 && c < 0x7f;) {
        r->at++;
        if (c == '"')
            return OTHER;
        if (c == '\\' && !take(r, '"') && !take(r, '\\'))
            return BAD;
    }
    return BAD;
}

// Section 3.3.5, behind the opening colon.
static enum TYPE read_octets(struct reader *r) {
    while (is_alpha(peek(r)) || is_digit(peek(r)) || one_of(peek(r), "+/="))
        r->at++;
    return take(r, ':') ? OTHER : BAD;
}

// Section 3.3.
static struct item read_item(struct reader *r) {
    int c = peek(r);
    if (c == '-' || is_digit(c))
        return read_number(r);
    if (take(r, '"'))
        return (struct item){read_string(r), 0};
    if (take(r, ':'))
        return (struct item){read_octets(r), 0};
    if (take(r, '?')) {
        int yes = take(r, '1');
        return (struct item){yes || take(r, '0') ? BOOLEAN : BAD, yes};
    }
    if (!is_alpha(c) && c != '*')
        return (struct item){BAD, 0};
    while (is_alpha(peek(r)) || is_digit(peek(r)) || one_of(peek(r), "!#$%&'*+-.^_`|~:/"))
        r->at++;
    return (struct item){OTHER, 0};
}

// Section 3.1.2: parameters, which are ignored. Returns whether they are well-formed.
static int read_parameters(struct reader *r) {
    while (take(r, ';')) {
        skip(r, " ");
        if (!read_key(r) || (take(r, '=') && read_item(r).type == BAD))
            return 0;
    }
    return 1;
}

// Section 3.1.1, behind the opening parenthesis.
static enum TYPE read_inner_list(struct reader *r) {
    for (;;) {
        skip(r, " ");
        if (take(r, ')'))
            return OTHER;
        if (read_item(r).type == BAD || !read_parameters(r) || !one_of(peek(r), " )"))
            return BAD;
    }
}

// Applies one member. The last member of a name counts, even if its value is ignored (section 3.2).
static void apply(const char *key, size_t size, struct item item, uint8_t *priority) {
    if (size == 1 && *key == 'u') {
        int known = item.type == INTEGER && item.number >= 0 && item.number <= 7;
        *priority = (uint8_t)((*priority & ~CNO__PRIORITY_URGENCY) |
                              (known ? item.number : CNO__PRIORITY_DEFAULT));
    } else if (size == 1 && *key == 'i') {
        int yes = item.type == BOOLEAN && item.number;
        *priority = (uint8_t)((*priority & ~CNO__PRIORITY_INCREMENTAL) |
                              (yes ? CNO__PRIORITY_INCREMENTAL : 0));
    }
}

int cno__priority_parse(const char *data, size_t size, uint8_t *priority) {
    if (!size)
        return 0;
    struct reader r = {data, data + size};
    uint8_t result = *priority;
    skip(&r, " ");
    while (r.at < r.end) {
        const char *key = r.at;
        size_t length = read_key(&r);
        struct item item = {BOOLEAN, 1};
        if (!length)
            return -1;
        if (take(&r, '='))
            item = take(&r, '(') ? (struct item){read_inner_list(&r), 0} : read_item(&r);
        if (item.type == BAD || !read_parameters(&r))
            return -1;
        apply(key, length, item, &result);
        skip(&r, " \t");
        if (r.at == r.end)
            break;
        if (!take(&r, ','))
            return -1;
        skip(&r, " \t");
        if (r.at == r.end)
            return -1;  // section 4.2.2: nothing behind a comma
    }
    *priority = result;
    return 0;
}
