// What HTTP means, for both versions, on the way in. With message_out.c the only place that knows
// which fields frame a message.
#include "message/message.h"

#include <string.h>

#include "message/chars.h"
#include "message/priority.h"

static const struct cno__fault BAD_NAME =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-field-name", "malformed field name (RFC 9113 8.2.1)");
static const struct cno__fault BAD_VALUE =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-field-value", "malformed field value (RFC 9113 8.2.1)");
static const struct cno__fault BAD_PSEUDO =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-pseudo-field",
               "pseudo-field unknown, repeated or misplaced (RFC 9113 8.3)");
static const struct cno__fault NO_PSEUDO =
    CNO__FAULT(400, PROTOCOL_ERROR, "missing-pseudo-field",
               "a required pseudo-field is not there (RFC 9113 8.3.1)");
static const struct cno__fault BAD_PROTOCOL = CNO__FAULT(
    400, PROTOCOL_ERROR, "bad-protocol", ":protocol is not a protocol name (RFC 8441 4)");
static const struct cno__fault CONNECT_BODY =
    CNO__FAULT(400, PROTOCOL_ERROR, "connect-with-body", "CONNECT with content (RFC 9110 9.3.6)");
static const struct cno__fault BAD_METHOD =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-method", "method is not a token (RFC 9110 9.1)");
static const struct cno__fault BAD_SCHEME =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-scheme", "malformed scheme (RFC 3986 3.1)");
static const struct cno__fault BAD_TARGET =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-target",
               "request target of a form its method cannot have (RFC 9112 3.2)");
static const struct cno__fault BAD_STATUS =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-status", "status is not three digits (RFC 9113 8.3.2)");
static const struct cno__fault SWITCHING =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-status", "101 does not exist in HTTP/2 (RFC 9113 8.6)");
static const struct cno__fault CONNECTION_FIELD = CNO__FAULT(
    400, PROTOCOL_ERROR, "connection-field", "connection-specific field (RFC 9113 8.2.2)");
static const struct cno__fault BAD_LENGTH =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-content-length",
               "Content-Length is not one plain number (RFC 9112 6.3)");
static const struct cno__fault LENGTH_AND_CODING = CNO__FAULT(
    400, NO_ERROR, "length-and-coding", "both Content-Length and Transfer-Encoding (RFC 9112 6.1)");
static const struct cno__fault BAD_CODING = CNO__FAULT(
    400, NO_ERROR, "bad-transfer-coding", "chunked is not the one last coding (RFC 9112 6.1)");
static const struct cno__fault NEW_CODING =
    CNO__FAULT(501, NO_ERROR, "unknown-transfer-coding",
               "a transfer coding other than chunked (RFC 9112 6.1)");
static const struct cno__fault OLD_CODING = CNO__FAULT(
    400, NO_ERROR, "transfer-coding-1.0", "Transfer-Encoding on HTTP/1.0 (RFC 9112 6.1)");
static const struct cno__fault NO_HOST =
    CNO__FAULT(400, PROTOCOL_ERROR, "missing-host", "no Host (RFC 9112 3.2)");
static const struct cno__fault TWO_HOSTS =
    CNO__FAULT(400, PROTOCOL_ERROR, "repeated-host", "Host more than once (RFC 9112 3.2)");
static const struct cno__fault BAD_HOST = CNO__FAULT(
    400, PROTOCOL_ERROR, "bad-host", "Host is not a host with an optional port (RFC 9110 7.2)");
static const struct cno__fault HOST_MISMATCH =
    CNO__FAULT(400, PROTOCOL_ERROR, "host-mismatch",
               "Host and :authority name different hosts (RFC 9113 8.3.1)");

static int is(struct cno_buffer_t a, const char *literal) {
    return a.size == strlen(literal) && !memcmp(a.data, literal, a.size);
}

// A valid host and port without the port where that is empty or the default one of the scheme
// (RFC 3986 section 6.2.3).
static struct cno_buffer_t without_default_port(struct cno_buffer_t host,
                                                struct cno_buffer_t scheme) {
    size_t digits = 0;
    while (digits < host.size && host.data[host.size - digits - 1] >= '0' &&
           host.data[host.size - digits - 1] <= '9')
        digits++;
    if (digits == host.size || host.data[host.size - digits - 1] != ':')
        return host;
    struct cno_buffer_t port = {host.data + host.size - digits, digits};
    int is_default = !digits ||
                     (is(port, "80") && cno__equals_icase(scheme.data, scheme.size, "http")) ||
                     (is(port, "443") && cno__equals_icase(scheme.data, scheme.size, "https"));
    return (struct cno_buffer_t){host.data, is_default ? host.size - digits - 1 : host.size};
}

