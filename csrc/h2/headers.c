// HTTP/2 on a connection: the frames that carry header blocks (HEADERS, PUSH_PROMISE,
// CONTINUATION), the messages in them (RFC 9113 section 8), and the streams that begin with one.
#include "h2/h2.h"

#include "message/priority.h"

static const struct cno__fault LONE_CONTINUATION =
    CNO__FAULT(0, PROTOCOL_ERROR, "lone-continuation",
               "CONTINUATION outside of a header block (RFC 9113 6.10)");
static const struct cno__fault CONTINUATION_FLOOD =
    CNO__FAULT(0, ENHANCE_YOUR_CALM, "continuation-flood", "header block in too many pieces");
static const struct cno__fault BAD_STREAM_ID =
    CNO__FAULT(0, PROTOCOL_ERROR, "bad-stream-id",
               "stream id that only the other side may use (RFC 9113 5.1.1)");
static const struct cno__fault OLD_STREAM_ID = CNO__FAULT(
    0, PROTOCOL_ERROR, "old-stream-id", "stream id below an earlier one (RFC 9113 5.1.1)");
static const struct cno__fault UNWANTED_PUSH = CNO__FAULT(
    0, PROTOCOL_ERROR, "unwanted-push", "PUSH_PROMISE that was not allowed (RFC 9113 8.4)");
static const struct cno__fault TOO_MANY_STREAMS = CNO__FAULT(
    0, REFUSED_STREAM, "too-many-streams", "above MAX_CONCURRENT_STREAMS (RFC 9113 5.1.2)");
static const struct cno__fault AFTER_GOAWAY =
    CNO__FAULT(0, REFUSED_STREAM, "after-goaway", "stream begun after GOAWAY (RFC 9113 6.8)");
static const struct cno__fault LATE_PUSH =
    CNO__FAULT(0, CANCEL, "late-push", "PUSH_PROMISE on a stream that we reset (RFC 9113 5.1)");
static const struct cno__fault UNSAFE_PUSH =
    CNO__FAULT(0, PROTOCOL_ERROR, "unsafe-push",
               "a promised request that is not safe, cacheable and without content (RFC 9113 8.4)");
static const struct cno__fault TOO_MANY_PROMISES =
    CNO__FAULT(0, REFUSED_STREAM, "too-many-promises",
               "more streams promised than are accepted (RFC 9113 8.4)");
static const struct cno__fault TUNNEL_FRAME =
    CNO__FAULT(0, PROTOCOL_ERROR, "frame-in-tunnel",
               "HEADERS on a stream that CONNECT asked for (RFC 9113 8.5)");
static const struct cno__fault BAD_TRAILERS =
    CNO__FAULT(0, PROTOCOL_ERROR, "bad-trailers", "trailers without END_STREAM (RFC 9113 8.1)");
static const struct cno__fault TOO_LARGE = CNO__FAULT(
    431, PROTOCOL_ERROR, "head-too-large", "more or larger fields than allowed (RFC 6585 5)");
const struct cno__fault cno__h2_length_mismatch = CNO__FAULT(
    0, PROTOCOL_ERROR, "length-mismatch", "DATA and content-length differ (RFC 9113 8.1.1)");

// Used in place of a promised stream id for HEADERS of a stream that depends on itself. No id is
// that high.
#define SELF_DEPENDENT UINT32_MAX

// ---- messages ----------------------------------------------------------------------------------

int cno__h2_finish_reading(struct cno_connection_t *c, struct cno_stream_t *s,
                           const struct cno_tail_t *tail) {
    if (s->read_sized && s->read_left)
        return cno__h2_refuse_stream(c, s, &cno__h2_length_mismatch);
    s->reading = CNO_AT_END;
    if (CNO__FIRE(c, on_message_tail, s->id, tail))
        return CNO_ERROR;
    return cno__stream_half_close(c, s, CNO_REMOTE);
}

// Client: the response to a request for a tunnel has come. If it does not grant the tunnel, our
// message is complete.
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
        return cno__h2_refuse_stream(c, s, &BAD_TRAILERS);
    int r = informational ? cno__h2_spend_overhead(c) : CNO_OK;
    if (r)
        return r;
    if (!informational)
        s->reading = CNO_AT_BODY;
    // A response to HEAD, and a 204 or 304, has no content, whatever its Content-Length (RFC 9110
    // section 6.4.1).
    int has_body = !msg->code || cno__response_has_body(msg->code, s->method);
    int is_empty = !has_body && s->method != CNO__METHOD_CONNECT;
    s->read_sized = has_body ? meta->has_length : is_empty && !informational;
    s->read_left = has_body ? meta->length : 0;
    if (s->tunnel == CNO_TUNNEL_ASKED && msg->code && !informational && settle_tunnel(c, s, msg))
        return CNO_ERROR;
    if (end_stream && s->read_sized && s->read_left)
        return cno__h2_refuse_stream(c, s, &cno__h2_length_mismatch);
    msg->flags |= (end_stream ? CNO_MESSAGE_FINAL : 0) |
                  (meta->te_trailers ? CNO_MESSAGE_TRAILERS : 0) |
                  (meta->expect && !end_stream ? CNO_MESSAGE_EXPECT : 0);
    if (CNO__FIRE(c, on_message_head, s->id, msg))
        return CNO_ERROR;
    return end_stream && s->reading != CNO_AT_END ? cno__h2_finish_reading(c, s, NULL) : CNO_OK;
}

