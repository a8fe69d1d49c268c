// The responses of an application through a batch: default fields, names in lower case,
// Content-Length. Uses only the public functions of a connection, and knows no events.
#include <string.h>

#include "batch/answer.h"
#include "batch.h"
#include "message/chars.h"
#include "message/message.h"
#include "config.h"
#include "batch/marshal.h"

struct cno_defaults_t {
    struct cno_fields_t fields;  // points to `list`
    struct cno_header_t list[CNO_MAX_DEFAULTS];
    char *text;  // the marshalled list that the fields point into
};

const struct cno_fields_t *cno__defaults_fields(const struct cno_defaults_t *defaults) {
    return defaults ? &defaults->fields : NULL;
}

// The fields of a response: the default fields that the application did not set, then its own.
struct answer {
    struct cno_header_t list[CNO_MAX_HEADERS_OUT];
    size_t count;
    char length[24];
};

static int same_name(struct cno_buffer_t a, struct cno_buffer_t b) {
    return a.size == b.size && cno__same_icase(a.data, b.data, a.size);
}

static void add_defaults(struct answer *answer, const struct cno_defaults_t *defaults,
                         const struct cno_header_t *list, size_t count) {
    for (size_t i = 0; defaults && i < defaults->fields.count; i++) {
        size_t k = 0;
        while (k < count && !same_name(list[k].name, defaults->list[i].name))
            k++;
        if (k == count)
            answer->list[answer->count++] = defaults->list[i];
    }
}

static void add_length(struct answer *answer, size_t size) {
    char *end = answer->length + sizeof(answer->length), *at = end;
    do
        *--at = (char)('0' + size % 10);
    while (size /= 10);
    answer->list[answer->count++] =
        (struct cno_header_t){{"content-length", 14}, {at, (size_t)(end - at)}, 0, 0};
}

// Makes the names of list[0..count) lower-case, in a copy, if any has capitals. Returns the copy,
// which the caller releases, or NULL if none was needed. Sets *failed when there is no memory.
static char *lower_names(struct cno_header_t *list, size_t count, int *failed) {
    size_t size = 0;
    int any = 0;
    for (size_t i = 0; i < count; i++) {
        size += list[i].name.size;
        for (size_t k = 0; k < list[i].name.size; k++)
            any |= list[i].name.data[k] >= 'A' && list[i].name.data[k] <= 'Z';
    }
    char *copy = any ? cno__resize(NULL, size) : NULL, *at = copy;
    *failed = any && !copy;
    for (size_t i = 0; copy && i < count; i++) {
        struct cno_buffer_t name = list[i].name;
        for (size_t k = 0; k < name.size; k++)
            at[k] = name.data[k] >= 'A' && name.data[k] <= 'Z' ? (char)(name.data[k] | 0x20)
                                                               : name.data[k];
        list[i].name.data = at;
        at += name.size;
    }
    return copy;
}

int cno_batch_respond(struct cno_batch_t *b, uint32_t stream, int code,
                      const struct cno_header_t *list, size_t count, const char *body,
                      size_t body_size, long long total) {
    struct answer answer;
    answer.count = 0;
    if (count > CNO_MAX_ANSWER_FIELDS)
        return cno_error_set(CNO_ERRNO_ASSERTION, "too-many-fields", "%zu fields, at most %d",
                             count, CNO_MAX_ANSWER_FIELDS);
    int has_length = 0, failed = 0;
    add_defaults(&answer, b->defaults, list, count);
    for (size_t i = 0; i < count; i++)
        has_length |= same_name(list[i].name, (struct cno_buffer_t){"content-length", 14});
    memcpy(answer.list + answer.count, list, count * sizeof(*list));
    answer.count += count;
    // A response to HEAD has the length that a response to GET would have (RFC 9110 section 9.3.2).
    if (total >= 0 && !has_length && cno__response_takes_body(code, CNO__METHOD_OTHER))
        add_length(&answer, (size_t)total);
    char *copy =
        cno_version(&b->conn) == CNO_HTTP2 ? lower_names(answer.list, answer.count, &failed) : NULL;
    if (failed)
        return CNO_ERROR;
    struct cno_message_t msg = {.code = code, .headers = answer.list, .headers_len = answer.count};
    int final = total >= 0 && (size_t)total == body_size;
    int r = cno_write_message(&b->conn, stream, &msg, body, body_size, final);
    cno__release(copy);
    return r;
}

int cno_batch_answer(struct cno_batch_t *b, uint32_t stream, int code, const char *fields,
                     size_t fields_size, const char *body, size_t body_size, long long total) {
    struct cno_header_t list[CNO_MAX_ANSWER_FIELDS];
    long count = cno__read_fields(fields, fields_size, list, CNO_MAX_ANSWER_FIELDS);
    if (count < 0)
        return CNO_ERROR;
    return cno_batch_respond(b, stream, code, list, (size_t)count, body, body_size, total);
}

int cno_batch_tail(struct cno_batch_t *b, uint32_t stream, const char *fields, size_t fields_size) {
    struct cno_header_t list[CNO_MAX_HEADERS_OUT];
    long count = cno__read_fields(fields, fields_size, list, CNO_MAX_HEADERS_OUT);
    int failed = 0;
    if (count < 0)
        return CNO_ERROR;
    char *copy =
        cno_version(&b->conn) == CNO_HTTP2 ? lower_names(list, (size_t)count, &failed) : NULL;
    if (failed)
        return CNO_ERROR;
    int r = cno_write_tail(&b->conn, stream, &(struct cno_tail_t){list, (size_t)count});
    cno__release(copy);
    return r;
}

// ---- default fields ----------------------------------------------------------------------------

struct cno_defaults_t *cno_defaults_new(void) {
    struct cno_defaults_t *defaults = cno__resize(NULL, sizeof(*defaults));
    if (defaults)
        *defaults = (struct cno_defaults_t){.fields = {defaults->list, 0}};
    return defaults;
}

int cno_defaults_set(struct cno_defaults_t *defaults, const char *fields, size_t fields_size) {
    struct cno_header_t list[CNO_MAX_DEFAULTS];
    char *text = cno__resize(NULL, fields_size + 1);
    if (!text)
        return CNO_ERROR;
    memcpy(text, fields, fields_size);
    long count = cno__read_fields(text, fields_size, list, CNO_MAX_DEFAULTS);
    for (long i = 0; i < count; i++) {
        if (cno__name_is_valid_h2(list[i].name.data, list[i].name.size) &&
            list[i].name.data[0] != ':' &&
            cno__value_is_valid(list[i].value.data, list[i].value.size))
            continue;
        cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "default field %ld cannot be sent", i);
        count = -1;
    }
    if (count < 0) {
        cno__release(text);
        return CNO_ERROR;
    }
    cno__release(defaults->text);
    defaults->text = text;
    defaults->fields.count = (size_t)count;
    memcpy(defaults->list, list, (size_t)count * sizeof(*list));
    return CNO_OK;
}

void cno_defaults_free(struct cno_defaults_t *defaults) {
    if (defaults)
        cno__release(defaults->text);
    cno__release(defaults);
}