// Whether two valid values of :authority or Host name the same host and port: in any case
// (RFC 3986 section 3.2.2), with or without the default port.
static int same_host(struct cno_buffer_t a, struct cno_buffer_t b, struct cno_buffer_t scheme) {
    a = without_default_port(a, scheme);
    b = without_default_port(b, scheme);
    return a.size == b.size && cno__same_icase(a.data, b.data, a.size);
}

enum CNO__METHOD cno__method(struct cno_buffer_t method) {
    return is(method, "HEAD")      ? CNO__METHOD_HEAD
           : is(method, "CONNECT") ? CNO__METHOD_CONNECT
                                   : CNO__METHOD_OTHER;
}

int cno__is_pushable(struct cno_buffer_t method) {
    return is(method, "GET") || is(method, "HEAD");
}

int cno__response_has_body(int status, enum CNO__METHOD method) {
    return status >= 200 && status != 204 && status != 304 && method != CNO__METHOD_HEAD &&
           !(method == CNO__METHOD_CONNECT && status < 300);
}

// ---- pieces of both versions -------------------------------------------------------------------

static int is_host(struct cno_buffer_t host) {
    return cno__host_is_valid(host.data, host.size, 0);
}

static const struct cno__fault *read_length(struct cno_buffer_t value, struct cno__meta *meta) {
    if (meta->has_length || cno__parse_uint(value.data, value.size, &meta->length))
        return &BAD_LENGTH;
    meta->has_length = 1;
    return NULL;
}

// Several lines are one Dictionary; if any is none, nothing was said (RFC 8941 section 4.2).
static void read_priority(struct cno_buffer_t value, struct cno__meta *meta) {
    enum { NOTHING, PRIORITY, MALFORMED };
    if (meta->has_priority == NOTHING)
        meta->priority = CNO__PRIORITY_DEFAULT;
    if (meta->has_priority == MALFORMED)
        return;
    meta->has_priority = PRIORITY;
    if (!cno__priority_parse(value.data, value.size, &meta->priority))
        return;
    meta->has_priority = MALFORMED;
    meta->priority = CNO__PRIORITY_DEFAULT;
}

// Whether that is a path, or the asterisk-form with OPTIONS (RFC 9112 section 3.2).
static int is_path(struct cno_buffer_t method, struct cno_buffer_t target) {
    return target.size && (target.data[0] == '/' || (is(target, "*") && is(method, "OPTIONS")));
}

static const struct cno__fault *check_target(struct cno_buffer_t method,
                                             struct cno_buffer_t target) {
    if (!is_path(method, target) || cno__target_span(target.data, target.size) != target.size)
        return &BAD_TARGET;
    return NULL;
}

// ---- HTTP/2 in ---------------------------------------------------------------------------------

