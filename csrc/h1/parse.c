// The syntax of HTTP/1 (RFC 9112). The meaning of fields is in message/.
#include "h1/parse.h"

#include <string.h>

#include "message/chars.h"

static const struct cno__fault BAD_START = CNO__FAULT(
    400, NO_ERROR, "bad-start-line", "the first byte cannot begin a request (RFC 9112 3)");
static const struct cno__fault BAD_METHOD = CNO__FAULT(
    400, NO_ERROR, "bad-method", "method is not a token followed by one space (RFC 9112 3.1)");
static const struct cno__fault BAD_TARGET = CNO__FAULT(
    400, NO_ERROR, "bad-target", "byte that a request target cannot have (RFC 9112 3.2)");
static const struct cno__fault LINE_TOO_LONG =
    CNO__FAULT(414, NO_ERROR, "line-too-long", "request line above the limit (RFC 9110 4.1)");
static const struct cno__fault BAD_VERSION =
    CNO__FAULT(400, NO_ERROR, "bad-version", "the line does not end with HTTP/1.x (RFC 9112 2.3)");
static const struct cno__fault NEW_VERSION = CNO__FAULT(
    505, NO_ERROR, "unsupported-version", "the major version is not 1 (RFC 9110 15.6.6)");
static const struct cno__fault BAD_STATUS = CNO__FAULT(
    400, NO_ERROR, "bad-status", "status line without a three-digit status (RFC 9112 4)");
static const struct cno__fault BAD_NAME = CNO__FAULT(
    400, NO_ERROR, "bad-field-name", "field name is not a token before its colon (RFC 9112 5.1)");
static const struct cno__fault OBS_FOLD =
    CNO__FAULT(400, NO_ERROR, "obs-fold", "field line that begins with white space (RFC 9112 5.2)");
static const struct cno__fault BAD_VALUE = CNO__FAULT(
    400, NO_ERROR, "bad-field-value", "control character in a field value (RFC 9110 5.5)");
static const struct cno__fault BARE_CR =
    CNO__FAULT(400, NO_ERROR, "bare-cr", "CR without LF (RFC 9112 2.2)");
static const struct cno__fault BAD_CHUNK = CNO__FAULT(
    400, NO_ERROR, "bad-chunk-size", "chunk size is not 1 to 16 hexadecimal digits (RFC 9112 7.1)");
static const struct cno__fault BAD_EXTENSION =
    CNO__FAULT(400, NO_ERROR, "bad-chunk-extension", "malformed chunk extension (RFC 9112 7.1.1)");

const struct cno__fault cno__h1_bare_lf =
    CNO__FAULT(400, NO_ERROR, "bare-lf", "LF without CR (RFC 9112 2.2)");
const struct cno__fault cno__h1_too_many_fields =
    CNO__FAULT(431, NO_ERROR, "too-many-fields", "more fields than the limit (RFC 6585 5)");
const struct cno__fault cno__h1_head_too_large =
    CNO__FAULT(431, NO_ERROR, "head-too-large", "message head above the limit (RFC 6585 5)");

size_t cno__h1_find_head(const char *data, size_t size, uint32_t *scanned, uint32_t max_line,
                         uint32_t max_head, const struct cno__fault **fault) {
    size_t at = *scanned;
    if (!at && size && !cno__tchar_lower[(unsigned char)data[0]]) {
        *fault = &BAD_START;
        return 0;
    }
    while (at < size) {
        const char *lf = memchr(data + at, '\n', size - at);
        size_t line_end = lf ? (size_t)(lf - data) : size;
        // Checked once, when the limit is reached: beyond it the first line is known to have ended.
        if (at < max_line && line_end >= max_line && !memchr(data, '\n', max_line)) {
            *scanned = max_line;
            *fault = &LINE_TOO_LONG;
            return 0;
        }
        if (line_end >= max_head) {
            *scanned = max_head;
            *fault = &cno__h1_head_too_large;
            return 0;
        }
        if (!lf)
            break;
        if (line_end == 0 || lf[-1] != '\r') {
            *scanned = (uint32_t)line_end;
            *fault = &cno__h1_bare_lf;
            return 0;
        }
        if (line_end >= 3 && lf[-2] == '\n')
            return line_end + 1;
        at = line_end + 1;
    }
    *scanned = (uint32_t)size;
    return 0;
}

int cno__h1_ends_head(const char *data, size_t size) {
    return size > 4 && !memcmp(data + size - 4, "\r\n\r\n", 4);
}

// Parses "HTTP/" DIGIT "." DIGIT. Any 1.x but 1.0 is treated as 1.1 (RFC 9110 section 2.5).
static const struct cno__fault *parse_version(const char *data, int *minor) {
    if (memcmp(data, "HTTP/", 5) || data[6] != '.' || data[5] < '0' || data[5] > '9' ||
        data[7] < '0' || data[7] > '9')
        return &BAD_VERSION;
    if (data[5] != '1')
        return data[5] == '0' ? &BAD_VERSION : &NEW_VERSION;
    *minor = data[7] - '0';
    return NULL;
}

static const struct cno__fault *parse_request_line(const char *line, size_t size,
                                                   struct cno__h1_head *head, size_t *at) {
    size_t i = 0;
    while (i < size && cno__tchar_lower[(unsigned char)line[i]])
        i++;
    *at = i;
    if (!i || i == size || line[i] != ' ')
        return &BAD_METHOD;
    head->method = (struct cno_buffer_t){line, i++};
    size_t span = cno__target_span(line + i, size - i);
    *at = i + span;
    if (!span || *at == size || line[*at] != ' ')
        return &BAD_TARGET;
    head->target = (struct cno_buffer_t){line + i, span};
    i = *at += 1;
    if (size - i < 10 || line[i + 8] != '\r' || line[i + 9] != '\n')
        return &BAD_VERSION;
    const struct cno__fault *fault = parse_version(line + i, &head->minor);
    *at += fault ? 0 : 10;
    return fault;
}

