// HTTP/1.x on a connection (RFC 9112), server and client: the messages that are written, and their
// framing.
#include "h1/h1.h"

#include <stdio.h>
#include <string.h>

#include "h2/upgrade.h"
#include "message/words.h"

static inline char *put(char *at, const char *data, size_t size) {
    cno__copy(at, data, size);
    return at + size;
}

#define PUT_LITERAL(at, literal) put(at, literal, sizeof(literal) - 1)

// The message that is written is complete: flushes the output, then ends the exchange if the
// message in the other direction is complete too, and with it perhaps the connection.
static int finish_writing(struct cno_connection_t *c, struct cno_stream_t *s) {
    if (cno__flush(c))
        return CNO_ERROR;
    s->writing = CNO_AT_END;
    // Behind the last response of a connection the rest of the request is not read. A tunnel ends
    // with either side.
    if (s->tunnel == CNO_TUNNEL_OPEN ||
        (cno__is_server(c) && s->state == CNO_STREAM_OPEN && (c->flags & CNO_CONN_CLOSING)))
        return cno__stream_close(c, s, CNO_RST_NO_ERROR, CNO_LOCAL);
    return cno__stream_half_close(c, s, CNO_LOCAL);
}

// The fields that the engine adds to those of the caller.
struct framing_fields {
    uint8_t has_length, chunked, close, keep_alive, upgrade, te, h2c;
    uint32_t skipped;  // the caller's fields that are not sent: a set of enum CNO_NAME
    size_t length;
};

// The parts of a head that only a request has.
struct request_line {
    struct cno_buffer_t target;
    struct cno_buffer_t host;  // the host to add; data = NULL if the caller's fields have one
};

static struct framing_fields frame_response(struct cno_connection_t *c, struct cno_stream_t *s,
                                            int code, size_t size, int final,
                                            const struct cno__out_meta *meta) {
    int granted = cno__grants_tunnel(s, code);
    struct framing_fields add = {.upgrade = meta->upgrade, .skipped = CNO__DROPPED_H1};
    if (granted || cno__response_drops_length(code))
        add.skipped |= CNO__NAMED(CNO_NAME_CONTENT_LENGTH);
    if (granted || code < 200)
        return add;
    s->write_sized = 0;
    if (!cno__response_takes_body(code, s->method)) {
        s->framing = CNO_FRAMING_NONE;
        add.has_length = cno__response_has_body(code, s->method);
    } else if (meta->has_length || final) {
        s->framing = CNO_FRAMING_LENGTH;
        s->write_sized = 1;
        s->write_left = meta->has_length ? meta->length : size;
        add.has_length = !meta->has_length;
        add.length = size;
    } else if (c->flags & CNO_CONN_REQUEST_1_0) {
        s->framing = CNO_FRAMING_CLOSE;
        c->flags |= CNO_CONN_CLOSING;
    } else {
        s->framing = CNO_FRAMING_CHUNKED;
        add.chunked = 1;
    }
    // A client that waits for 100 may never send its body (RFC 9110 section 10.1.1), and the bytes
    // behind a refused CONNECT may be meant for its tunnel: in both cases the next bytes are not
    // known to be a request.
    if (meta->close || (c->flags & CNO_CONN_EXPECT) ||
        (s->tunnel && s->method == CNO__METHOD_CONNECT))
        c->flags |= CNO_CONN_CLOSING;
    add.close = (c->flags & CNO_CONN_CLOSING) != 0;
    add.keep_alive = !add.close && (c->flags & CNO_CONN_KEEP_ALIVE);
    return add;
}

// Decides the framing of a request. A request without a body has a length only if its method
// usually has a body (RFC 9110 section 8.6).
static struct framing_fields frame_request(struct cno_connection_t *c, struct cno_stream_t *s,
                                           const struct cno_message_t *msg, size_t size, int final,
                                           const struct cno__out_meta *meta,
                                           struct request_line *line) {
    struct framing_fields add = {
        .close = meta->close, .upgrade = meta->upgrade, .te = meta->te, .skipped = CNO__DROPPED_H1};
    if (meta->close)
        c->flags |= CNO_CONN_CLOSING;
    // A request has a Host, which is empty if there is no host (RFC 9112 section 3.2).
    int connect = s->method == CNO__METHOD_CONNECT;
    line->target = connect ? cno__connect_target(msg, meta) : msg->path;
    if (meta->authority.data) {
        add.skipped |= CNO__NAMED(CNO_NAME_HOST);
    } else if (!meta->host) {
        line->host = connect ? line->target : cno__authority_of(msg->path);
        line->host.data = line->host.data ? line->host.data : "";
    }
    if (connect || meta->upgrade) {
        s->tunnel = CNO_TUNNEL_ASKED;
        add.skipped |= connect ? CNO__NAMED(CNO_NAME_CONTENT_LENGTH) : 0;
        return add;
    }
    const char *m = msg->method.data;
    size_t n = msg->method.size;
    s->write_sized = meta->has_length || final;
    s->write_left = meta->has_length ? meta->length : size;
    s->framing = s->write_sized ? CNO_FRAMING_LENGTH : CNO_FRAMING_CHUNKED;
    add.chunked = !s->write_sized;
    add.has_length = final && !meta->has_length &&
                     (size || (n == 4 && !memcmp(m, "POST", 4)) ||
                      (n == 3 && !memcmp(m, "PUT", 3)) || (n == 5 && !memcmp(m, "PATCH", 5)));
    add.length = size;
    // Only the first request of a connection can ask for HTTP/2.
    if ((c->options & CNO_H2C_UPGRADE) && s->id == 1 && s->write_sized && !s->write_left &&
        !meta->close) {
        s->tunnel = CNO_TUNNEL_H2C;
        add.h2c = 1;
    }
    return add;
}

