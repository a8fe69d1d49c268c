// The part of CPython's marshal format that a batch uses: numbers are little-endian, and every
// value begins with one byte that is its type.
#include "batch/marshal.h"

#include <string.h>

#include "message/utf8.h"

// ---- writing -----------------------------------------------------------------------------------

char *cno__put_room(struct cno__writer *w, size_t size) {
    if (w->room - w->size >= size)
        return w->data + w->size;
    if (w->failed)
        return NULL;
    size_t want = w->room ? w->room : 512;
    while (want - w->size < size)
        want *= 2;
    char *data = cno__resize(w->data, want);
    if (!data) {
        w->failed = 1;
        return NULL;
    }
    w->data = data;
    w->room = want;
    return data + w->size;
}

static char *put4(char *at, uint32_t value) {
    for (int i = 0; i < 4; i++)
        *at++ = (char)(value >> 8 * i);
    return at;
}

void cno__put_raw(struct cno__writer *w, const void *data, size_t size) {
    char *at = cno__put_room(w, size);
    if (!at || !size)
        return;
    memcpy(at, data, size);
    w->size += size;
}

void cno__put_tuple(struct cno__writer *w, unsigned char count) {
    char head[2] = {')', (char)count};
    cno__put_raw(w, head, 2);
}

size_t cno__put_list(struct cno__writer *w) {
    cno__put_raw(w, "[\0\0\0\0", 5);
    return w->size - 4;
}

void cno__put_count(struct cno__writer *w, size_t at, uint32_t count) {
    if (!w->failed)
        put4(w->data + at, count);
}

void cno__put_int(struct cno__writer *w, int32_t value) {
    char number[5] = {'i'};
    put4(number + 1, (uint32_t)value);
    cno__put_raw(w, number, 5);
}

void cno__put_float(struct cno__writer *w, double value) {
    char number[9] = {'g'};
    uint64_t bits;
    memcpy(&bits, &value, 8);
    put4(put4(number + 1, (uint32_t)bits), (uint32_t)(bits >> 32));
    cno__put_raw(w, number, 9);
}

void cno__put_none(struct cno__writer *w) {
    cno__put_raw(w, "N", 1);
}

static char *put_string(char *at, char type, const char *data, size_t size) {
    *at++ = type;
    at = put4(at, (uint32_t)size);
    if (size)
        memcpy(at, data, size);
    return at + size;
}

void cno__put_bytes(struct cno__writer *w, const char *data, size_t size) {
    char *at = cno__put_room(w, size + 5);
    if (at)
        w->size += (size_t)(put_string(at, 's', data, size) - at);
}

void cno__put_written(struct cno__writer *w, char type, size_t size) {
    char *at = w->data + w->size;
    *at = type;
    put4(at + 1, (uint32_t)size);
    w->size += CNO__STRING_HEAD + size;
}

void cno__put_pair(struct cno__writer *w, struct cno_buffer_t first, struct cno_buffer_t second) {
    char *start = cno__put_room(w, first.size + second.size + 12), *at = start;
    if (!at)
        return;
    *at++ = ')';
    *at++ = 2;
    at = put_string(at, 's', first.data, first.size);
    at = put_string(at, 's', second.data, second.size);
    w->size += (size_t)(at - start);
}

void cno__put_ascii(struct cno__writer *w, const char *data, size_t size) {
    char *at = cno__put_room(w, size + 5);
    if (!at)
        return;
    if (size > 255) {
        w->size += (size_t)(put_string(at, 'a', data, size) - at);
        return;
    }
    at[0] = 'z';
    at[1] = (char)size;
    if (size)
        memcpy(at + 2, data, size);
    w->size += size + 2;
}

void cno__put_text(struct cno__writer *w, const char *data, size_t size) {
    size_t i = 0;
    while (i < size && (unsigned char)data[i] < 0x80)
        i++;
    if (i == size) {
        cno__put_ascii(w, data, size);
        return;
    }
    char type = cno__utf8_is_valid(data + i, size - i) ? 'u' : 's',
         *at = cno__put_room(w, size + 5);
    if (at)
        w->size += (size_t)(put_string(at, type, data, size) - at);
}

// ---- reading -----------------------------------------------------------------------------------

