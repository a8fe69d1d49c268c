// HTTP/1.x on a connection (RFC 9112), server and client: the messages that are read, piece by
// piece. The syntax of heads is in parse.c, their meaning in message/.
#include "h1/h1.h"

#include <string.h>

#include "h2/upgrade.h"

static const struct cno__fault BLANK_LINES = CNO__FAULT(
    400, NO_ERROR, "blank-lines", "too many empty lines before a request (RFC 9112 2.2)");
static const struct cno__fault CHUNK_LINE_TOO_LONG = CNO__FAULT(
    400, NO_ERROR, "chunk-line-too-long", "chunk-size line above the limit (RFC 9112 7.1.1)");
static const struct cno__fault CHUNK_EXTENSIONS = CNO__FAULT(
    400, NO_ERROR, "chunk-extensions", "chunk extensions above the limit (RFC 9112 7.1.1)");
static const struct cno__fault BAD_CHUNK_END =
    CNO__FAULT(400, NO_ERROR, "bad-chunk-end", "chunk data is not followed by CRLF (RFC 9112 7.1)");
static const struct cno__fault TRAILERS_TOO_LARGE = CNO__FAULT(
    431, NO_ERROR, "trailers-too-large", "trailer section above the limit (RFC 9112 7.1.2)");
static const struct cno__fault UNASKED_SWITCH =
    CNO__FAULT(0, NO_ERROR, "unasked-upgrade",
               "101 that was not asked for, or names no protocol (RFC 9110 7.8)");
static const struct cno__fault CHUNK_FLOOD =
    CNO__FAULT(400, NO_ERROR, "chunk-flood", "too many tiny chunks (RFC 9112 7.1)");
static const struct cno__fault INTERIM_FLOOD =
    CNO__FAULT(0, NO_ERROR, "interim-flood", "too many 1xx responses (RFC 9110 15.2)");
static const struct cno__fault UNSOLICITED =
    CNO__FAULT(0, NO_ERROR, "unsolicited-response", "a response to no request (RFC 9112 9.2)");

int cno__h1_finish_reading(struct cno_connection_t *c, struct cno_stream_t *s,
                           const struct cno_tail_t *tail) {
    c->read = cno__is_server(c) ? CNO_H1_WAIT : CNO_H1_START;
    if (s->state == CNO_STREAM_CLOSED)
        return CNO_OK;
    s->reading = CNO_AT_END;
    if (CNO__FIRE(c, on_message_tail, s->id, tail))
        return CNO_ERROR;
    return cno__stream_half_close(c, s, CNO_REMOTE);
}

// Determines the length of the body (RFC 9112 section 6.3) and sets what is read next. Returns
// whether there is a body to read.
static int begin_body(struct cno_connection_t *c, struct cno_stream_t *s,
                      const struct cno__meta *meta, int status) {
    c->body_left = 0;
    c->chunk_extensions = 0;
    s->reading = CNO_AT_BODY;
    if (status && !cno__response_has_body(status, s->method))
        return 0;
    if (meta->chunked) {
        c->head_scanned = 0;
        c->read = CNO_H1_CHUNK_LINE;
    } else if (meta->has_length) {
        c->body_left = meta->length;
        c->read = CNO_H1_LENGTH;
        return meta->length != 0;
    } else if (status) {
        c->read = CNO_H1_UNTIL_EOF;
        c->flags |= CNO_CONN_CLOSING;
    } else {
        return 0;
    }
    return 1;
}

// Whether a request without a body asks for a tunnel. HTTP/1.0 has no Upgrade (RFC 9110 section
// 7.8).
static int asks_tunnel(const struct cno_connection_t *c, const struct cno_message_t *msg,
                       const struct cno__meta *meta) {
    return meta->method == CNO__METHOD_CONNECT ||
           ((meta->upgrade & CNO__UPGRADE_ASKED) == CNO__UPGRADE_ASKED &&
            (c->options & CNO_OFFER_UPGRADE) && !(msg->flags & CNO_MESSAGE_HTTP1_0));
}