static int is_scheme(struct cno_buffer_t scheme) {
    for (size_t i = 0; i < scheme.size; i++) {
        char c = scheme.data[i], letter = (char)(c | 0x20);
        int alpha = letter >= 'a' && letter <= 'z';
        if (!alpha && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
            return 0;
    }
    return scheme.size != 0;
}

// A field that is not a pseudo-field. Inline, as it is called for every field of every head.
static inline const struct cno__fault *regular_h2(const struct cno_header_t *field,
                                                  struct cno__meta *meta) {
    switch (field->id) {
        case CNO_NAME_CONNECTION:
        case CNO_NAME_KEEP_ALIVE:
        case CNO_NAME_PROXY_CONNECTION:
        case CNO_NAME_TRANSFER_ENCODING:
        case CNO_NAME_UPGRADE:
            return &CONNECTION_FIELD;
        case CNO_NAME_TE:
            if (!cno__equals_icase(field->value.data, field->value.size, "trailers"))
                return &CONNECTION_FIELD;
            meta->te_trailers = 1;
            return NULL;
        case CNO_NAME_CONTENT_LENGTH:
            return read_length(field->value, meta);
        case CNO_NAME_EXPECT:
            meta->expect = cno__list_has(field->value.data, field->value.size, "100-continue");
            return NULL;
        case CNO_NAME_PRIORITY:
            read_priority(field->value, meta);
            return NULL;
        default:
            return NULL;
    }
}

// The pseudo-fields that have been seen, by CNO_NAME_P_*.
struct pseudo {
    struct cno_buffer_t value[CNO_NAME_P_UNKNOWN];
    uint8_t seen[CNO_NAME_P_UNKNOWN + 1];
};

// Reads a whole block, keeping those pseudo-fields in the list that its message type shows.
static const struct cno__fault *read_block(struct cno_header_t *list, size_t *count, int is_request,
                                           struct pseudo *pseudo, struct cno_buffer_t *host,
                                           struct cno__meta *meta) {
    size_t kept = 0, hosts = 0;
    int in_regular = 0;
    for (size_t i = 0; i < *count; i++) {
        const struct cno_header_t *field = &list[i];
        if (field->flags & (CNO_HEADER_BAD_NAME | CNO_HEADER_BAD_VALUE))
            return field->flags & CNO_HEADER_BAD_NAME ? &BAD_NAME : &BAD_VALUE;
        if (field->id >= CNO_NAME_P_AUTHORITY && field->id <= CNO_NAME_P_UNKNOWN) {
            if (in_regular || field->id == CNO_NAME_P_UNKNOWN || pseudo->seen[field->id]++ ||
                (field->id == CNO_NAME_P_STATUS) == is_request)
                return &BAD_PSEUDO;
            pseudo->value[field->id] = field->value;
            if (field->id != CNO_NAME_P_AUTHORITY && field->id != CNO_NAME_P_SCHEME &&
                field->id != CNO_NAME_P_PROTOCOL)
                continue;
        } else {
            in_regular = 1;
            if (field->id == CNO_NAME_HOST) {
                if (hosts++)
                    return &TWO_HOSTS;
                *host = field->value;
            }
            const struct cno__fault *fault = regular_h2(field, meta);
            if (fault)
                return fault;
        }
        if (kept != i)
            list[kept] = *field;
        kept++;
    }
    *count = kept;
    return NULL;
}

// protocol-name ["/" protocol-version] (RFC 9110 section 7.8).
static int is_protocol(struct cno_buffer_t protocol) {
    const char *slash = protocol.size ? memchr(protocol.data, '/', protocol.size) : NULL;
    size_t name = slash ? (size_t)(slash - protocol.data) : protocol.size;
    return cno__name_is_token(protocol.data, name) &&
           (!slash || cno__name_is_token(slash + 1, protocol.size - name - 1));
}

// A request to CONNECT has no content; a length of nothing is not held against it.
static const struct cno__fault *check_connect(struct cno__meta *meta) {
    if (meta->chunked || (meta->has_length && meta->length))
        return &CONNECT_BODY;
    meta->has_length = 0;
    return NULL;
}

const struct cno__fault *cno__request_h2(struct cno_header_t *list, size_t count, int extended,
                                         struct cno_message_t *msg, struct cno__meta *meta) {
    struct pseudo pseudo = {0};
    struct cno_buffer_t host = {0};
    const struct cno__fault *fault = read_block(list, &count, 1, &pseudo, &host, meta);
    if (fault)
        return fault;
    const uint8_t *seen = pseudo.seen;
    struct cno_buffer_t authority = pseudo.value[CNO_NAME_P_AUTHORITY];
    msg->method = pseudo.value[CNO_NAME_P_METHOD];
    msg->path = pseudo.value[CNO_NAME_P_PATH];
    msg->headers = list;
    msg->headers_len = count;
    meta->method = (uint8_t)cno__method(msg->method);
    if (!seen[CNO_NAME_P_METHOD])
        return &NO_PSEUDO;
    if (!cno__name_is_token(msg->method.data, msg->method.size))
        return &BAD_METHOD;
    if (meta->method == CNO__METHOD_CONNECT && (fault = check_connect(meta)))
        return fault;
    if (seen[CNO_NAME_P_PROTOCOL]) {
        if (!extended || meta->method != CNO__METHOD_CONNECT)
            return &BAD_PSEUDO;
        if (!is_protocol(pseudo.value[CNO_NAME_P_PROTOCOL]))
            return &BAD_PROTOCOL;
    }
    if (meta->method == CNO__METHOD_CONNECT && !seen[CNO_NAME_P_PROTOCOL]) {
        if (!authority.size || seen[CNO_NAME_P_PATH] || seen[CNO_NAME_P_SCHEME])
            return &BAD_PSEUDO;
        if (!cno__host_is_valid(authority.data, authority.size, 1))
            return &BAD_HOST;
    } else {
        if (!seen[CNO_NAME_P_PATH] || !seen[CNO_NAME_P_SCHEME])
            return &NO_PSEUDO;
        if (!is_scheme(pseudo.value[CNO_NAME_P_SCHEME]))
            return &BAD_SCHEME;
        if ((fault = check_target(msg->method, msg->path)))
            return fault;
    }
    if (!seen[CNO_NAME_P_AUTHORITY] && !host.data)
        return &NO_HOST;
    if (!is_host(authority) || !is_host(host))
        return &BAD_HOST;
    if (seen[CNO_NAME_P_AUTHORITY] && host.data &&
        !same_host(authority, host, pseudo.value[CNO_NAME_P_SCHEME]))
        return &HOST_MISMATCH;
    return NULL;
}

const char *cno__request_lacks_h2(const struct cno_message_t *msg) {
    struct cno_buffer_t scheme = {0}, authority = {0};
    if (cno__method(msg->method) == CNO__METHOD_CONNECT)
        return NULL;
    for (size_t i = 0; i < msg->headers_len; i++) {
        const struct cno_header_t *field = &msg->headers[i];
        if (is(field->name, ":scheme")) {
            if (scheme.data)
                return ":scheme more than once";
            scheme = field->value;
        } else if (is(field->name, ":authority") || is(field->name, "host")) {
            if (authority.data && field->name.data[0] == ':')
                return ":authority more than once, or behind host";
            authority = field->value;
        }
    }
    if (!is_scheme(scheme))
        return "no :scheme";
    if (!authority.size || !is_host(authority))
        return "no :authority";
    return NULL;
}

int cno__target_is_valid_h2(struct cno_buffer_t method, struct cno_buffer_t target) {
    return cno__method(method) == CNO__METHOD_CONNECT || !check_target(method, target);
}

int cno__target_is_valid_h1(struct cno_buffer_t method, struct cno_buffer_t target) {
    struct cno_buffer_t authority = cno__authority_of(target);
    return authority.data ? authority.size && is_host(authority)
                          : cno__target_is_valid_h2(method, target);
}

const struct cno__fault *cno__response_h2(struct cno_header_t *list, size_t count,
                                          struct cno_message_t *msg, struct cno__meta *meta) {
    struct pseudo pseudo = {0};
    struct cno_buffer_t host = {0};
    const struct cno__fault *fault = read_block(list, &count, 0, &pseudo, &host, meta);
    if (fault)
        return fault;
    if (!pseudo.seen[CNO_NAME_P_STATUS])
        return &NO_PSEUDO;
    uint64_t status;
    struct cno_buffer_t value = pseudo.value[CNO_NAME_P_STATUS];
    if (value.size != 3 || cno__parse_uint(value.data, 3, &status) || status < 100)
        return &BAD_STATUS;
    if (status == 101)
        return &SWITCHING;
    msg->code = (int)status;
    msg->headers = list;
    msg->headers_len = count;
    return NULL;
}

// What says how a message is framed, routed, authenticated, cached or read comes too late behind its
// content (RFC 9110 section 6.5.1; RFC 7230 section 4.1.2 had examples of each kind).
int cno__is_barred_from_trailers(const struct cno_header_t *field) {
    static const char NAMES[] =
        "connection\0content-length\0host\0http2-settings\0keep-alive\0proxy-connection\0te\0"
        "trailer\0transfer-encoding\0upgrade\0"
        "forwarded\0x-forwarded-for\0x-forwarded-host\0x-forwarded-proto\0"
        "authorization\0cookie\0proxy-authenticate\0proxy-authorization\0set-cookie\0"
        "www-authenticate\0"
        "cache-control\0expect\0if-match\0if-modified-since\0if-none-match\0if-range\0"
        "if-unmodified-since\0max-forwards\0pragma\0range\0"
        "age\0date\0expires\0location\0retry-after\0vary\0"
        "content-encoding\0content-language\0content-location\0content-range\0content-type\0";
    for (const char *name = NAMES; *name; name += strlen(name) + 1)
        if (cno__equals_icase(field->name.data, field->name.size, name))
            return 1;
    return 0;
}

const struct cno__fault *cno__trailers(struct cno_header_t *list, size_t *count,
                                       enum CNO_HTTP_VERSION version) {
    struct cno__meta meta = {0};
    const struct cno__fault *fault;
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (list[i].flags & (CNO_HEADER_BAD_NAME | CNO_HEADER_BAD_VALUE))
            return list[i].flags & CNO_HEADER_BAD_NAME ? &BAD_NAME : &BAD_VALUE;
        if (list[i].id >= CNO_NAME_P_AUTHORITY && list[i].id <= CNO_NAME_P_UNKNOWN)
            return &BAD_PSEUDO;
        if (version == CNO_HTTP2 && (fault = regular_h2(&list[i], &meta)))
            return fault;
        if (!cno__is_barred_from_trailers(&list[i]))
            list[kept++] = list[i];
    }
    *count = kept;
    return NULL;
}

