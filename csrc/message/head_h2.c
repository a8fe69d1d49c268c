// Received heads of HTTP/2: from a decoded block to a message (RFC 9113 section 8.3).
#include "message/head.h"

#include <string.h>

static const struct cno__fault NO_PSEUDO =
    CNO__FAULT(400, PROTOCOL_ERROR, "missing-pseudo-field",
               "a required pseudo-field is not there (RFC 9113 8.3.1)");
static const struct cno__fault BAD_PROTOCOL = CNO__FAULT(
    400, PROTOCOL_ERROR, "bad-protocol", ":protocol is not a protocol name (RFC 8441 4)");
static const struct cno__fault BAD_METHOD =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-method", "method is not a token (RFC 9110 9.1)");
static const struct cno__fault BAD_SCHEME =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-scheme", "malformed scheme (RFC 3986 3.1)");
static const struct cno__fault BAD_STATUS =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-status", "status is not three digits (RFC 9113 8.3.2)");
static const struct cno__fault SWITCHING =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-status", "101 does not exist in HTTP/2 (RFC 9113 8.6)");
static const struct cno__fault HOST_MISMATCH =
    CNO__FAULT(400, PROTOCOL_ERROR, "host-mismatch",
               "Host and :authority name different hosts (RFC 9113 8.3.1)");

// The pseudo-fields of a block, by CNO_NAME_P_*.
struct pseudo {
    struct cno_buffer_t value[CNO_NAME_P_UNKNOWN];
    uint8_t seen[CNO_NAME_P_UNKNOWN + 1];
};

// Reads a whole block. The pseudo-fields that a message shows to the application stay in the list.
static const struct cno__fault *read_block(struct cno_header_t *list, size_t *count, int is_request,
                                           struct pseudo *pseudo, struct cno_buffer_t *host,
                                           struct cno__meta *meta) {
    size_t kept = 0, hosts = 0;
    int in_regular = 0;
    for (size_t i = 0; i < *count; i++) {
        const struct cno_header_t *field = &list[i];
        if (field->flags & (CNO_HEADER_BAD_NAME | CNO_HEADER_BAD_VALUE))
            return field->flags & CNO_HEADER_BAD_NAME ? &cno__bad_name : &cno__bad_value;
        if (field->id >= CNO_NAME_P_AUTHORITY && field->id <= CNO_NAME_P_UNKNOWN) {
            if (in_regular || field->id == CNO_NAME_P_UNKNOWN || pseudo->seen[field->id]++ ||
                (field->id == CNO_NAME_P_STATUS) == is_request)
                return &cno__bad_pseudo;
            pseudo->value[field->id] = field->value;
            if (field->id != CNO_NAME_P_AUTHORITY && field->id != CNO_NAME_P_SCHEME &&
                field->id != CNO_NAME_P_PROTOCOL)
                continue;
        } else {
            in_regular = 1;
            if (field->id == CNO_NAME_HOST) {
                if (hosts++)
                    return &cno__two_hosts;
                *host = field->value;
            }
            const struct cno__fault *fault = cno__regular_h2(field, meta);
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

// Whether that is protocol-name ["/" protocol-version] (RFC 9110 section 7.8).
static int is_protocol(struct cno_buffer_t protocol) {
    const char *slash = protocol.size ? memchr(protocol.data, '/', protocol.size) : NULL;
    size_t name = slash ? (size_t)(slash - protocol.data) : protocol.size;
    return cno__name_is_token(protocol.data, name) &&
           (!slash || cno__name_is_token(slash + 1, protocol.size - name - 1));
}

const struct cno__fault *cno__request_h2(struct cno_header_t *list, size_t count, int extended,
                                         struct cno_message_t *msg, struct cno__meta *meta) {
    struct pseudo pseudo = {0};
    struct cno_buffer_t host = {0};
    const struct cno__fault *fault = read_block(list, &count, 1, &pseudo, &host, meta);
    const uint8_t *seen = pseudo.seen;
    msg->method = pseudo.value[CNO_NAME_P_METHOD];  // even of a block with a fault, for logs
    msg->path = pseudo.value[CNO_NAME_P_PATH];
    if (fault)
        return fault;
    struct cno_buffer_t authority = pseudo.value[CNO_NAME_P_AUTHORITY];
    msg->headers = list;
    msg->headers_len = count;
    meta->method = (uint8_t)cno__method(msg->method);
    if (!seen[CNO_NAME_P_METHOD])
        return &NO_PSEUDO;
    if (!cno__name_is_token(msg->method.data, msg->method.size))
        return &BAD_METHOD;
    if (meta->method == CNO__METHOD_CONNECT && (fault = cno__check_connect(meta)))
        return fault;
    if (seen[CNO_NAME_P_PROTOCOL]) {
        if (!extended || meta->method != CNO__METHOD_CONNECT)
            return &cno__bad_pseudo;
        if (!is_protocol(pseudo.value[CNO_NAME_P_PROTOCOL]))
            return &BAD_PROTOCOL;
    }
    if (meta->method == CNO__METHOD_CONNECT && !seen[CNO_NAME_P_PROTOCOL]) {
        if (!authority.size || seen[CNO_NAME_P_PATH] || seen[CNO_NAME_P_SCHEME])
            return &cno__bad_pseudo;
        if (!cno__host_is_valid(authority.data, authority.size, 1))
            return &cno__bad_host;
    } else {
        if (!seen[CNO_NAME_P_PATH] || !seen[CNO_NAME_P_SCHEME])
            return &NO_PSEUDO;
        if (!cno__is_scheme(pseudo.value[CNO_NAME_P_SCHEME]))
            return &BAD_SCHEME;
        if ((fault = cno__check_target(msg->method, msg->path)))
            return fault;
    }
    if (!seen[CNO_NAME_P_AUTHORITY] && !host.data)
        return &cno__no_host;
    if (!cno__is_host(authority) || !cno__is_host(host))
        return &cno__bad_host;
    if (seen[CNO_NAME_P_AUTHORITY] && host.data &&
        !cno__same_host(authority, host, pseudo.value[CNO_NAME_P_SCHEME]))
        return &HOST_MISMATCH;
    return NULL;
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
