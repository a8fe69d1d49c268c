// HTTP/2 on a connection: every frame that we read, one handler per type (RFC 9113 section 6).
// Knows nothing of HTTP/1.
#include <string.h>

#include "conn.h"
#include "priority.h"

#define FAULT(name, code, reason, text) \
    static const struct cno__fault name = {0, CNO_RST_##code, reason, text}

FAULT(BAD_PREFACE, PROTOCOL_ERROR, "bad-preface", "not the client preface (RFC 9113 3.4)");
FAULT(NO_SETTINGS, PROTOCOL_ERROR, "no-settings", "the first frame is not SETTINGS (RFC 9113 3.4)");
FAULT(HTTP1_PEER, PROTOCOL_ERROR, "http1-peer", "the server answers in HTTP/1 (RFC 9113 3.4)");
FAULT(NO_CONTINUATION, PROTOCOL_ERROR, "interrupted-block",
      "header block interrupted (RFC 9113 6.10)");
FAULT(LONE_CONTINUATION, PROTOCOL_ERROR, "lone-continuation",
      "CONTINUATION of nothing (RFC 9113 6.10)");
FAULT(CONTINUATION_FLOOD, ENHANCE_YOUR_CALM, "continuation-flood",
      "header block in too many pieces");
FAULT(BAD_STREAM_ID, PROTOCOL_ERROR, "bad-stream-id",
      "stream id of the other side (RFC 9113 5.1.1)");
FAULT(OLD_STREAM_ID, PROTOCOL_ERROR, "old-stream-id",
      "stream id below an earlier one (RFC 9113 5.1.1)");
FAULT(IDLE_STREAM, PROTOCOL_ERROR, "idle-stream", "frame on a stream not begun (RFC 9113 5.1)");
FAULT(ENDED_STREAM, STREAM_CLOSED, "ended-stream", "frame after END_STREAM (RFC 9113 5.1)");
FAULT(RESERVED_STREAM, PROTOCOL_ERROR, "reserved-stream",
      "frame that a promised stream cannot get (RFC 9113 5.1)");
FAULT(WINDOW_EXCEEDED, FLOW_CONTROL_ERROR, "window-exceeded",
      "more DATA than allowed (RFC 9113 6.9)");
FAULT(WINDOW_OVERFLOW, FLOW_CONTROL_ERROR, "window-overflow",
      "window beyond 2^31-1 (RFC 9113 6.9.1)");
FAULT(WINDOW_ZERO, PROTOCOL_ERROR, "window-zero", "WINDOW_UPDATE of nothing (RFC 9113 6.9)");
FAULT(BAD_PADDING, PROTOCOL_ERROR, "bad-padding", "padding longer than the frame (RFC 9113 6.1)");
FAULT(BAD_DATA_SIZE, FRAME_SIZE_ERROR, "bad-frame-size",
      "padded DATA without a pad length (RFC 9113 6.1)");
FAULT(BAD_WINDOW_SETTING, FLOW_CONTROL_ERROR, "bad-setting",
      "initial window above 2^31-1 (RFC 9113 6.5.2)");
FAULT(BAD_SETTING, PROTOCOL_ERROR, "bad-setting", "setting out of its range (RFC 9113 6.5.2)");
FAULT(UNWANTED_PUSH, PROTOCOL_ERROR, "unwanted-push",
      "PUSH_PROMISE nobody asked for (RFC 9113 8.4)");
FAULT(RESET_FLOOD, ENHANCE_YOUR_CALM, "reset-flood", "too many streams reset before their answer");
FAULT(OVERHEAD_FLOOD, ENHANCE_YOUR_CALM, "overhead-flood", "too many frames that carry nothing");

// Faults that cost one stream.
FAULT(TOO_MANY_STREAMS, REFUSED_STREAM, "too-many-streams",
      "above MAX_CONCURRENT_STREAMS (RFC 9113 5.1.2)");
FAULT(AFTER_GOAWAY, REFUSED_STREAM, "after-goaway", "stream begun after GOAWAY (RFC 9113 6.8)");
FAULT(LATE_PUSH, CANCEL, "late-push", "PUSH_PROMISE on a stream that we reset (RFC 9113 5.1)");
FAULT(UNSAFE_PUSH, PROTOCOL_ERROR, "unsafe-push",
      "a promised request that is not safe, cacheable and without content (RFC 9113 8.4)");
FAULT(TOO_MANY_PROMISES, REFUSED_STREAM, "too-many-promises",
      "more streams promised than are accepted (RFC 9113 8.4)");
FAULT(LENGTH_MISMATCH, PROTOCOL_ERROR, "length-mismatch",
      "DATA and content-length differ (RFC 9113 8.1.1)");
FAULT(BAD_PRIORITY, FRAME_SIZE_ERROR, "bad-frame-size",
      "PRIORITY that is not five octets long (RFC 9113 6.3)");
FAULT(TUNNEL_FRAME, PROTOCOL_ERROR, "frame-in-tunnel",
      "HEADERS on a stream that CONNECT asked for (RFC 9113 8.5)");
FAULT(BAD_TRAILERS, PROTOCOL_ERROR, "bad-trailers", "trailers without END_STREAM (RFC 9113 8.1)");
FAULT(NO_HEAD, PROTOCOL_ERROR, "no-head", "DATA before a final response head (RFC 9113 8.1)");
static const struct cno__fault TOO_LARGE = {431, CNO_RST_PROTOCOL_ERROR, "head-too-large",
                                            "more or larger fields than allowed (RFC 6585 5)"};

// A frame that carries no message: fine now and then.
static int spend_overhead(struct cno_connection_t *c) {
    return cno__budget_spend(&c->budget_overhead) ? cno__refuse(c, &OVERHEAD_FLOOD, 0) : CNO_OK;
}

static int spend_reset(struct cno_connection_t *c) {
    return cno__budget_spend(&c->budget_resets) ? cno__refuse(c, &RESET_FLOOD, 0) : CNO_OK;
}

// The peer broke the rules on one stream: it is reset, and the connection lives.
static int refuse_stream(struct cno_connection_t *c, struct cno_stream_t *s,
                         const struct cno__fault *fault) {
    int r = spend_reset(c);
    if (r)
        return r;
    if (cno__tell_fault(c, s->id, fault, fault->code))
        return CNO_ERROR;
    // on_fault may have reset it, or ended everything.
    return s->state == CNO_STREAM_CLOSED ? CNO_OK : cno__h2_reset(c, s, fault->code);
}

static int is_idle(const struct cno_connection_t *c, uint32_t id) {
    int remote = (id & 1) == (uint32_t)cno__is_server(c);
    return id > c->last_stream[remote ? CNO_REMOTE : CNO_LOCAL];
}

// A frame on a stream where the peer has nothing to say, or not yet (section 5.1).
static int refuse_unreadable(struct cno_connection_t *c, const struct cno_stream_t *s) {
    int reserved = s->state == CNO_STREAM_RESERVED_LOCAL || s->state == CNO_STREAM_RESERVED_REMOTE;
    return cno__refuse(c, reserved ? &RESERVED_STREAM : &ENDED_STREAM, 0);
}

// ---- messages ----------------------------------------------------------------------------------

// END_STREAM came: the body is as long as it was said to be, and the message is complete.
static int finish_reading(struct cno_connection_t *c, struct cno_stream_t *s,
                          const struct cno_tail_t *tail) {
    if (s->read_sized && s->read_left)
        return refuse_stream(c, s, &LENGTH_MISMATCH);
    s->reading = CNO_AT_END;
    if (CNO__FIRE(c, on_message_tail, s->id, tail))
        return CNO_ERROR;
    return cno__stream_half_close(c, s, CNO_REMOTE);
}

// A client's request for a tunnel is answered: if it is not granted, we have nothing more to say.
static int settle_tunnel(struct cno_connection_t *c, struct cno_stream_t *s,
                         struct cno_message_t *msg) {
    if (cno__grants_tunnel(s, msg->code)) {
        s->tunnel = CNO_TUNNEL_OPEN;
        msg->flags |= CNO_MESSAGE_UPGRADE;
        return CNO_OK;
    }
    s->tunnel = CNO_TUNNEL_NONE;
    return s->writing == CNO_AT_END ? CNO_OK : cno__h2_write_data(c, s, NULL, 0, 1);
}

static int take_head(struct cno_connection_t *c, struct cno_stream_t *s, struct cno_message_t *msg,
                     const struct cno__meta *meta, int end_stream) {
    int informational = msg->code && msg->code < 200;
    if (informational && end_stream)
        return refuse_stream(c, s, &BAD_TRAILERS);
    int r = informational ? spend_overhead(c) : CNO_OK;
    if (r)
        return r;
    if (!informational)
        s->reading = CNO_AT_BODY;
    // A HEAD, 204 or 304 response has no content, whatever length it says (RFC 9110 section 6.4.1).
    int has_body = !msg->code || cno__response_has_body(msg->code, s->method);
    int is_empty = !has_body && s->method != CNO__METHOD_CONNECT;
    s->read_sized = has_body ? meta->has_length : is_empty && !informational;
    s->read_left = has_body ? meta->length : 0;
    if (s->tunnel == CNO_TUNNEL_ASKED && msg->code && !informational && settle_tunnel(c, s, msg))
        return CNO_ERROR;
    if (end_stream && s->read_sized && s->read_left)
        return refuse_stream(c, s, &LENGTH_MISMATCH);
    msg->flags |= (end_stream ? CNO_MESSAGE_FINAL : 0) |
                  (meta->te_trailers ? CNO_MESSAGE_TRAILERS : 0) |
                  (meta->expect && !end_stream ? CNO_MESSAGE_EXPECT : 0);
    if (CNO__FIRE(c, on_message_head, s->id, msg))
        return CNO_ERROR;
    return end_stream && s->reading != CNO_AT_END ? finish_reading(c, s, NULL) : CNO_OK;
}

static int take_trailers(struct cno_connection_t *c, struct cno_stream_t *s,
                         struct cno_hpack_fields_t *fields, int end_stream) {
    struct cno_tail_t tail = {fields->list, fields->count};
    if (s->tunnel != CNO_TUNNEL_NONE)
        return refuse_stream(c, s, &TUNNEL_FRAME);
    if (!end_stream)
        return refuse_stream(c, s, &BAD_TRAILERS);
    const struct cno__fault *fault = cno__trailers(fields->list, &tail.headers_len, CNO_HTTP2);
    return fault ? refuse_stream(c, s, fault) : finish_reading(c, s, &tail);
}

// 431 and the end of a stream whose head was larger than we take; the HPACK table is in sync.
static int answer_too_large(struct cno_connection_t *c, struct cno_stream_t *s, int end_stream) {
    if (!cno__is_server(c) || s->writing != CNO_AT_HEAD)
        return refuse_stream(c, s, &TOO_LARGE);
    struct cno_message_t msg = {.code = 431};
    int r = spend_reset(c);
    if (r)
        return r;
    if (cno__tell_fault(c, s->id, &TOO_LARGE, TOO_LARGE.status))
        return CNO_ERROR;
    if (s->writing != CNO_AT_HEAD)  // on_fault answered it, or reset it
        return s->state == CNO_STREAM_CLOSED ? CNO_OK : cno__h2_reset(c, s, CNO_RST_NO_ERROR);
    if (cno__h2_write_head(c, s, &msg, 0, 1))
        return CNO_ERROR;
    if (end_stream)
        return cno__stream_half_close(c, s, CNO_REMOTE);
    return s->state == CNO_STREAM_CLOSED ? CNO_OK : cno__h2_reset(c, s, CNO_RST_NO_ERROR);
}

// A stream that is not begun: the application does not hear of it.
static int refuse_new(struct cno_connection_t *c, uint32_t id, const struct cno__fault *fault) {
    unsigned char payload[4];
    int r = spend_reset(c);
    if (r)
        return r;
    cno__stream_skip(c, id);
    cno__write4(payload, fault->code);
    return cno__tell_fault(c, id, fault, fault->code)
               ? CNO_ERROR
               : cno__h2_write_frame(c, CNO_FRAME_RST_STREAM, 0, id, payload, 4);
}

// A stream the client wants to begin: opened or refused.
static int begin_stream(struct cno_connection_t *c, uint32_t id, struct cno_stream_t **s) {
    const struct cno__fault *fault = NULL;
    if (c->flags & CNO_CONN_CLOSING)
        fault = &AFTER_GOAWAY;
    else if (c->stream_count[CNO_REMOTE] >= c->settings[CNO_LOCAL].max_concurrent_streams)
        fault = &TOO_MANY_STREAMS;
    if (fault)
        return refuse_new(c, id, fault);
    *s = cno__stream_new(c, id, CNO_REMOTE, CNO_STREAM_OPEN);
    if (*s && c->early)
        cno__h2_priority_begin(c, *s);
    return *s ? CNO_OK : CNO_ERROR;
}

// Which stream a complete block is for; NULL without an error when it is to be ignored.
static int block_target(struct cno_connection_t *c, uint32_t id, struct cno_stream_t **s) {
    *s = cno__stream_find(c, id);
    if (*s)
        return (*s)->reading == CNO_AT_END ? refuse_unreadable(c, *s) : CNO_OK;
    if ((id & 1) != (uint32_t)cno__is_server(c))
        return is_idle(c, id) || cno__is_server(c) ? cno__refuse(c, &BAD_STREAM_ID, 0)
                                                   : spend_overhead(c);
    if (is_idle(c, id))
        return cno__is_server(c) ? begin_stream(c, id, s) : cno__refuse(c, &IDLE_STREAM, 0);
    switch (cno__stream_closed(c, id)) {
        case CNO_CLOSED_BY_PEER:
            return cno__refuse(c, &ENDED_STREAM, 0);
        case CNO_CLOSED_UNUSED:
            return cno__refuse(c, &OLD_STREAM_ID, 0);
        default:
            return spend_overhead(c);
    }
}

// The client's side of a push: a request that we did not make (section 8.4).
static int take_promise(struct cno_connection_t *c, uint32_t parent, uint32_t id,
                        struct cno_header_t *list, size_t count, int too_large) {
    struct cno_message_t msg = {0};
    struct cno__meta meta = {0};
    const struct cno__fault *fault = !cno__stream_find(c, parent) ? &LATE_PUSH
                                     : id > c->goaway[CNO_LOCAL]  ? &AFTER_GOAWAY
                                     : c->stream_count[CNO_REMOTE] >= c->limits.promises
                                         ? &TOO_MANY_PROMISES
                                         : NULL;
    if (fault)
        return refuse_new(c, id, fault);
    struct cno_stream_t *s = cno__stream_new(c, id, CNO_REMOTE, CNO_STREAM_RESERVED_REMOTE);
    if (!s)
        return CNO_ERROR;
    if (s->state == CNO_STREAM_CLOSED)
        return CNO_OK;
    fault = too_large ? &TOO_LARGE : cno__request_h2(list, count, 0, &msg, &meta);
    if (!fault && (!cno__is_pushable(msg.method) || (meta.has_length && meta.length)))
        fault = &UNSAFE_PUSH;
    if (fault)
        return refuse_stream(c, s, fault);
    s->method = meta.method;
    return CNO__FIRE(c, on_message_push, id, &msg, parent) ? CNO_ERROR : CNO_OK;
}

static int take_fields(struct cno_connection_t *c, uint32_t id, uint32_t promised, int end_stream,
                       struct cno_buffer_t block) {
    struct cno_header_t list[CNO_MAX_HEADERS_STORED];
    struct cno_hpack_fields_t fields = {list, c->limits.fields,
                                        c->settings[CNO_LOCAL].max_header_list_size, 0, 0};
    if (cno_hpack_decode(&c->decoder, block, &fields)) {
        cno_error_set_wire(cno_error()->wire, c->offset);
        return cno_error()->code == CNO_ERRNO_PROTOCOL ? CNO__REFUSED : CNO_ERROR;
    }
    int too_large = fields.count > fields.capacity || fields.size > fields.max_size;
    if (promised)
        return take_promise(c, id, promised, list, fields.count, too_large);
    struct cno_stream_t *s = NULL;
    int r = block_target(c, id, &s);
    if (r || !s || s->state == CNO_STREAM_CLOSED)  // on_stream_start may have ended it
        return r;
    if (too_large)
        return answer_too_large(c, s, end_stream);
    if (s->reading == CNO_AT_BODY)
        return take_trailers(c, s, &fields, end_stream);
    struct cno_message_t msg = {0};
    struct cno__meta meta = {0};
    int extended = (int)c->settings[CNO_LOCAL].enable_connect_protocol;
    const struct cno__fault *fault =
        cno__is_server(c) ? cno__request_h2(list, fields.count, extended, &msg, &meta)
                          : cno__response_h2(list, fields.count, &msg, &meta);
    if (fault)
        return refuse_stream(c, s, fault);
    if (meta.has_priority && !(s->priority & CNO__PRIORITY_FRAME))
        s->priority = meta.priority;
    if (cno__is_server(c)) {
        s->method = meta.method;
        if (meta.method == CNO__METHOD_CONNECT) {
            s->tunnel = CNO_TUNNEL_ASKED;
            msg.flags |= CNO_MESSAGE_UPGRADE;
        }
    } else if (s->state == CNO_STREAM_RESERVED_REMOTE)
        cno__stream_set(c, s, CNO_STREAM_HALF_LOCAL);
    return take_head(c, s, &msg, &meta, end_stream);
}

static int take_block(struct cno_connection_t *c, uint32_t id, uint32_t promised, int end_stream,
                      struct cno_buffer_t block) {
    int r = take_fields(c, id, promised, end_stream, block);
    // A large head must not be kept until the next one.
    if (c->decoder.dead || c->decoder.text.room > CNO_BUFFER_KEEP)
        cno_hpack_release(&c->decoder);
    return r;
}

// ---- handlers, one per frame type --------------------------------------------------------------

// HEADERS and PUSH_PROMISE: decoded in place when complete, else collected.
static int begin_block(struct cno_connection_t *c, const struct cno__frame *frame, uint32_t stream,
                       uint32_t promised) {
    struct cno_buffer_t fragment = {(const char *)frame->payload, frame->size};
    if (fragment.size > CNO_MAX_HEADER_BLOCK)
        return cno__refuse(c, &CONTINUATION_FLOOD, 0);
    if (frame->flags & CNO_FLAG_END_HEADERS)
        return take_block(c, stream, promised, frame->flags & CNO_FLAG_END_STREAM, fragment);
    c->block_stream = stream;
    c->block_promised = promised;
    c->block_flags = frame->flags;
    c->continuations = 0;
    cno__bytes_clear(&c->block);
    return cno__bytes_append(&c->block, fragment.data, fragment.size);
}

static int on_headers(struct cno_connection_t *c, struct cno__frame *frame) {
    const struct cno__fault *fault = cno__frame_strip(frame);
    return fault ? cno__refuse(c, fault, 0) : begin_block(c, frame, frame->stream, 0);
}

static int on_push_promise(struct cno_connection_t *c, struct cno__frame *frame) {
    const struct cno__fault *fault = cno__frame_strip(frame);
    if (fault)
        return cno__refuse(c, fault, 0);
    struct cno_stream_t *parent = cno__stream_find(c, frame->stream);
    // A parent that we reset may have been promised upon before the server knew (section 5.1).
    if (cno__is_server(c) || !c->settings[CNO_LOCAL].enable_push || !(frame->stream & 1) ||
        is_idle(c, frame->stream) ||
        (parent ? parent->reading == CNO_AT_END : !cno__stream_was_cancelled(c, frame->stream)))
        return cno__refuse(c, &UNWANTED_PUSH, 0);
    uint32_t id = cno__read4(frame->payload) & 0x7fffffff;
    if (!id || id & 1 || id <= c->last_stream[CNO_REMOTE])
        return cno__refuse(c, &BAD_STREAM_ID, 0);
    frame->payload += 4;
    frame->size -= 4;
    frame->flags &= (uint8_t)~CNO_FLAG_END_STREAM;
    return begin_block(c, frame, frame->stream, id);
}

static int on_continuation(struct cno_connection_t *c, struct cno__frame *frame) {
    if (!c->block_stream)
        return cno__refuse(c, &LONE_CONTINUATION, 0);
    if (++c->continuations > CNO_MAX_CONTINUATIONS ||
        c->block.size + frame->size > CNO_MAX_HEADER_BLOCK)
        return cno__refuse(c, &CONTINUATION_FLOOD, 0);
    int r = frame->size ? CNO_OK : spend_overhead(c);
    if (r)
        return r;
    if (cno__bytes_append(&c->block, frame->payload, frame->size))
        return CNO_ERROR;
    if (!(frame->flags & CNO_FLAG_END_HEADERS))
        return CNO_OK;
    uint32_t stream = c->block_stream;
    c->block_stream = 0;
    r = take_block(c, stream, c->block_promised, c->block_flags & CNO_FLAG_END_STREAM,
                   (struct cno_buffer_t){c->block.data, c->block.size});
    cno__bytes_clear(&c->block);
    return r;
}

// A fault of one stream, if it is there to be reset.
static int refuse_frame(struct cno_connection_t *c, struct cno_stream_t *s,
                        const struct cno__fault *fault) {
    return s ? refuse_stream(c, s, fault) : cno__refuse(c, fault, 0);
}

// RFC 9113 section 5.3.2: deprecated, and never acted upon.
static int on_priority(struct cno_connection_t *c, struct cno__frame *frame) {
    if (frame->size != 5)
        return refuse_frame(c, cno__stream_find(c, frame->stream), &BAD_PRIORITY);
    return spend_overhead(c);
}

// The frames whose types have numbers of their own.
static int on_other(struct cno_connection_t *c, struct cno__frame *frame) {
    int r = spend_overhead(c);
    return r || frame->type != CNO_FRAME_PRIORITY_UPDATE ? r : cno__h2_priority_update(c, frame);
}

static int on_rst_stream(struct cno_connection_t *c, struct cno__frame *frame) {
    if (is_idle(c, frame->stream))
        return cno__refuse(c, &IDLE_STREAM, 0);
    struct cno_stream_t *s = cno__stream_find(c, frame->stream);
    if (!s)
        return spend_overhead(c);
    // A server whose answer is complete has lost nothing, and what we began bounds itself.
    int harmless = s->initiator == CNO_LOCAL || (cno__is_server(c) && s->writing == CNO_AT_END);
    int r = harmless ? CNO_OK : spend_reset(c);
    return r ? r : cno__stream_close(c, s, cno__read4(frame->payload), CNO_REMOTE);
}

static int widen(struct cno_connection_t *c, struct cno_stream_t *s, void *delta) {
    (void)c;
    return cno__window_open(&s->window_send, *(int64_t *)delta);
}

int cno__h2_apply_setting(struct cno_connection_t *c, uint32_t id, uint32_t value) {
    struct cno_settings_t *remote = &c->settings[CNO_REMOTE];
    int64_t delta = (int64_t)value - remote->initial_window_size;
    switch (id) {
        case 1:
            remote->header_table_size = value;
            cno_hpack_set_limit(&c->encoder,
                                value < CNO_MAX_ENCODER_TABLE ? value : CNO_MAX_ENCODER_TABLE);
            return CNO_OK;
        case 2:
            if (value > 1 || (value && !cno__is_server(c)))
                return cno__refuse(c, &BAD_SETTING, 0);
            remote->enable_push = value;
            return CNO_OK;
        case 3:
            remote->max_concurrent_streams = value;
            return CNO_OK;
        case 4:
            if (value > CNO__WINDOW_MAX)
                return cno__refuse(c, &BAD_WINDOW_SETTING, 0);
            remote->initial_window_size = value;
            return cno__stream_each(c, widen, &delta) ? cno__refuse(c, &WINDOW_OVERFLOW, 0)
                                                      : CNO_OK;
        case 5:
            if (value < 16384 || value > 16777215)
                return cno__refuse(c, &BAD_SETTING, 0);
            remote->max_frame_size = value;
            return CNO_OK;
        case 6:
            remote->max_header_list_size = value;
            return CNO_OK;
        case 8:
            if (value > 1 || value < remote->enable_connect_protocol)
                return cno__refuse(c, &BAD_SETTING, 0);
            remote->enable_connect_protocol = value;
            return CNO_OK;
        case 9:
            if (value > 1)
                return cno__refuse(c, &BAD_SETTING, 0);
            remote->no_rfc7540_priorities = value;
            return CNO_OK;
        default:
            return CNO_OK;
    }
}

static int shift_recv(struct cno_connection_t *c, struct cno_stream_t *s, void *delta) {
    (void)c;
    s->window_recv += *(int64_t *)delta;
    return CNO_OK;
}

// Our settings are known to the peer: from here on they bind it (section 6.5.3).
static int on_settings_ack(struct cno_connection_t *c) {
    if (!c->settings_unacked)
        return spend_overhead(c);
    c->settings_unacked--;
    int64_t delta =
        (int64_t)c->pending.initial_window_size - c->settings[CNO_LOCAL].initial_window_size;
    if (c->pending.header_table_size != c->settings[CNO_LOCAL].header_table_size)
        cno_hpack_set_limit(&c->decoder, c->pending.header_table_size);
    c->settings[CNO_LOCAL] = c->pending;
    return delta ? cno__stream_each(c, shift_recv, &delta) : CNO_OK;
}

static int on_settings(struct cno_connection_t *c, struct cno__frame *frame) {
    if (frame->flags & CNO_FLAG_ACK)
        return on_settings_ack(c);
    uint32_t window = c->settings[CNO_REMOTE].initial_window_size;
    int first = !(c->flags & CNO_CONN_SETTINGS), r = first ? CNO_OK : spend_overhead(c);
    c->flags |= CNO_CONN_SETTINGS;
    for (uint32_t i = 0; i < frame->size && !r; i += 6) {
        const unsigned char *entry = frame->payload + i;
        r = cno__h2_apply_setting(c, (uint32_t)entry[0] << 8 | entry[1], cno__read4(entry + 2));
        if (!r && i >= 6 * 32)
            r = spend_overhead(c);
    }
    if (r)
        return r;
    if (cno__h2_write_frame(c, CNO_FRAME_SETTINGS, CNO_FLAG_ACK, 0, NULL, 0))
        return CNO_ERROR;
    if (c->settings[CNO_REMOTE].initial_window_size > window && CNO__FIRE(c, on_flow_increase, 0))
        return CNO_ERROR;
    if (c->mode != CNO_MODE_H2)
        return CNO_OK;
    return CNO__FIRE(c, on_settings) ? CNO_ERROR : CNO_OK;
}

static int on_ping(struct cno_connection_t *c, struct cno__frame *frame) {
    int r = spend_overhead(c);
    if (r)
        return r;
    if (frame->flags & CNO_FLAG_ACK)
        return CNO__FIRE(c, on_pong, (const char *)frame->payload) ? CNO_ERROR : CNO_OK;
    return cno__h2_write_frame(c, CNO_FRAME_PING, CNO_FLAG_ACK, 0, frame->payload, 8);
}

static int on_goaway(struct cno_connection_t *c, struct cno__frame *frame) {
    uint32_t last = cno__read4(frame->payload) & 0x7fffffff, code = cno__read4(frame->payload + 4);
    int r = spend_overhead(c);
    if (r)
        return r;
    c->goaway[CNO_REMOTE] = last;
    // Only the announcement of one. A client may still ask; of a server nothing may be asked anymore.
    if (cno__is_server(c) && last == CNO__STREAM_MAX && code == CNO_RST_NO_ERROR)
        return CNO_OK;
    c->flags |= CNO_CONN_CLOSING;
    // Streams of ours above it were not processed, and may be tried again elsewhere (section 6.8).
    if (cno__stream_close_after(c, last, CNO_LOCAL, CNO_RST_REFUSED_STREAM, CNO_REMOTE))
        return CNO_ERROR;
    return cno__close_if_idle(c);
}

static int on_window_update(struct cno_connection_t *c, struct cno__frame *frame) {
    uint32_t delta = cno__read4(frame->payload) & 0x7fffffff;
    if (frame->stream && is_idle(c, frame->stream))
        return cno__refuse(c, &IDLE_STREAM, 0);
    int r = spend_overhead(c);
    if (r)
        return r;
    struct cno_stream_t *s = frame->stream ? cno__stream_find(c, frame->stream) : NULL;
    if (s && s->state == CNO_STREAM_RESERVED_REMOTE)
        return refuse_unreadable(c, s);
    if (frame->stream && (!s || s->writing == CNO_AT_END))
        return CNO_OK;  // it crossed the end of the stream on its way (section 5.1)
    if (!delta)
        return refuse_frame(c, s, &WINDOW_ZERO);
    if (cno__window_open(s ? &s->window_send : &c->window_send, delta))
        return refuse_frame(c, s, &WINDOW_OVERFLOW);
    return CNO__FIRE(c, on_flow_increase, frame->stream) ? CNO_ERROR : CNO_OK;
}

static int (*const HANDLERS[CNO_FRAME_UNKNOWN])(struct cno_connection_t *, struct cno__frame *) = {
    [CNO_FRAME_HEADERS] = on_headers,
    [CNO_FRAME_PRIORITY] = on_priority,
    [CNO_FRAME_RST_STREAM] = on_rst_stream,
    [CNO_FRAME_SETTINGS] = on_settings,
    [CNO_FRAME_PUSH_PROMISE] = on_push_promise,
    [CNO_FRAME_PING] = on_ping,
    [CNO_FRAME_GOAWAY] = on_goaway,
    [CNO_FRAME_WINDOW_UPDATE] = on_window_update,
    [CNO_FRAME_CONTINUATION] = on_continuation,
};

// ---- DATA, which is read piece by piece --------------------------------------------------------

// The stream that DATA is for, or NULL when what it carries is to be dropped.
static int data_target(struct cno_connection_t *c, const struct cno__frame *frame,
                       struct cno_stream_t **s) {
    *s = cno__stream_find(c, frame->stream);
    if (*s)
        return (*s)->reading == CNO_AT_END || (*s)->state == CNO_STREAM_RESERVED_REMOTE
                   ? refuse_unreadable(c, *s)
                   : CNO_OK;
    if (is_idle(c, frame->stream))
        return cno__refuse(c, &IDLE_STREAM, 0);
    int ours = (frame->stream & 1) != (uint32_t)cno__is_server(c);
    if (!ours && cno__stream_closed(c, frame->stream) == CNO_CLOSED_BY_PEER)
        return cno__refuse(c, &ENDED_STREAM, 0);
    return spend_overhead(c);
}

static int check_data(struct cno_connection_t *c, struct cno_stream_t *s,
                      const struct cno__frame *frame, uint32_t body) {
    if (s->reading == CNO_AT_HEAD)
        return refuse_stream(c, s, &NO_HEAD);
    if (cno__window_take(&s->window_recv, frame->size))
        return refuse_stream(c, s, &WINDOW_EXCEEDED);
    if (s->read_sized && body > s->read_left)
        return refuse_stream(c, s, &LENGTH_MISMATCH);
    s->read_left -= s->read_sized ? body : 0;
    // A client has asked for what comes, in whatever pieces; frames of nothing it has not.
    uint32_t tiny = cno__is_server(c) ? CNO_TINY_DATA : 1;
    return body < tiny && !(frame->flags & CNO_FLAG_END_STREAM) ? spend_overhead(c) : CNO_OK;
}

// The header of a DATA frame: all of it is accounted here, before anything can go wrong.
static int begin_data(struct cno_connection_t *c, const struct cno__frame *frame,
                      struct cno__input *in) {
    uint32_t head = CNO_FRAME_HEADER_SIZE, padding = 0, body = frame->size;
    if (frame->flags & CNO_FLAG_PADDED) {
        if (!frame->size)
            return cno__refuse(c, &BAD_DATA_SIZE, 0);
        if (in->size < CNO_FRAME_HEADER_SIZE + 1)
            return CNO__MORE;
        padding = (unsigned char)in->data[CNO_FRAME_HEADER_SIZE];
        head++;
        if (padding >= frame->size)
            return cno__refuse(c, &BAD_PADDING, CNO_FRAME_HEADER_SIZE);
        body -= padding + 1;
    }
    if (cno__window_take(&c->window_recv, frame->size))
        return cno__refuse(c, &WINDOW_EXCEEDED, 0);
    struct cno_stream_t *s;
    int r = data_target(c, frame, &s);
    if (!r && s)
        r = check_data(c, s, frame, body);
    if (r)
        return r;
    // By the frame and not by what comes of it at once: how the input is cut makes no difference.
    if (body >= CNO_USEFUL_DATA)
        cno__budget_refill(&c->budget_overhead, 1 + (body >> 10), c->limits.overhead);
    cno__take(c, in, head);
    c->data_stream = s ? frame->stream : 0;
    c->data_flags = frame->flags;
    c->data_left = body;
    c->pad_left = padding;
    c->read = CNO_H2_DATA;
    return CNO_OK;
}

static int read_data(struct cno_connection_t *c, struct cno__input *in) {
    struct cno_stream_t *s = c->data_stream ? cno__stream_find(c, c->data_stream) : NULL;
    uint32_t size = in->size < c->data_left ? (uint32_t)in->size : c->data_left;
    if (size) {
        const char *data = in->data;
        cno__take(c, in, size);
        c->data_left -= size;
        if (s && (c->options & CNO_MANUAL_FLOW)) {
            s->held += size;
            c->held += c->options & CNO_MANUAL_CONNECTION_FLOW ? size : 0;
        }
        if (s && CNO__FIRE(c, on_message_data, s->id, data, size))
            return CNO_ERROR;
        if (c->mode != CNO_MODE_H2)
            return CNO_OK;
        s = c->data_stream ? cno__stream_find(c, c->data_stream) : NULL;
    }
    if (!c->data_left) {
        size = in->size < c->pad_left ? (uint32_t)in->size : c->pad_left;
        cno__take(c, in, size);
        c->pad_left -= size;
    }
    if (c->data_left || c->pad_left)
        return CNO__MORE;
    c->read = CNO_H2_FRAME;
    int r = s && (c->data_flags & CNO_FLAG_END_STREAM) ? finish_reading(c, s, NULL) : CNO_OK;
    if (r || c->mode != CNO_MODE_H2)
        return r;
    return cno__h2_open_window(c, s);
}

// ---- one step ----------------------------------------------------------------------------------

static int read_preface(struct cno_connection_t *c, struct cno__input *in) {
    size_t size = in->size < sizeof(cno__preface) ? in->size : sizeof(cno__preface);
    if (memcmp(in->data, cno__preface, size))
        return cno__refuse(c, &BAD_PREFACE, 0);
    if (size < sizeof(cno__preface))
        return CNO__MORE;
    cno__take(c, in, size);
    c->read = CNO_H2_FRAME;
    return CNO_OK;
}

int cno__h2_step(struct cno_connection_t *c, struct cno__input *in) {
    if (c->read == CNO_H2_DATA)
        return read_data(c, in);
    if (!in->size)
        return CNO__MORE;
    if (c->read == CNO_H2_PREFACE)
        return read_preface(c, in);
    if (in->size < CNO_FRAME_HEADER_SIZE)
        return CNO__MORE;
    if (!(c->flags & CNO_CONN_SETTINGS) && !cno__is_server(c) && !memcmp(in->data, "HTTP/1.", 7))
        return cno__refuse(c, &HTTP1_PEER, 0);
    struct cno__frame frame = cno__frame_decode(in->data);
    const struct cno__fault *fault =
        cno__frame_check(&frame, c->settings[CNO_LOCAL].max_frame_size);
    if (fault)
        return cno__refuse(c, fault, 0);
    if (!(c->flags & CNO_CONN_SETTINGS) &&
        (frame.type != CNO_FRAME_SETTINGS || (frame.flags & CNO_FLAG_ACK)))
        return cno__refuse(c, &NO_SETTINGS, 0);
    if (c->block_stream &&
        (frame.type != CNO_FRAME_CONTINUATION || frame.stream != c->block_stream))
        return cno__refuse(c, &NO_CONTINUATION, 0);
    if (frame.type == CNO_FRAME_DATA)
        return begin_data(c, &frame, in);
    size_t size = CNO_FRAME_HEADER_SIZE + (size_t)frame.size;
    if (in->size < size)
        return CNO__MORE;
    frame.payload = (const unsigned char *)in->data + CNO_FRAME_HEADER_SIZE;
    // Taken when it is done with: a fault is told to be where the frame begins.
    int r = frame.type < CNO_FRAME_UNKNOWN ? HANDLERS[frame.type](c, &frame) : on_other(c, &frame);
    cno__take(c, in, size);
    return r;
}

size_t cno__h2_want(const struct cno_connection_t *c, const char *data, size_t size) {
    if (c->read == CNO_H2_PREFACE)
        return sizeof(cno__preface);
    if (c->read == CNO_H2_DATA || size < CNO_FRAME_HEADER_SIZE)
        return CNO_FRAME_HEADER_SIZE;
    struct cno__frame frame = cno__frame_decode(data);
    if (frame.type == CNO_FRAME_DATA)
        return CNO_FRAME_HEADER_SIZE + (frame.flags & CNO_FLAG_PADDED ? 1 : 0);
    return CNO_FRAME_HEADER_SIZE + (size_t)frame.size;
}