static char *put_start_line(char *at, const struct cno_message_t *msg, struct cno_buffer_t target) {
    if (!msg->code) {
        at = put(at, msg->method.data, msg->method.size);
        *at++ = ' ';
        at = put(at, target.data, target.size);
        return PUT_LITERAL(at, " HTTP/1.1\r\n");
    }
    struct cno_buffer_t reason = msg->method.size ? msg->method : cno__reason_phrase(msg->code);
    unsigned code = (unsigned)msg->code;
    at = PUT_LITERAL(at, "HTTP/1.1 ");
    *at++ = (char)('0' + code / 100);
    *at++ = (char)('0' + code / 10 % 10);
    *at++ = (char)('0' + code % 10);
    *at++ = ' ';
    at = put(at, reason.data, reason.size);
    return PUT_LITERAL(at, "\r\n");
}

static char *put_fields(char *at, const struct cno_header_t *list, size_t count, const uint8_t *ids,
                        uint32_t skipped) {
    for (size_t i = 0; i < count; i++) {
        struct cno_buffer_t name = list[i].name;
        if ((skipped | CNO__PSEUDO) >> ids[i] & 1) {
            if (ids[i] != CNO_NAME_P_AUTHORITY)
                continue;
            name = (struct cno_buffer_t){"host", 4};
        }
        at = put(at, name.data, name.size);
        at = PUT_LITERAL(at, ": ");
        at = put(at, list[i].value.data, list[i].value.size);
        at = PUT_LITERAL(at, "\r\n");
    }
    return at;
}

static int write_fields(struct cno_connection_t *c, const struct cno_message_t *msg,
                        const uint8_t *ids, const struct framing_fields *add,
                        const struct request_line *line) {
    size_t size = msg->method.size + line->target.size + line->host.size + 192 +
                  (add->h2c ? CNO__H2C_FIELDS : 0);
    for (size_t i = 0; i < msg->headers_len; i++)
        size += msg->headers[i].name.size + msg->headers[i].value.size + 4;
    if (cno__bytes_reserve(&c->out, size))
        return CNO_ERROR;
    char *start = c->out.data + c->out.size, *at = put_start_line(start, msg, line->target);
    if (line->host.data) {
        at = put(PUT_LITERAL(at, "host: "), line->host.data, line->host.size);
        at = PUT_LITERAL(at, "\r\n");
    }
    at = put_fields(at, msg->headers, msg->headers_len, ids, add->skipped);
    if (add->has_length)
        at += sprintf(at, "content-length: %zu\r\n", add->length);
    if (add->chunked)
        at = PUT_LITERAL(at, "transfer-encoding: chunked\r\n");
    if (add->close)
        at = PUT_LITERAL(at, "connection: close\r\n");
    if (add->keep_alive)
        at = PUT_LITERAL(at, "connection: keep-alive\r\n");
    // These fields are for the next hop only, so Connection lists them (RFC 9110 sections 7.8 and
    // 10.1.4).
    if (add->upgrade)
        at = PUT_LITERAL(at, "connection: upgrade\r\n");
    if (add->te)
        at = PUT_LITERAL(at, "connection: te\r\n");
    if (add->h2c)
        at = cno__h2c_offer(c, at);
    at = PUT_LITERAL(at, "\r\n");
    c->out.size += (size_t)(at - start);
    return CNO_OK;
}