static int take_request(struct cno_connection_t *c, struct cno_stream_t *s,
                        struct cno_message_t *msg, const struct cno__meta *meta) {
    s->method = meta->method;
    c->flags &= (uint8_t) ~(CNO_CONN_EXPECT | CNO_CONN_REQUEST_1_0 | CNO_CONN_KEEP_ALIVE);
    int has_body = begin_body(c, s, meta, 0);
    if (meta->close)
        c->flags |= CNO_CONN_CLOSING;
    if (msg->flags & CNO_MESSAGE_HTTP1_0)
        c->flags |= CNO_CONN_REQUEST_1_0 | (meta->keep_alive ? CNO_CONN_KEEP_ALIVE : 0);
    if (has_body && meta->expect) {
        c->flags |= CNO_CONN_EXPECT;
        msg->flags |= CNO_MESSAGE_EXPECT;
    }
    const struct cno__fault *fault = NULL;
    if (!has_body && meta->upgrade && cno__h2c_asked(c, msg, meta, &fault))
        return cno__h2c_accept(c, s, msg, meta);
    int asks = !has_body && asks_tunnel(c, msg, meta);
    if (asks) {
        s->tunnel = CNO_TUNNEL_ASKED;
        c->read = CNO_H1_WAIT;
    }
    msg->flags |= (asks       ? CNO_MESSAGE_UPGRADE
                   : has_body ? 0
                              : CNO_MESSAGE_FINAL) |
                  (meta->te_trailers ? CNO_MESSAGE_TRAILERS : 0);
    if (CNO__FIRE(c, on_message_head, s->id, msg))
        return CNO_ERROR;
    return has_body || asks ? CNO_OK : cno__h1_finish_reading(c, s, NULL);
}

static int take_response(struct cno_connection_t *c, struct cno_stream_t *s,
                         struct cno_message_t *msg, const struct cno__meta *meta) {
    if (cno__grants_tunnel(s, msg->code)) {
        cno__h1_open_tunnel(c, s);
        msg->flags |= CNO_MESSAGE_UPGRADE;
        return CNO__FIRE(c, on_message_head, s->id, msg) ? CNO_ERROR : CNO_OK;
    }
    if (msg->code == 101)
        return cno__h2c_switch(c, s);
    if (msg->code < 200) {
        c->read = CNO_H1_START;
        if (cno__budget_spend(&c->budget_overhead))
            return cno__refuse(c, &INTERIM_FLOOD, 0);
        return CNO__FIRE(c, on_message_head, s->id, msg) ? CNO_ERROR : CNO_OK;
    }
    if (s->tunnel == CNO_TUNNEL_ASKED) {  // not granted, so our message is complete
        s->tunnel = CNO_TUNNEL_NONE;
        if (cno__stream_half_close(c, s, CNO_LOCAL))
            return CNO_ERROR;
    }
    int has_body = begin_body(c, s, meta, msg->code);
    if (meta->close)
        c->flags |= CNO_CONN_CLOSING;
    msg->flags |= has_body ? 0 : CNO_MESSAGE_FINAL;
    if (CNO__FIRE(c, on_message_head, s->id, msg))
        return CNO_ERROR;
    return has_body ? CNO_OK : cno__h1_finish_reading(c, s, NULL);
}

static int refuse_head(struct cno_connection_t *c, const struct cno__input *in,
                       const struct cno__fault *fault, size_t at) {
    // A response to HEAD has no content, and neither has a refusal (RFC 9110 section 9.3.2).
    if (cno__is_server(c) && in->size >= 5 && !memcmp(in->data, "HEAD ", 5))
        c->current->method = CNO__METHOD_HEAD;
    return cno__refuse(c, fault, at);
}