static int take_trailers(struct cno_connection_t *c, struct cno_stream_t *s,
                         struct cno_hpack_fields_t *fields, int end_stream) {
    struct cno_tail_t tail = {fields->list, fields->count};
    if (s->tunnel != CNO_TUNNEL_NONE)
        return cno__h2_refuse_stream(c, s, &TUNNEL_FRAME);
    if (!end_stream)
        return cno__h2_refuse_stream(c, s, &BAD_TRAILERS);
    const struct cno__fault *fault = cno__trailers(fields->list, &tail.headers_len, CNO_HTTP2);
    return fault ? cno__h2_refuse_stream(c, s, fault) : cno__h2_finish_reading(c, s, &tail);
}

// Sets method and path to those of a block that is too large, if they were stored.
static void peek_request(const struct cno_hpack_fields_t *fields, struct cno_message_t *msg) {
    size_t size = 0;
    for (size_t i = 0; i < fields->count && i < fields->capacity; i++) {
        const struct cno_header_t *field = &fields->list[i];
        size += field->name.size + field->value.size + 32;
        if (size > fields->max_size || field->id < CNO_NAME_P_AUTHORITY ||
            field->id > CNO_NAME_P_UNKNOWN)
            return;
        if (field->id == CNO_NAME_P_METHOD)
            msg->method = field->value;
        if (field->id == CNO_NAME_P_PATH)
            msg->path = field->value;
    }
}

// Makes a request the one that cno_refused returns during the next on_fault. Method and path are
// kept if they are well-formed.
static void note_refused(struct cno_connection_t *c, struct cno_message_t *msg) {
    if (!cno__name_is_token(msg->method.data, msg->method.size))
        msg->method.size = 0;
    if (cno__target_span(msg->path.data, msg->path.size) != msg->path.size)
        msg->path.size = 0;
    msg->headers_len = 0;
    c->refused = cno__is_server(c) ? msg : NULL;
}

// Responds with 431 to a request whose head is above the limits, and ends the stream. The HPACK
// table is in sync.
static int answer_too_large(struct cno_connection_t *c, struct cno_stream_t *s,
                            const struct cno_hpack_fields_t *fields, int end_stream) {
    if (!cno__is_server(c) || s->writing != CNO_AT_HEAD)
        return cno__h2_refuse_stream(c, s, &TOO_LARGE);
    struct cno_header_t list[CNO_MAX_DEFAULTS];
    struct cno_message_t msg = {.code = 431, .headers = list}, refused = {0};
    int r = cno__h2_spend_reset(c);
    if (r)
        return r;
    peek_request(fields, &refused);
    note_refused(c, &refused);
    if (cno__tell_fault(c, s->id, &TOO_LARGE, TOO_LARGE.status))
        return CNO_ERROR;
    msg.headers_len = cno__refusal_fields(c->refusal_fields, list);
    if (s->writing != CNO_AT_HEAD)  // on_fault has written a response, or reset the stream
        return s->state == CNO_STREAM_CLOSED ? CNO_OK : cno__h2_reset(c, s, CNO_RST_NO_ERROR);
    if (cno__h2_write_head(c, s, &msg, 0, 1))
        return CNO_ERROR;
    if (end_stream)
        return cno__stream_half_close(c, s, CNO_REMOTE);
    return s->state == CNO_STREAM_CLOSED ? CNO_OK : cno__h2_reset(c, s, CNO_RST_NO_ERROR);
}

// Refuses a new stream of the peer. The application is not told of it.
static int refuse_new(struct cno_connection_t *c, uint32_t id, const struct cno__fault *fault) {
    unsigned char payload[4];
    int r = cno__h2_spend_reset(c);
    if (r)
        return r;
    cno__stream_skip(c, id);
    cno__write4(payload, fault->code);
    return cno__tell_fault(c, id, fault, fault->code)
               ? CNO_ERROR
               : cno__h2_write_frame(c, CNO_FRAME_RST_STREAM, 0, id, payload, 4);
}

// Opens or refuses a new stream of a client.
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