int cno__h1_write_head(struct cno_connection_t *c, struct cno_stream_t *s,
                       const struct cno_message_t *msg, size_t size, int final) {
    uint8_t ids[CNO_MAX_HEADERS_OUT];
    struct cno__out_meta meta = {0};
    size_t at = 0;
    const char *wrong = cno__check_out(msg->headers, msg->headers_len, 0, ids, &meta, &at);
    if (wrong)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "field %zu: %s", at, wrong);
    if (msg->code && meta.pseudo)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "pseudo-field in a response");
    if (!cno__value_is_valid(msg->method.data, msg->method.size))
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-start-line",
                             "bytes that a start line cannot have");
    if (msg->code && msg->code < 200 && (c->flags & CNO_CONN_REQUEST_1_0))
        return CNO_OK;
    if ((!msg->code || cno__response_takes_body(msg->code, s->method)) &&
        cno__check_length(&meta, size, final))
        return CNO_ERROR;
    if (msg->code == 101 && !meta.upgrade)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "101 needs an upgrade field");
    struct request_line line = {0};
    struct framing_fields add = msg->code ? frame_response(c, s, msg->code, size, final, &meta)
                                          : frame_request(c, s, msg, size, final, &meta, &line);
    if (write_fields(c, msg, ids, &add, &line))
        return CNO_ERROR;
    if (msg->code && msg->code < 200 && msg->code != 101) {
        if (msg->code == 100)
            c->flags &= (uint8_t)~CNO_CONN_EXPECT;
        return CNO_OK;
    }
    s->writing = CNO_AT_BODY;
    if (s->tunnel == CNO_TUNNEL_ASKED && !msg->code)
        return meta.upgrade ? cno__h1_keep_offer(c, msg, ids) : CNO_OK;
    if (s->tunnel == CNO_TUNNEL_ASKED && cno__h1_settle_tunnel(c, s, msg->code))
        return CNO_ERROR;
    return final && !size && s->state != CNO_STREAM_CLOSED ? finish_writing(c, s) : CNO_OK;
}

int cno__h1_write_data(struct cno_connection_t *c, struct cno_stream_t *s, const char *data,
                       size_t size, int final) {
    struct cno_buffer_t pieces[2] = {{data, size}, {"\r\n", 2}};
    size_t count = size ? 1 : 0;
    if (s->framing == CNO_FRAMING_NONE)
        return final && finish_writing(c, s) ? CNO_ERROR : (int)size;
    if (s->framing == CNO_FRAMING_CHUNKED && size) {
        char line[24];
        int length = snprintf(line, sizeof(line), "%zx\r\n", size);
        if (cno__bytes_append(&c->out, line, (size_t)length))
            return CNO_ERROR;
        count = 2;
    }
    if (s->framing == CNO_FRAMING_CHUNKED && final) {
        pieces[size ? 1 : 0] = size ? (struct cno_buffer_t){"\r\n0\r\n\r\n", 7}
                                    : (struct cno_buffer_t){"0\r\n\r\n", 5};
        count = size ? 2 : 1;
    }
    if (s->write_sized)
        s->write_left -= size;
    if (count && cno__flush_with(c, pieces, count))
        return CNO_ERROR;
    return final && finish_writing(c, s) ? CNO_ERROR : (int)size;
}

int cno__h1_write_tail(struct cno_connection_t *c, struct cno_stream_t *s,
                       const struct cno_tail_t *tail) {
    uint8_t ids[CNO_MAX_HEADERS_OUT];
    size_t at = 0, size = 8;
    const char *wrong = cno__check_trailers(tail->headers, tail->headers_len, 0, ids, &at);
    if (wrong)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "trailer %zu: %s", at, wrong);
    if (s->framing != CNO_FRAMING_CHUNKED)
        return cno__h1_write_data(c, s, NULL, 0, 1);
    for (size_t i = 0; i < tail->headers_len; i++)
        size += tail->headers[i].name.size + tail->headers[i].value.size + 4;
    if (cno__bytes_reserve(&c->out, size))
        return CNO_ERROR;
    char *start = c->out.data + c->out.size, *end = PUT_LITERAL(start, "0\r\n");
    end = put_fields(end, tail->headers, tail->headers_len, ids,
                     CNO__DROPPED_H1 | CNO__NAMED(CNO_NAME_CONTENT_LENGTH) |
                         CNO__NAMED(CNO_NAME_HOST));
    end = PUT_LITERAL(end, "\r\n");
    c->out.size += (size_t)(end - start);
    return finish_writing(c, s);
}

int cno__h1_write_error(struct cno_connection_t *c, int status, const char *text) {
    static const uint8_t ids[CNO_MAX_DEFAULTS] = {CNO_NAME_OTHER};
    struct cno_header_t list[CNO_MAX_DEFAULTS];
    size_t count = cno__refusal_fields(c->refusal_fields, list), length = strlen(text),
           size = length + 192;
    for (size_t i = 0; i < count; i++)
        size += list[i].name.size + list[i].value.size + 4;
    if (cno__bytes_reserve(&c->out, size))
        return CNO_ERROR;
    char *start = c->out.data + c->out.size;
    char *at = start + sprintf(start, "HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\n", status,
                               cno__reason_phrase(status).data);
    at = put_fields(at, list, count, ids, 0);
    at += sprintf(at, "content-length: %zu\r\nconnection: close\r\n\r\n", length + 1);
    if (!c->current || c->current->method != CNO__METHOD_HEAD) {
        at = put(at, text, length);
        *at++ = '\n';
    }
    c->out.size += (size_t)(at - start);
    return CNO_OK;
}