// Most heads come whole and are parsed at once. Others, and those with a fault, are searched for
// their end first, so that the fault does not depend on how the input was split.
static int parse_head(struct cno_connection_t *c, struct cno__input *in, struct cno__h1_head *head,
                      struct cno_header_t *list, char names[CNO_INLINE_HEAD], size_t *size) {
    const struct cno__fault *fault = NULL;
    int server = cno__is_server(c);
    uint32_t line = server ? c->limits.line : 0;
    size_t limit = c->limits.line < c->limits.head ? c->limits.line : c->limits.head;
    if (in->size < limit && in->size <= CNO_INLINE_HEAD && cno__h1_ends_head(in->data, in->size) &&
        !cno__h1_parse_head(in->data, in->size, server, head, list, c->limits.fields, names, size))
        return CNO_OK;
    *size = cno__h1_find_head(in->data, in->size, &c->head_scanned, line, c->limits.head, &fault);
    if (fault)
        return refuse_head(c, in, fault, c->head_scanned);
    if (!*size)
        return CNO__MORE;
    if (*size > CNO_INLINE_HEAD) {
        if (cno__bytes_reserve(&c->block, *size))
            return CNO_ERROR;
        names = c->block.data;
    }
    fault = cno__h1_parse_head(in->data, *size, server, head, list, c->limits.fields, names, size);
    return fault ? refuse_head(c, in, fault, *size) : CNO_OK;
}

static int read_head(struct cno_connection_t *c, struct cno__input *in) {
    struct cno_header_t list[CNO_MAX_HEADERS_STORED + 2];
    char names[CNO_INLINE_HEAD];
    struct cno__h1_head head = {0};
    struct cno__meta meta = {0};
    struct cno_message_t msg = {0};
    int server = cno__is_server(c);
    size_t size;
    int r = parse_head(c, in, &head, list + 2 * server, names, &size);
    if (r)
        return r;
    const struct cno__fault *fault = server ? cno__request_h1(&head, list, &msg, &meta)
                                            : cno__response_h1(&head, list, &msg, &meta);
    if (!fault && msg.code == 101 && !cno__h1_is_switch(c, &msg))
        fault = &UNASKED_SWITCH;
    if (!fault && server && meta.upgrade) {
        meta.at = meta.h2_settings.data;
        cno__h2c_asked(c, &msg, &meta, &fault);
    }
    if (fault)
        return refuse_head(c, in, fault, meta.at ? (size_t)(meta.at - in->data) : 0);
    cno__take(c, in, size);
    r = server ? take_request(c, c->current, &msg, &meta)
               : take_response(c, c->current, &msg, &meta);
    cno__bytes_free(&c->block);
    return r;
}

static int read_start(struct cno_connection_t *c, struct cno__input *in) {
    if (!in->size)
        return CNO__MORE;
    if (c->flags & CNO_CONN_SNIFF) {
        int r = cno__upgrade_sniff(c, in);
        if (r || c->mode != CNO_MODE_H1)
            return r;
    }
    while (in->data[0] == '\r' && cno__is_server(c)) {
        if (in->size == 1)
            return CNO__MORE;
        if (in->data[1] != '\n')
            break;
        if (c->blank++ == CNO_MAX_H1_BLANK_LINES)
            return cno__refuse(c, &BLANK_LINES, 0);
        cno__take(c, in, 2);
        if (!in->size)
            return CNO__MORE;
    }
    c->blank = 0;
    c->head_scanned = 0;
    c->drained = 0;
    c->read = CNO_H1_HEAD;
    if (!cno__is_server(c))
        return c->current && c->current->reading == CNO_AT_HEAD ? CNO_OK
                                                                : cno__refuse(c, &UNSOLICITED, 0);
    uint32_t last = c->last_stream[CNO_REMOTE], id = last ? last + 2 : 1;
    if (id == CNO__STREAM_MAX)
        c->flags |= CNO_CONN_CLOSING;  // this is the last id
    c->current = cno__stream_new(c, id, CNO_REMOTE, CNO_STREAM_OPEN);
    return c->current ? CNO_OK : CNO_ERROR;
}

