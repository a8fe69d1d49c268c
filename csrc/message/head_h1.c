// Received heads of HTTP/1: from parsed lines to a message (RFC 9112 sections 3 and 6).
#include "message/head.h"

static const struct cno__fault LENGTH_AND_CODING = CNO__FAULT(
    400, NO_ERROR, "length-and-coding", "both Content-Length and Transfer-Encoding (RFC 9112 6.1)");
static const struct cno__fault BAD_CODING = CNO__FAULT(
    400, NO_ERROR, "bad-transfer-coding", "chunked is not the one last coding (RFC 9112 6.1)");
static const struct cno__fault NEW_CODING =
    CNO__FAULT(501, NO_ERROR, "unknown-transfer-coding",
               "a transfer coding other than chunked (RFC 9112 6.1)");
static const struct cno__fault OLD_CODING = CNO__FAULT(
    400, NO_ERROR, "transfer-coding-1.0", "Transfer-Encoding on HTTP/1.0 (RFC 9112 6.1)");

// Transfer-Encoding must be `chunked`, once. Another coding gets a 501 response, and `chunked` out
// of place a 400.
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

// Reads the fields of an HTTP/1 head and removes those that the engine handles itself. The rest
// begins at list[*first] and has *count fields, so that removing Host, which mostly is the first,
// moves no others.
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
                fault = host->data ? &cno__two_hosts : NULL;
                *host = field->value;
                keep = 0;
                break;
            case CNO_NAME_CONTENT_LENGTH:
                fault = cno__read_length(field->value, meta);
                break;
            case CNO_NAME_TRANSFER_ENCODING:
                fault = read_coding(field->value, meta);
                meta->at = field->value.data;
                keep = 0;
                break;
            case CNO_NAME_CONNECTION:
                read_connection(field->value, meta);
                keep = !cno__is(field->value, "close") && !cno__is(field->value, "keep-alive");
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
        return &cno__no_host;
    if (!cno__is_host(host))
        return &cno__bad_host;
    struct cno_buffer_t authority = cno__authority_of(head->target);
    meta->at = head->target.data;
    meta->method = (uint8_t)cno__method(head->method);
    // The authority of absolute-form replaces the value of Host (RFC 9112 section 3.2.2).
    if (authority.data) {
        if (!authority.size || !cno__is_host(authority))
            return &cno__bad_target;
    } else if (meta->method == CNO__METHOD_CONNECT) {
        if (!cno__host_is_valid(head->target.data, head->target.size, 1))
            return &cno__bad_target;
        if ((fault = cno__check_connect(meta)))
            return fault;
        authority = head->target;
    } else if (!cno__is_path(head->method, head->target)) {
        return &cno__bad_target;
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