void cno__h1_peek_request(const char *data, size_t size, struct cno_message_t *msg) {
    size_t i = 0;
    while (i < size && cno__tchar_lower[(unsigned char)data[i]])
        i++;
    if (!i || i == size || data[i] != ' ')
        return;
    msg->method = (struct cno_buffer_t){data, i};
    i++;
    size_t span = cno__target_span(data + i, size - i);
    if (i + span == size || data[i + span] == ' ')
        msg->path = (struct cno_buffer_t){data + i, span};
}

static const struct cno__fault *parse_status_line(const char *line, size_t size,
                                                  struct cno__h1_head *head, size_t *at) {
    *at = 0;
    const char *lf = memchr(line, '\n', size);
    size = (size_t)(lf - line);
    if (size && lf[-1] != '\r')
        return &cno__h1_bare_lf;
    size--;
    const struct cno__fault *fault = size < 8 ? &BAD_VERSION : parse_version(line, &head->minor);
    if (fault)
        return fault;
    *at = 9;
    if (size < 12 || line[8] != ' ' || line[9] < '1' || line[9] > '9' || line[10] < '0' ||
        line[10] > '9' || line[11] < '0' || line[11] > '9' || (size > 12 && line[12] != ' '))
        return &BAD_STATUS;
    head->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    if (size > 13)
        head->reason = (struct cno_buffer_t){line + 13, size - 13};
    *at = 13;
    if (size > 13 && cno__value_span(line + 13, size - 13) != size - 13)
        return &BAD_STATUS;
    *at = size + 2;
    return NULL;
}

// Parses one field line. Returns the start of the next line; or NULL, a fault, and in *at the byte
// that is wrong. No loop runs past the end, because the lines end with CRLF and no name has one.
static const char *parse_field(const char *line, const char *end, struct cno_header_t *field,
                               char *name, const struct cno__fault **fault, const char **at) {
    size_t size = cno__token_lower(line, (size_t)(end - line), name);
    const char *value = line + size;
    if (!size || *value != ':') {
        *at = value;
        *fault = !size && (*line == ' ' || *line == '\t') ? &OBS_FOLD : &BAD_NAME;
        return NULL;
    }
    field->name = (struct cno_buffer_t){name, size};
    field->id = (uint8_t)cno__name_id(name, size);
    field->flags = 0;
    do
        value++;
    while (*value == ' ' || *value == '\t');
    const char *cr = value + cno__value_span(value, (size_t)(end - value)), *last = cr;
    if (end - cr < 2 || memcmp(cr, "\r\n", 2)) {
        *at = cr;
        *fault = cr < end && *cr == '\r' ? &BARE_CR : &BAD_VALUE;
        return NULL;
    }
    while (last > value && (last[-1] == ' ' || last[-1] == '\t'))
        last--;
    field->value = (struct cno_buffer_t){value, (size_t)(last - value)};
    return cr + 2;
}

const struct cno__fault *cno__h1_parse_fields(const char *data, size_t size,
                                              struct cno_header_t *list, size_t capacity,
                                              size_t *count, char *names, size_t *at) {
    const struct cno__fault *fault = NULL;
    const char *line = data, *end = data + size, *wrong = NULL;
    struct cno_header_t *field = list;
    for (; memcmp(line, "\r\n", 2); field++) {
        if (field == list + capacity) {
            *at = (size_t)(line - data);
            return &cno__h1_too_many_fields;
        }
        line = parse_field(line, end, field, names, &fault, &wrong);
        if (!line) {
            *at = (size_t)(wrong - data);
            return fault;
        }
        names += field->name.size;
    }
    *count = (size_t)(field - list);
    *at = (size_t)(line - data) + 2;
    return NULL;
}

const struct cno__fault *cno__h1_parse_head(const char *data, size_t size, int is_request,
                                            struct cno__h1_head *head, struct cno_header_t *list,
                                            size_t capacity, char *names, size_t *at) {
    const struct cno__fault *fault = is_request ? parse_request_line(data, size, head, at)
                                                : parse_status_line(data, size, head, at);
    if (fault)
        return fault;
    size_t line = *at;
    fault = cno__h1_parse_fields(data + line, size - line, list, capacity, &head->count, names, at);
    *at += line;
    return fault;
}

const struct cno__fault *cno__h1_parse_chunk(const char *line, size_t size, uint64_t *chunk,
                                             size_t *extensions) {
    size_t i = 0;
    int digit;
    *chunk = 0;
    for (; i < size && (digit = cno__hex_digit(line[i])) >= 0; i++) {
        if (i == 16)
            return &BAD_CHUNK;
        *chunk = *chunk << 4 | (unsigned)digit;
    }
    if (i == 0 || *chunk > INT64_MAX)
        return &BAD_CHUNK;
    *extensions = size - i;
    size_t mark = i;  // white space before an extension is skipped (RFC 9112 section 7.1.1)
    while (mark < size && (line[mark] == ' ' || line[mark] == '\t'))
        mark++;
    if (i < size && (mark == size || line[mark] != ';'))
        return mark > i || !cno__tchar_lower[(unsigned char)line[i]] ? &BAD_EXTENSION : &BAD_CHUNK;
    return cno__value_span(line + i, size - i) == size - i ? NULL : &BAD_EXTENSION;
}