// ---- HTTP/1 in ---------------------------------------------------------------------------------

// Only `chunked`, once. What is not understood at all is 501, what is out of place is 400.
static const struct cno__fault *read_coding(struct cno_buffer_t value, struct cno__meta *meta) {
    const char *item;
    int unknown = 0, last = 0;
    for (size_t pos = 0, size; cno__list_next(value.data, value.size, &pos, &item, &size);) {
        if (meta->chunked || !cno__name_is_token(item, size))
            return &BAD_CODING;
        last = cno__equals_icase(item, size, "chunked");
        meta->chunked |= (uint8_t)last;
        unknown |= !last;
    }
    return unknown ? &NEW_CODING : meta->chunked ? NULL : &BAD_CODING;
}

static void read_connection(struct cno_buffer_t value, struct cno__meta *meta) {
    const char *item;
    for (size_t pos = 0, size; cno__list_next(value.data, value.size, &pos, &item, &size);) {
        meta->close |= (uint8_t)cno__equals_icase(item, size, "close");
        meta->keep_alive |= (uint8_t)cno__equals_icase(item, size, "keep-alive");
        if (cno__equals_icase(item, size, "upgrade"))
            meta->upgrade |= CNO__UPGRADE_OPTION;
        if (cno__equals_icase(item, size, "http2-settings"))
            meta->upgrade |= CNO__UPGRADE_SETTINGS_OPTION;
    }
}

