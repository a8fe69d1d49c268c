// A client's requests: what is checked before one is written, and the stream that it begins. Writes
// nothing itself.
#include "conn.h"

// What would make cno_write_head fail, before a stream is made for it.
static int check_request(const struct cno_connection_t *c, const struct cno_message_t *msg,
                         size_t size, int final) {
    uint8_t ids[CNO_MAX_HEADERS_OUT];
    struct cno__out_meta meta = {0};
    size_t at = 0;
    const char *wrong =
        cno__check_out(msg->headers, msg->headers_len, c->mode == CNO_MODE_H2, ids, &meta, &at);
    if (wrong)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "field %zu: %s", at, wrong);
    int h2 = c->mode == CNO_MODE_H2;
    if (!(h2 ? cno__target_is_valid_h2 : cno__target_is_valid_h1)(msg->method, msg->path))
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-start-line",
                             "the target has no form of its method");
    if (h2 && (wrong = cno__request_lacks_h2(msg)))
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "%s (RFC 9113 8.3.1)", wrong);
    if (h2 && meta.protocol.data && !meta.scheme)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "a request needs a :scheme");
    if (cno__method(msg->method) != CNO__METHOD_CONNECT && !meta.protocol.data &&
        (h2 || !meta.upgrade))
        return cno__check_length(&meta, size, final);
    if ((wrong = cno__check_tunnel(msg, &meta, size)))
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-tunnel", "a request for a tunnel: %s",
                             wrong);
    if (meta.protocol.data && h2 && !(c->flags & CNO_CONN_SETTINGS))
        return cno_error_set(CNO_ERRNO_WOULD_BLOCK, "no-settings",
                             "whether the peer takes :protocol is not known yet");
    if (meta.protocol.data && !(h2 && c->settings[CNO_REMOTE].enable_connect_protocol))
        return cno_error_set(CNO_ERRNO_ASSERTION, "no-extended-connect",
                             "the peer does not take :protocol (RFC 8441 3)");
    return CNO_OK;
}

// A new stream for a client's request.
static struct cno_stream_t *begin_request(struct cno_connection_t *c, uint32_t id) {
    uint32_t limit = c->mode == CNO_MODE_H2 ? c->settings[CNO_REMOTE].max_concurrent_streams : 1;
    const struct cno_stream_t *last = cno__stream_find(c, c->last_stream[CNO_LOCAL]);
    if (c->flags & CNO_CONN_CLOSING) {
        cno_error_set(CNO_ERRNO_DISCONNECT, "closing", "the connection takes no new requests");
    } else if (cno_next_stream(c) > CNO__STREAM_MAX) {
        cno_error_set(CNO_ERRNO_DISCONNECT, "no-stream-ids",
                      "all stream ids are used up (RFC 9113 5.1.1)");
    } else if (id != cno_next_stream(c)) {
        cno__gone(id);
    } else if (last && last->writing == CNO_AT_HEAD) {  // ids rise on the wire (RFC 9113 5.1.1)
        cno_error_set(CNO_ERRNO_WOULD_BLOCK, "head-unsent",
                      "the head of the request before was not written yet");
    } else if (c->stream_count[CNO_LOCAL] >= limit) {
        cno_error_set(CNO_ERRNO_WOULD_BLOCK, "too-many-streams", "wait for the end of a stream");
    } else {
        struct cno_stream_t *s = cno__stream_new(c, id, CNO_LOCAL, CNO_STREAM_OPEN);
        if (s && c->mode == CNO_MODE_H1)
            c->current = s;
        return s;
    }
    return NULL;
}

struct cno_stream_t *cno__request_stream(struct cno_connection_t *c, uint32_t id,
                                         const struct cno_message_t *msg, size_t size, int final) {
    struct cno_stream_t *s = cno__stream_find(c, id);
    if ((s && !cno__is_headless(s)) || check_request(c, msg, size, final))
        return NULL;
    // Calls from its on_stream_start may have written another request, which is then the one.
    if (!s && (!(s = begin_request(c, id)) || !cno__is_headless(s)))
        return NULL;
    s->method = (uint8_t)cno__method(msg->method);
    return s;
}