// Reads the type byte, and the number behind it for types that have one. Returns 0 when the input
// ends.
static int read_head(struct cno__reader *r, uint32_t *number) {
    if (r->at == r->end)
        return 0;
    int type = *r->at++ & 0x7f;  // the high bit only marks values that may be referred to again
    size_t width = type == ')' || type == 'z' || type == 'Z' ? 1
                   : type == '[' || type == '(' || type == 's' || type == 'u' || type == 't' ||
                           type == 'a' || type == 'A' || type == 'i'
                       ? 4
                       : 0;
    if ((size_t)(r->end - r->at) < width)
        return 0;
    *number = width == 1 ? r->at[0] : 0;
    if (width == 4)
        *number = r->at[0] | (uint32_t)r->at[1] << 8 | (uint32_t)r->at[2] << 16 |
                  (uint32_t)r->at[3] << 24;
    r->at += width;
    return type;
}

static int is_sequence(int type) {
    return type == '[' || type == '(' || type == ')';
}

static const char *type_name(int type) {
    return type == 'u' || type == 't' || type == 'a' || type == 'A' || type == 'z' || type == 'Z'
               ? "str"
           : type == 'N'       ? "None"
           : type == 'i'       ? "int"
           : is_sequence(type) ? "a list or tuple of another length"
                               : "something else";
}

static long wrong(size_t index, const char *what, int type) {
    cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "field %zu: %s must be bytes, not %s", index,
                  what, type_name(type));
    return -1;
}

static int read_bytes(struct cno__reader *r, struct cno_buffer_t *out) {
    uint32_t size = 0;
    int type = read_head(r, &size);
    if (type != 's')
        return type ? type : 'N';
    if ((size_t)(r->end - r->at) < size)
        return 'N';
    *out = (struct cno_buffer_t){(const char *)r->at, size};
    r->at += size;
    return 0;
}

long cno__read_fields(const char *data, size_t size, struct cno_header_t *list, size_t capacity) {
    struct cno__reader r = {(const unsigned char *)data, (const unsigned char *)data + size};
    uint32_t count = 0, two = 0;
    if (!size)
        return 0;
    if (!is_sequence(read_head(&r, &count))) {
        cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "the fields are not a list");
        return -1;
    }
    if (count > capacity) {
        cno_error_set(CNO_ERRNO_ASSERTION, "too-many-fields", "%u fields are more than %zu",
                      (unsigned)count, capacity);
        return -1;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct cno_header_t *field = &list[i];
        int type = read_head(&r, &two);
        if (!is_sequence(type) || two != 2)
            return wrong(i, "a pair of name and value, each of which", type);
        if ((type = read_bytes(&r, &field->name)))
            return wrong(i, "the name", type);
        if ((type = read_bytes(&r, &field->value)))
            return wrong(i, "the value", type);
        field->flags = field->id = 0;
    }
    return (long)count;
}

static int bad_item(long index, const char *what) {
    return cno_error_set(CNO_ERRNO_ASSERTION, "bad-item", "item %ld: %s", index, what);
}

long cno__read_list(struct cno__reader *r, const char *data, size_t size) {
    uint32_t count = 0;
    *r = (struct cno__reader){(const unsigned char *)data, (const unsigned char *)data + size};
    if (!is_sequence(read_head(r, &count)) || count > INT32_MAX)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-item", "the items are not a list");
    return (long)count;
}

int cno__read_payload(struct cno__reader *r, long index, uint32_t *number,
                      struct cno_buffer_t *payload) {
    uint32_t size = 0;
    if (!is_sequence(read_head(r, &size)) || size != 2 || read_head(r, number) != 'i')
        return bad_item(index, "not a pair of an int and a payload");
    int type = read_head(r, &size);
    if (type != 's' && strcmp(type_name(type), "str"))
        return bad_item(index, "a payload is bytes or a str");
    if ((size_t)(r->end - r->at) < size)
        return bad_item(index, "cut off");
    *payload = (struct cno_buffer_t){(const char *)r->at, size};
    r->at += size;
    if (type != 's' && !cno__utf8_is_valid(payload->data, size))
        return bad_item(index, "a str with surrogates is not UTF-8");
    return CNO_OK;
}