// Gives a piece of body to the application. Once a server's response is complete, pieces count
// against limits.drain.
static int take_body(struct cno_connection_t *c, struct cno__input *in, size_t size) {
    struct cno_stream_t *s = c->current;
    const char *data = in->data;
    cno__take(c, in, size);
    c->flags &= (uint8_t)~CNO_CONN_EXPECT;
    if (s && s->writing == CNO_AT_END && cno__is_server(c) &&
        (c->drained += size) > c->limits.drain) {
        c->flags |= CNO_CONN_CLOSING;
        return cno__stream_close(c, s, CNO_RST_NO_ERROR, CNO_LOCAL);
    }
    if (!s || !size)
        return CNO_OK;
    return CNO__FIRE(c, on_message_data, s->id, data, size) ? CNO_ERROR : CNO_OK;
}

static int read_sized(struct cno_connection_t *c, struct cno__input *in) {
    if (!in->size)
        return CNO__MORE;
    size_t size = in->size < c->body_left ? in->size : (size_t)c->body_left;
    int in_chunk = c->read == CNO_H1_CHUNK;
    c->body_left -= size;
    if (take_body(c, in, size))
        return CNO_ERROR;
    if (c->body_left || c->mode != CNO_MODE_H1)
        return CNO_OK;
    if (in_chunk) {
        c->read = CNO_H1_CHUNK_END;
        return CNO_OK;
    }
    return c->current ? cno__h1_finish_reading(c, c->current, NULL) : CNO_OK;
}

static int read_chunk_line(struct cno_connection_t *c, struct cno__input *in) {
    size_t seen = in->size < CNO_MAX_H1_CHUNK_LINE ? in->size : CNO_MAX_H1_CHUNK_LINE, extensions;
    size_t before = c->head_scanned;  // bytes of this line that were searched before
    const char *lf = seen > before ? memchr(in->data + before, '\n', seen - before) : NULL;
    c->head_scanned = (uint32_t)seen;
    if (!lf)
        return seen < CNO_MAX_H1_CHUNK_LINE ? CNO__MORE
                                            : cno__refuse(c, &CHUNK_LINE_TOO_LONG, seen);
    size_t size = (size_t)(lf - in->data);
    if (!size || lf[-1] != '\r')
        return cno__refuse(c, &cno__h1_bare_lf, size);
    const struct cno__fault *fault =
        cno__h1_parse_chunk(in->data, size - 1, &c->body_left, &extensions);
    if (fault)
        return cno__refuse(c, fault, 0);
    c->chunk_extensions += (uint32_t)extensions;
    if (c->chunk_extensions > CNO_MAX_H1_CHUNK_EXTENSIONS)
        return cno__refuse(c, &CHUNK_EXTENSIONS, 0);
    // Charged as DATA is: a tiny chunk costs the receiver more than the sender.
    if (cno__is_server(c) && c->body_left && c->body_left < CNO_TINY_DATA &&
        cno__budget_spend(&c->budget_overhead))
        return cno__refuse(c, &CHUNK_FLOOD, 0);
    if (c->body_left >= CNO_USEFUL_DATA)
        cno__budget_refill(&c->budget_overhead, 1, c->limits.overhead);
    cno__take(c, in, size + 1);
    c->head_scanned = 0;
    c->read = c->body_left ? CNO_H1_CHUNK : CNO_H1_TRAILERS;
    return CNO_OK;
}

static int read_chunk_end(struct cno_connection_t *c, struct cno__input *in) {
    if (in->size && in->data[0] != '\r')
        return cno__refuse(c, &BAD_CHUNK_END, 0);
    if (in->size < 2)
        return CNO__MORE;
    if (in->data[1] != '\n')
        return cno__refuse(c, &BAD_CHUNK_END, 1);
    cno__take(c, in, 2);
    c->read = CNO_H1_CHUNK_LINE;
    return CNO_OK;
}