// Walks the fields of an HTTP/1 head, taking out those that the engine answers for. *count is set to
// how many are left, from list[*first] on: Host, mostly the first, is taken out for nothing then.
static const struct cno__fault *read_fields(struct cno_header_t *list, size_t *first, size_t *count,
                                            struct cno_buffer_t *host, struct cno__meta *meta) {
    const struct cno__fault *fault = NULL;
    size_t kept = 0;
    *first = 0;
    for (size_t i = 0; i < *count; i++) {
        const struct cno_header_t *field = &list[i];
        int keep = 1;
        switch (field->id) {
            case CNO_NAME_HOST:
                fault = host->data ? &TWO_HOSTS : NULL;
                *host = field->value;
                keep = 0;
                break;
            case CNO_NAME_CONTENT_LENGTH:
                fault = read_length(field->value, meta);
                break;
            case CNO_NAME_TRANSFER_ENCODING:
                fault = read_coding(field->value, meta);
                meta->at = field->value.data;
                keep = 0;
                break;
            case CNO_NAME_CONNECTION:
                read_connection(field->value, meta);
                keep = !is(field->value, "close") && !is(field->value, "keep-alive");
                break;
            case CNO_NAME_EXPECT:
                meta->expect = cno__list_has(field->value.data, field->value.size, "100-continue");
                break;
            case CNO_NAME_TE:
                meta->te_trailers |=
                    cno__list_has(field->value.data, field->value.size, "trailers");
                break;
            case CNO_NAME_UPGRADE:
                meta->upgrade |= field->value.size ? CNO__UPGRADE_FIELD : 0;
                if (cno__list_has(field->value.data, field->value.size, "h2c"))
                    meta->upgrade |= CNO__UPGRADE_H2C;
                break;
            case CNO_NAME_HTTP2_SETTINGS:
                meta->upgrade |= meta->upgrade & CNO__UPGRADE_SETTINGS ? CNO__UPGRADE_SETTINGS_TWICE
                                                                       : CNO__UPGRADE_SETTINGS;
                meta->h2_settings = field->value;
                keep = 0;
                break;
            default:
                break;
        }
        if (fault) {
            meta->at = field->value.data;
            return fault;
        }
        if (!keep && kept == *first)
            kept = *first = i + 1;
        else if (keep && kept++ != i)
            list[kept - 1] = *field;
    }
    *count = kept - *first;
    return meta->chunked && meta->has_length ? &LENGTH_AND_CODING : NULL;
}