// Sets *s to the stream of a complete block, or to NULL when the block is to be ignored.
static int block_target(struct cno_connection_t *c, uint32_t id, struct cno_stream_t **s) {
    *s = cno__stream_find(c, id);
    if (*s)
        return (*s)->reading == CNO_AT_END ? cno__h2_refuse_unreadable(c, *s) : CNO_OK;
    if ((id & 1) != (uint32_t)cno__is_server(c))
        return cno__is_idle(c, id) || cno__is_server(c) ? cno__refuse(c, &BAD_STREAM_ID, 0)
                                                        : cno__h2_spend_overhead(c);
    if (cno__is_idle(c, id))
        return cno__is_server(c) ? begin_stream(c, id, s) : cno__refuse(c, &cno__h2_idle_stream, 0);
    switch (cno__stream_closed(c, id)) {
        case CNO_CLOSED_BY_PEER:
            return cno__refuse(c, &cno__h2_ended_stream, 0);
        case CNO_CLOSED_UNUSED:
            return cno__refuse(c, &OLD_STREAM_ID, 0);
        default:
            return cno__h2_spend_overhead(c);
    }
}

// Client: takes the promised request of a push (section 8.4).
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
        return cno__h2_refuse_stream(c, s, fault);
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
    int unfit = too_large;
    if (promised) {
        if (promised != SELF_DEPENDENT)
            return take_promise(c, id, promised, list, fields.count, too_large);
        unfit = 1;
    }
    struct cno_stream_t *s = NULL;
    int r = block_target(c, id, &s);
    if (r || !s || s->state == CNO_STREAM_CLOSED)  // on_stream_start may have ended the stream
        return r;
    if (unfit)
        return promised ? cno__h2_refuse_stream(c, s, &cno__h2_self_dependency)
                        : answer_too_large(c, s, &fields, end_stream);
    if (s->reading == CNO_AT_BODY)
        return take_trailers(c, s, &fields, end_stream);
    struct cno_message_t msg = {0};
    struct cno__meta meta = {0};
    int extended = (int)c->settings[CNO_LOCAL].enable_connect_protocol;
    const struct cno__fault *fault =
        cno__is_server(c) ? cno__request_h2(list, fields.count, extended, &msg, &meta)
                          : cno__response_h2(list, fields.count, &msg, &meta);
    if (fault) {
        note_refused(c, &msg);
        return cno__h2_refuse_stream(c, s, fault);
    }
    if (meta.has_priority && !(s->priority & CNO__PRIORITY_FRAME))
        s->priority = meta.priority;
    if (cno__is_server(c)) {
        s->method = meta.method;
        if (meta.method == CNO__METHOD_CONNECT) {
            s->tunnel = CNO_TUNNEL_ASKED;
            msg.flags |= CNO_MESSAGE_UPGRADE;
        }
    } else if (s->state == CNO_STREAM_RESERVED_REMOTE)
        cno__stream_set(s, CNO_STREAM_HALF_LOCAL);
    return take_head(c, s, &msg, &meta, end_stream);
}

static int take_block(struct cno_connection_t *c, uint32_t id, uint32_t promised, int end_stream,
                      struct cno_buffer_t block) {
    int r = take_fields(c, id, promised, end_stream, block);
    // The memory of a large head is released now, not with the next head.
    if (c->decoder.dead || c->decoder.text.room > CNO_BUFFER_KEEP)
        cno_hpack_release(&c->decoder);
    return r;
}

// ---- frames ------------------------------------------------------------------------------------

// Begins a header block: decodes it in place if it is complete, else collects its fragments.
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

int cno__h2_headers(struct cno_connection_t *c, struct cno__frame *frame) {
    // Most HEADERS have nothing in front of the fragment, nor behind it.
    int plain = !(frame->flags & (CNO_FLAG_PADDED | CNO_FLAG_PRIORITY));
    const struct cno__fault *fault = plain ? NULL : cno__frame_strip(frame);
    return fault ? cno__refuse(c, fault, 0)
                 : begin_block(c, frame, frame->stream, frame->self_dependent ? SELF_DEPENDENT : 0);
}

int cno__h2_push_promise(struct cno_connection_t *c, struct cno__frame *frame) {
    const struct cno__fault *fault = cno__frame_strip(frame);
    if (fault)
        return cno__refuse(c, fault, 0);
    struct cno_stream_t *parent = cno__stream_find(c, frame->stream);
    // The server may have sent the promise before it knew that its parent was reset (section 5.1).
    if (cno__is_server(c) || !c->settings[CNO_LOCAL].enable_push || !(frame->stream & 1) ||
        cno__is_idle(c, frame->stream) ||
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

int cno__h2_continuation(struct cno_connection_t *c, struct cno__frame *frame) {
    if (!c->block_stream)
        return cno__refuse(c, &LONE_CONTINUATION, 0);
    if (++c->continuations > CNO_MAX_CONTINUATIONS ||
        c->block.size + frame->size > CNO_MAX_HEADER_BLOCK)
        return cno__refuse(c, &CONTINUATION_FLOOD, 0);
    int r = frame->size ? CNO_OK : cno__h2_spend_overhead(c);
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