static int read_trailers(struct cno_connection_t *c, struct cno__input *in) {
    if (!in->size || (in->data[0] == '\r' && in->size == 1))
        return CNO__MORE;
    struct cno_header_t list[CNO_MAX_H1_TRAILER_FIELDS];
    char names[CNO_MAX_H1_TRAILERS];
    struct cno_tail_t tail = {list, 0};
    const struct cno__fault *fault = NULL;
    size_t size = 2, at = 0;
    if (in->data[0] != '\r' || in->data[1] != '\n') {
        size_t seen = in->size < CNO_MAX_H1_TRAILERS ? in->size : CNO_MAX_H1_TRAILERS;
        size = cno__h1_find_head(in->data, seen, &c->head_scanned, 0, UINT32_MAX, &fault);
        if (fault)
            return cno__refuse(c, fault, c->head_scanned);
        if (!size)
            return seen < CNO_MAX_H1_TRAILERS ? CNO__MORE
                                              : cno__refuse(c, &TRAILERS_TOO_LARGE, seen);
        fault = cno__h1_parse_fields(in->data, size, list, CNO_MAX_H1_TRAILER_FIELDS,
                                     &tail.headers_len, names, &at);
        if (fault || (fault = cno__trailers(list, &tail.headers_len, CNO_HTTP1)))
            return cno__refuse(c, fault, at);
    }
    cno__take(c, in, size);
    return c->current ? cno__h1_finish_reading(c, c->current, &tail) : CNO_OK;
}

// Size limit of the line-based element that is being read; 0 if there is none.
static size_t line_limit(const struct cno_connection_t *c) {
    const struct cno_limits_t *limits = &c->limits;
    switch ((enum CNO_H1_READ)c->read) {
        case CNO_H1_HEAD:
            return c->head_scanned < limits->line && limits->line < limits->head ? limits->line
                                                                                 : limits->head;
        case CNO_H1_CHUNK_LINE:
            return CNO_MAX_H1_CHUNK_LINE;
        case CNO_H1_TRAILERS:
            return CNO_MAX_H1_TRAILERS;
        default:
            return 0;
    }
}

int cno__h1_waits(struct cno_connection_t *c, const char *data, size_t size) {
    size_t seen = c->head_scanned, limit = seen ? line_limit(c) : 0;
    if (seen >= limit || size >= limit - seen || memchr(data, '\n', size))
        return 0;
    c->head_scanned += (uint32_t)size;
    return 1;
}

int cno__h1_step(struct cno_connection_t *c, struct cno__input *in) {
    switch ((enum CNO_H1_READ)c->read) {
        case CNO_H1_START:
            return read_start(c, in);
        case CNO_H1_HEAD:
            return read_head(c, in);
        case CNO_H1_LENGTH:
        case CNO_H1_CHUNK:
            return read_sized(c, in);
        case CNO_H1_CHUNK_LINE:
            return read_chunk_line(c, in);
        case CNO_H1_CHUNK_END:
            return read_chunk_end(c, in);
        case CNO_H1_TRAILERS:
            return read_trailers(c, in);
        case CNO_H1_UNTIL_EOF:
        case CNO_H1_TUNNEL:
            return in->size ? take_body(c, in, in->size) : CNO__MORE;
        case CNO_H1_WAIT:
            if (c->current)
                return CNO__MORE;
            c->read = CNO_H1_START;
            return CNO_OK;
    }
    return CNO__MORE;
}

int cno__h1_eof(struct cno_connection_t *c) {
    struct cno_stream_t *s = c->current;
    if (c->read == CNO_H1_UNTIL_EOF && s)
        return cno__h1_finish_reading(c, s, NULL);
    if (c->read != CNO_H1_TUNNEL || !s)
        return CNO_OK;
    struct cno__input kept = {c->in.data,
                              c->in.size};  // the caller did not continue with these bytes
    if ((kept.size && take_body(c, &kept, kept.size)) ||
        (c->current && CNO__FIRE(c, on_message_tail, s->id, NULL)))
        return CNO_ERROR;
    return cno__stream_close(c, s, CNO_RST_NO_ERROR, CNO_REMOTE);
}
