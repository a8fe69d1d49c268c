// HTTP/2 on a connection: the frames that are written (RFC 9113), and how messages become frames.
// Header blocks are in block.c.
#include "h2/h2.h"

#include <string.h>

int cno__h2_write_frame(struct cno_connection_t *c, uint8_t type, uint8_t flags, uint32_t stream,
                        const void *payload, size_t size) {
    if (cno__bytes_reserve(&c->out, CNO_FRAME_HEADER_SIZE + size))
        return CNO_ERROR;
    cno__frame_encode(c->out.data + c->out.size, (uint32_t)size, type, flags, stream);
    c->out.size += CNO_FRAME_HEADER_SIZE;
    if (size)
        memcpy(c->out.data + c->out.size, payload, size);
    c->out.size += size;
    return CNO_OK;
}

int cno__h2_write_number(struct cno_connection_t *c, uint8_t type, uint32_t stream,
                         uint32_t number) {
    unsigned char payload[4];
    cno__write4(payload, number);
    return cno__h2_write_frame(c, type, 0, stream, payload, sizeof(payload));
}

int cno__h2_write_goaway(struct cno_connection_t *c, uint32_t last, uint32_t code,
                         const char *text) {
    unsigned char payload[8 + 64];
    size_t size = strlen(text);
    size = size < 64 ? size : 64;
    // The last id is never raised, because streams above it were refused since (section 6.8).
    if (last > c->goaway[CNO_LOCAL])
        last = c->goaway[CNO_LOCAL];
    c->goaway[CNO_LOCAL] = last;
    cno__write4(payload, last);
    cno__write4(payload + 4, code);
    memcpy(payload + 8, text, size);
    return cno__h2_write_frame(c, CNO_FRAME_GOAWAY, 0, 0, payload, 8 + size);
}

int cno__h2_reset(struct cno_connection_t *c, struct cno_stream_t *s, uint32_t code) {
    // To the peer, a request whose head was not written is an idle stream.
    int idle = !cno__is_server(c) && s->initiator == CNO_LOCAL && s->writing == CNO_AT_HEAD;
    if (!idle && (cno__h2_write_number(c, CNO_FRAME_RST_STREAM, s->id, code) || cno__flush(c)))
        return CNO_ERROR;
    return cno__stream_close(c, s, code, CNO_LOCAL);
}

// ---- messages ----------------------------------------------------------------------------------

// The message that is written is complete: flushes the output, then ends the stream if the message
// in the other direction is complete too.
static int finish_writing(struct cno_connection_t *c, struct cno_stream_t *s) {
    if (cno__flush(c))
        return CNO_ERROR;
    s->writing = CNO_AT_END;
    return cno__stream_half_close(c, s, CNO_LOCAL);
}

int cno__h2_write_head(struct cno_connection_t *c, struct cno_stream_t *s,
                       const struct cno_message_t *msg, size_t size, int final) {
    struct cno__block block;
    int granted = cno__grants_tunnel(s, msg->code);
    if (cno__h2_make_block(&block, msg, granted))
        return CNO_ERROR;
    int has_body = !msg->code || granted || cno__response_takes_body(msg->code, s->method);
    if (granted || (!msg->code && s->method == CNO__METHOD_CONNECT))
        block.meta.has_length = 0;
    if (has_body && cno__check_length(&block.meta, size, final))
        return CNO_ERROR;
    final = final && !size;
    if (cno__h2_write_block(c, final ? CNO_FLAG_END_STREAM : 0, s->id, 0, block.list, block.count))
        return CNO_ERROR;
    if (s->state == CNO_STREAM_RESERVED_LOCAL)
        cno__stream_set(s, CNO_STREAM_HALF_REMOTE);
    if (msg->code && msg->code < 200)
        return CNO_OK;
    s->framing = has_body ? CNO_FRAMING_FRAMES : CNO_FRAMING_NONE;
    s->write_sized = has_body && block.meta.has_length;
    s->write_left = block.meta.length;
    s->writing = CNO_AT_BODY;
    if (s->tunnel == CNO_TUNNEL_ASKED && msg->code)
        s->tunnel = granted ? CNO_TUNNEL_OPEN : CNO_TUNNEL_NONE;
    else if (!msg->code && s->method == CNO__METHOD_CONNECT)
        s->tunnel = CNO_TUNNEL_ASKED;
    return final ? finish_writing(c, s) : CNO_OK;
}

int cno__h2_write_tail(struct cno_connection_t *c, struct cno_stream_t *s,
                       const struct cno_tail_t *tail) {
    uint8_t ids[CNO_MAX_HEADERS_OUT];
    size_t at = 0;
    const char *wrong = cno__check_trailers(tail->headers, tail->headers_len, 1, ids, &at);
    if (wrong)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "trailer %zu: %s", at, wrong);
    if (s->framing == CNO_FRAMING_NONE || s->tunnel || !tail->headers_len)
        return cno__h2_write_data(c, s, NULL, 0, 1);
    if (cno__h2_write_block(c, CNO_FLAG_END_STREAM, s->id, 0, tail->headers, tail->headers_len))
        return CNO_ERROR;
    return finish_writing(c, s);
}