struct cno_buffer_t cno__authority_of(struct cno_buffer_t target) {
    size_t scheme = target.size > 7 && cno__equals_icase(target.data, 7, "http://")    ? 7
                    : target.size > 8 && cno__equals_icase(target.data, 8, "https://") ? 8
                                                                                       : 0;
    if (!scheme)
        return (struct cno_buffer_t){0};
    size_t end = scheme;
    while (end < target.size && target.data[end] != '/' && target.data[end] != '?')
        end++;
    return (struct cno_buffer_t){target.data + scheme, end - scheme};
}

const struct cno__fault *cno__request_h1(struct cno__h1_head *head, struct cno_header_t *list,
                                         struct cno_message_t *msg, struct cno__meta *meta) {
    struct cno_buffer_t host = {0}, unknown = {"unknown", 7};
    size_t first, count = head->count;
    const struct cno__fault *fault = read_fields(list + 2, &first, &count, &host, meta);
    if (fault)
        return fault;
    list += first;
    if (meta->chunked && head->minor == 0)
        return &OLD_CODING;
    meta->at = host.data;
    if (!host.data && head->minor != 0)
        return &NO_HOST;
    if (!is_host(host))
        return &BAD_HOST;
    struct cno_buffer_t authority = cno__authority_of(head->target);
    meta->at = head->target.data;
    meta->method = (uint8_t)cno__method(head->method);
    // The authority of absolute-form replaces whatever Host says (RFC 9112 section 3.2.2).
    if (authority.data) {
        if (!authority.size || !is_host(authority))
            return &BAD_TARGET;
    } else if (meta->method == CNO__METHOD_CONNECT) {
        if (!cno__host_is_valid(head->target.data, head->target.size, 1))
            return &BAD_TARGET;
        if ((fault = check_connect(meta)))
            return fault;
        authority = head->target;
    } else if (!is_path(head->method, head->target)) {
        return &BAD_TARGET;
    }
    if (!authority.data)
        authority = host;
    uint8_t implied = authority.data ? 0 : CNO_HEADER_IMPLIED;
    list[0] = (struct cno_header_t){{":scheme", 7}, unknown, CNO_HEADER_IMPLIED, CNO_NAME_P_SCHEME};
    list[1] = (struct cno_header_t){
        {":authority", 10}, implied ? unknown : authority, implied, CNO_NAME_P_AUTHORITY};
    msg->method = head->method;
    msg->path = head->target;
    msg->headers = list;
    msg->headers_len = count + 2;
    msg->flags = head->minor == 0 ? CNO_MESSAGE_HTTP1_0 : 0;
    meta->close |= head->minor == 0 && !meta->keep_alive;
    meta->expect &= head->minor != 0;  // RFC 9110 section 10.1.1
    return NULL;
}

const struct cno__fault *cno__response_h1(struct cno__h1_head *head, struct cno_header_t *list,
                                          struct cno_message_t *msg, struct cno__meta *meta) {
    struct cno_buffer_t host = {0};
    size_t first, count = head->count;
    const struct cno__fault *fault = read_fields(list, &first, &count, &host, meta);
    if (fault)
        return fault;
    if (meta->chunked && head->minor == 0)
        return &OLD_CODING;
    msg->code = head->status;
    msg->method = head->reason;
    msg->headers = list + first;
    msg->headers_len = count;
    msg->flags = head->minor == 0 ? CNO_MESSAGE_HTTP1_0 : 0;
    meta->close |= head->minor == 0 && !meta->keep_alive;
    return NULL;
}
