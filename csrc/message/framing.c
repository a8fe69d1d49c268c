// Bodies: whether a message has one, how long it is, and whether a body that is sent has the length
// of its Content-Length.
#include "message/head.h"

static const struct cno__fault BAD_LENGTH =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-content-length",
               "Content-Length is not one plain number (RFC 9112 6.3)");
static const struct cno__fault CONNECT_BODY =
    CNO__FAULT(400, PROTOCOL_ERROR, "connect-with-body", "CONNECT with content (RFC 9110 9.3.6)");

enum CNO__METHOD cno__method(struct cno_buffer_t method) {
    return cno__is(method, "HEAD")      ? CNO__METHOD_HEAD
           : cno__is(method, "CONNECT") ? CNO__METHOD_CONNECT
                                        : CNO__METHOD_OTHER;
}

int cno__is_pushable(struct cno_buffer_t method) {
    return cno__is(method, "GET") || cno__is(method, "HEAD");
}

int cno__response_has_body(int status, enum CNO__METHOD method) {
    return status >= 200 && status != 204 && status != 304 && method != CNO__METHOD_HEAD &&
           !(method == CNO__METHOD_CONNECT && status < 300);
}

const struct cno__fault *cno__read_length(struct cno_buffer_t value, struct cno__meta *meta) {
    if (meta->has_length || cno__parse_uint(value.data, value.size, &meta->length))
        return &BAD_LENGTH;
    meta->has_length = 1;
    return NULL;
}

// A request to CONNECT has no content; a length of nothing is not held against it.
const struct cno__fault *cno__check_connect(struct cno__meta *meta) {
    if (meta->chunked || (meta->has_length && meta->length))
        return &CONNECT_BODY;
    meta->has_length = 0;
    return NULL;
}

int cno__check_length(const struct cno__out_meta *meta, size_t size, int final) {
    if (!meta->has_length || (final ? meta->length == size : meta->length >= size))
        return CNO_OK;
    return cno_error_set(CNO_ERRNO_ASSERTION,
                         size > meta->length ? "body-too-long" : "body-too-short",
                         "content-length is %llu and the body has %zu bytes",
                         (unsigned long long)meta->length, size);
}