int cno__h2_write_push(struct cno_connection_t *c, struct cno_stream_t *parent,
                       const struct cno_message_t *msg) {
    const struct cno_settings_t *remote = &c->settings[CNO_REMOTE];
    uint32_t id = c->last_stream[CNO_LOCAL] + 2;
    if (!cno__is_server(c) || !remote->enable_push || !(c->flags & CNO_CONN_SETTINGS) ||
        parent->initiator == CNO_LOCAL || parent->writing == CNO_AT_END ||
        (c->flags & CNO_CONN_CLOSING) || c->goaway[CNO_REMOTE] != CNO__NO_GOAWAY ||
        c->stream_count[CNO_LOCAL] >= remote->max_concurrent_streams || id > CNO__STREAM_MAX)
        return CNO_OK;
    struct cno__block block;
    if (cno__h2_make_block(&block, msg, 0))
        return CNO_ERROR;
    if (block.meta.has_length && block.meta.length)
        return cno_error_set(CNO_ERRNO_ASSERTION, "unsafe-push",
                             "a promised request cannot have content");
    // The promise is written before on_stream_start, which may reset the stream. A response can be
    // written after on_stream_start only, because the stream has no request until then.
    if (cno__h2_write_block(c, 0, parent->id, id, block.list, block.count))
        return CNO_ERROR;
    struct cno_stream_t *s = cno__stream_new(c, id, CNO_LOCAL, CNO_STREAM_RESERVED_LOCAL);
    if (!s) {
        cno__h2_write_number(c, CNO_FRAME_RST_STREAM, id, CNO_RST_CANCEL);
        return CNO_ERROR;
    }
    s->method = (uint8_t)cno__method(msg->method);
    s->reading = CNO_AT_END;
    if (cno__flush(c))
        return CNO_ERROR;
    if (s->state != CNO_STREAM_CLOSED && CNO__FIRE(c, on_message_head, id, msg))
        return CNO_ERROR;
    return s->state != CNO_STREAM_CLOSED && CNO__FIRE(c, on_message_tail, id, NULL) ? CNO_ERROR
                                                                                    : CNO_OK;
}

// ---- bodies ------------------------------------------------------------------------------------

// Writes DATA frames whose payloads are the caller's own bytes, CNO_MAX_GATHER in one on_writev.
static int write_frames(struct cno_connection_t *c, struct cno_stream_t *s, const char *data,
                        size_t size, int final) {
    char headers[CNO_MAX_GATHER][CNO_FRAME_HEADER_SIZE];
    struct cno_buffer_t pieces[2 * CNO_MAX_GATHER];
    size_t max = c->settings[CNO_REMOTE].max_frame_size, count = 0;
    do {
        size_t part = size < max ? size : max;
        uint8_t flags = final && part == size ? CNO_FLAG_END_STREAM : 0;
        cno__frame_encode(headers[count], (uint32_t)part, CNO_FRAME_DATA, flags, s->id);
        pieces[2 * count] = (struct cno_buffer_t){headers[count], CNO_FRAME_HEADER_SIZE};
        pieces[2 * count + 1] = (struct cno_buffer_t){data, part};
        data += part;
        size -= part;
        if (++count == CNO_MAX_GATHER || !size) {
            if (cno__flush_with(c, pieces, 2 * count))
                return CNO_ERROR;
            count = 0;
        }
    } while (size);
    return CNO_OK;
}

int cno__h2_write_data(struct cno_connection_t *c, struct cno_stream_t *s, const char *data,
                       size_t size, int final) {
    int64_t window = s->window_send < c->window_send ? s->window_send : c->window_send;
    size_t asked = size, taken = size;
    if (s->framing == CNO_FRAMING_NONE) {
        size = 0;
    } else if (size && (int64_t)size > window) {
        taken = size = window > 0 ? (size_t)window : 0;
        final = 0;
    }
    if (!size && !final)
        return (int)taken;
    s->window_send -= (int64_t)size;
    c->window_send -= (int64_t)size;
    if (s->write_sized)
        s->write_left -= size;
    // The peer may answer each frame with two WINDOW_UPDATE, unless the frame was cut by a window
    // that such an update had opened.
    size_t units = (size >> 8) + (taken == asked ? 2 : 0);
    cno__budget_refill(&c->budget_overhead, units < 1024 ? (uint32_t)units : 1024,
                       c->limits.overhead);
    if (size <= CNO_INLINE_BODY) {
        if (cno__h2_write_frame(c, CNO_FRAME_DATA, final ? CNO_FLAG_END_STREAM : 0, s->id, data,
                                size))
            return CNO_ERROR;
    } else if (write_frames(c, s, data, size, final)) {
        return CNO_ERROR;
    }
    return final && finish_writing(c, s) ? CNO_ERROR : (int)taken;
}
