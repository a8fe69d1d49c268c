// Messages to send, in both versions of HTTP: what the caller's fields may be.
#include "message/message.h"

#include <string.h>

#include "message/chars.h"
#include "message/head.h"

// A size that no name with an id exceeds.
#define NAMED 24

// The names that have a meaning for note_out.
#define NOTED \
    (CNO__PSEUDO | CNO__NAMED(CNO_NAME_CONNECTION) | CNO__NAMED(CNO_NAME_CONTENT_LENGTH) | \
     CNO__NAMED(CNO_NAME_HOST) | CNO__NAMED(CNO_NAME_TE) | CNO__NAMED(CNO_NAME_UPGRADE))

// Notes the meaning of one field for the message. Returns a text about what is wrong with the
// field, or NULL.
static const char *note_out(uint8_t *id, struct cno_buffer_t v, struct cno__out_meta *meta) {
    uint64_t length;
    meta->pseudo |= CNO__PSEUDO >> *id & 1;
    switch ((enum CNO_NAME) * id) {
        case CNO_NAME_CONTENT_LENGTH:
            if (cno__parse_uint(v.data, v.size, &length) ||
                (meta->has_length && length != meta->length))
                return "Content-Length is not one plain number";
            if (meta->has_length)
                *id = CNO_NAME_REPEATED;
            meta->length = length;
            meta->has_length = 1;
            break;
        case CNO_NAME_CONNECTION:
            meta->close |= (uint8_t)cno__list_has(v.data, v.size, "close");
            break;
        case CNO_NAME_UPGRADE:
            meta->upgrade = 1;
            break;
        case CNO_NAME_TE:
            meta->te = 1;
            break;
        case CNO_NAME_HOST:
            if (meta->host++)
                return "Host more than once";
            break;
        case CNO_NAME_P_AUTHORITY:
            if (meta->authority.data)
                return "pseudo-field more than once";
            meta->authority = v;
            break;
        case CNO_NAME_P_PROTOCOL:
            if (meta->protocol.data)
                return "pseudo-field more than once";
            meta->protocol = v;
            break;
        case CNO_NAME_P_SCHEME:
            if (meta->scheme++)
                return "pseudo-field more than once";
            break;
        case CNO_NAME_P_METHOD:
        case CNO_NAME_P_PATH:
        case CNO_NAME_P_STATUS:
        case CNO_NAME_P_UNKNOWN:
            return "pseudo-field not allowed";
        default:
            break;
    }
    return NULL;
}

const char *cno__check_out(const struct cno_header_t *list, size_t count, int lower, uint8_t *ids,
                           struct cno__out_meta *meta, size_t *at) {
    char name[NAMED];
    for (size_t i = 0; i < count; i++) {
        struct cno_buffer_t n = list[i].name, v = list[i].value;
        int changed = 0, valid = 0;
        *at = i;
        ids[i] = CNO_NAME_OTHER;
        if (n.size > NAMED) {
            valid =
                lower ? cno__name_is_valid_h2(n.data, n.size) : cno__name_is_token(n.data, n.size);
        } else if ((valid = cno__name_lower(n.data, n.size, name, &changed))) {
            ids[i] = (uint8_t)cno__name_id(name, n.size);
            valid = !(lower && changed);
        }
        if (!valid)
            return lower ? "the name is not a lower-case token" : "the name is not a token";
        if (!cno__value_is_valid(v.data, v.size))
            return "the value has control characters or white space at its ends";
        const char *wrong = NOTED >> ids[i] & 1 ? note_out(ids + i, v, meta) : NULL;
        if (wrong)
            return wrong;
    }
    return NULL;
}

size_t cno__refusal_fields(const struct cno_fields_t *fields, struct cno_header_t *list) {
    uint8_t ids[CNO_MAX_DEFAULTS];
    struct cno__out_meta meta = {0};
    size_t at = 0, kept = 0;
    if (!fields || fields->count > CNO_MAX_DEFAULTS ||
        cno__check_out(fields->list, fields->count, 1, ids, &meta, &at) || meta.pseudo)
        return 0;
    uint32_t skipped = CNO__DROPPED_H2 | CNO__NAMED(CNO_NAME_CONTENT_LENGTH) |
                       CNO__NAMED(CNO_NAME_HOST) | CNO__NAMED(CNO_NAME_TE);
    for (size_t i = 0; i < fields->count; i++) {
        struct cno_buffer_t name = fields->list[i].name;
        if (!(skipped >> ids[i] & 1) && !cno__equals_icase(name.data, name.size, "content-type"))
            list[kept++] = fields->list[i];
    }
    return kept;
}

const char *cno__check_trailers(const struct cno_header_t *list, size_t count, int lower,
                                uint8_t *ids, size_t *at) {
    struct cno__out_meta meta = {0};
    const char *wrong = cno__check_out(list, count, lower, ids, &meta, at);
    for (size_t i = 0; i < count && !wrong; i++) {
        *at = i;
        if (list[i].name.data[0] == ':' || cno__is_barred_from_trailers(&list[i]))
            wrong = "the field is barred from trailers";
    }
    return wrong;
}

const char *cno__request_lacks_h2(const struct cno_message_t *msg) {
    struct cno_buffer_t scheme = {0}, authority = {0};
    if (cno__method(msg->method) == CNO__METHOD_CONNECT)
        return NULL;
    for (size_t i = 0; i < msg->headers_len; i++) {
        const struct cno_header_t *field = &msg->headers[i];
        if (cno__is(field->name, ":scheme")) {
            if (scheme.data)
                return ":scheme more than once";
            scheme = field->value;
        } else if (cno__is(field->name, ":authority") || cno__is(field->name, "host")) {
            if (authority.data && field->name.data[0] == ':')
                return ":authority more than once, or behind host";
            authority = field->value;
        }
    }
    if (!cno__is_scheme(scheme))
        return "no :scheme";
    if (!authority.size || !cno__is_host(authority))
        return "no :authority";
    return NULL;
}

struct cno_buffer_t cno__connect_target(const struct cno_message_t *msg,
                                        const struct cno__out_meta *meta) {
    return msg->path.size ? msg->path : meta->authority;
}

const char *cno__check_tunnel(const struct cno_message_t *msg, const struct cno__out_meta *meta,
                              size_t size) {
    int connect = cno__method(msg->method) == CNO__METHOD_CONNECT;
    struct cno_buffer_t target = cno__connect_target(msg, meta), other = meta->authority;
    if (size || (meta->has_length && meta->length))
        return "it has no body";
    if (meta->protocol.data && !connect)
        return ":protocol is for CONNECT";
    if (meta->protocol.data)
        return !msg->path.size || msg->path.data[0] != '/' ? "it needs a path" : NULL;
    if (!connect)
        return NULL;
    if (other.data && (other.size != target.size || memcmp(other.data, target.data, other.size)))
        return "the path and :authority differ";
    return cno__host_is_valid(target.data, target.size, 1) ? NULL : "it needs a host and a port";
}

// The reason phrases of RFC 9110 section 15 and of the IANA registry; the most frequent one is first.
static const struct {
    short status;
    const char *phrase;
} PHRASES[] = {
    {200, "OK"},
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {418, "I'm a Teapot"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
    {511, "Network Authentication Required"},
};

struct cno_buffer_t cno__reason_phrase(int status) {
    for (size_t i = 0; i < sizeof(PHRASES) / sizeof(PHRASES[0]); i++)
        if (PHRASES[i].status == status)
            return (struct cno_buffer_t){PHRASES[i].phrase, strlen(PHRASES[i].phrase)};
    return (struct cno_buffer_t){"", 0};
}
