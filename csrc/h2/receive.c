// HTTP/2 on a connection: the frames that are read, one handler per type (RFC 9113 section 6), and
// DATA. Header blocks are in headers.c, SETTINGS in settings.c.
#include "h2/h2.h"

#include <string.h>

static const struct cno__fault BAD_PREFACE =
    CNO__FAULT(0, PROTOCOL_ERROR, "bad-preface", "not the client preface (RFC 9113 3.4)");
static const struct cno__fault NO_SETTINGS =
    CNO__FAULT(0, PROTOCOL_ERROR, "no-settings", "the first frame is not SETTINGS (RFC 9113 3.4)");
static const struct cno__fault HTTP1_PEER =
    CNO__FAULT(0, PROTOCOL_ERROR, "http1-peer", "the server answers in HTTP/1 (RFC 9113 3.4)");
static const struct cno__fault NO_CONTINUATION =
    CNO__FAULT(0, PROTOCOL_ERROR, "interrupted-block", "header block interrupted (RFC 9113 6.10)");
const struct cno__fault cno__h2_idle_stream = CNO__FAULT(
    0, PROTOCOL_ERROR, "idle-stream", "frame on a stream that has not begun (RFC 9113 5.1)");
const struct cno__fault cno__h2_ended_stream =
    CNO__FAULT(0, STREAM_CLOSED, "ended-stream", "frame after END_STREAM (RFC 9113 5.1)");
const struct cno__fault cno__h2_self_dependency = CNO__FAULT(
    0, PROTOCOL_ERROR, "self-dependency", "a stream that depends on itself (RFC 7540 5.3.1)");
static const struct cno__fault RESERVED_STREAM = CNO__FAULT(
    0, PROTOCOL_ERROR, "reserved-stream", "frame that a promised stream cannot get (RFC 9113 5.1)");
static const struct cno__fault WINDOW_EXCEEDED =
    CNO__FAULT(0, FLOW_CONTROL_ERROR, "window-exceeded", "more DATA than allowed (RFC 9113 6.9)");
static const struct cno__fault BAD_PADDING =
    CNO__FAULT(0, PROTOCOL_ERROR, "bad-padding", "padding longer than the frame (RFC 9113 6.1)");
static const struct cno__fault BAD_DATA_SIZE = CNO__FAULT(
    0, FRAME_SIZE_ERROR, "bad-frame-size", "padded DATA without a pad length (RFC 9113 6.1)");
static const struct cno__fault RESET_FLOOD =
    CNO__FAULT(0, ENHANCE_YOUR_CALM, "reset-flood", "too many streams reset before their response");
static const struct cno__fault OVERHEAD_FLOOD =
    CNO__FAULT(0, ENHANCE_YOUR_CALM, "overhead-flood", "too many frames without a message");

// Faults of one stream.
static const struct cno__fault BAD_PRIORITY = CNO__FAULT(
    0, FRAME_SIZE_ERROR, "bad-frame-size", "PRIORITY that is not 5 bytes long (RFC 9113 6.3)");
static const struct cno__fault NO_HEAD =
    CNO__FAULT(0, PROTOCOL_ERROR, "no-head", "DATA before a final response head (RFC 9113 8.1)");

int cno__h2_spend_overhead(struct cno_connection_t *c) {
    return cno__budget_spend(&c->budget_overhead) ? cno__refuse(c, &OVERHEAD_FLOOD, 0) : CNO_OK;
}

int cno__h2_spend_reset(struct cno_connection_t *c) {
    return cno__budget_spend(&c->budget_resets) ? cno__refuse(c, &RESET_FLOOD, 0) : CNO_OK;
}

int cno__h2_refuse_stream(struct cno_connection_t *c, struct cno_stream_t *s,
                          const struct cno__fault *fault) {
    int r = cno__h2_spend_reset(c);
    if (r)
        return r;
    if (cno__tell_fault(c, s->id, fault, fault->code))
        return CNO_ERROR;
    // on_fault may have reset the stream, or ended the connection.
    return s->state == CNO_STREAM_CLOSED ? CNO_OK : cno__h2_reset(c, s, fault->code);
}

int cno__h2_refuse_frame(struct cno_connection_t *c, struct cno_stream_t *s,
                         const struct cno__fault *fault) {
    return s ? cno__h2_refuse_stream(c, s, fault) : cno__refuse(c, fault, 0);
}

int cno__h2_refuse_unreadable(struct cno_connection_t *c, const struct cno_stream_t *s) {
    int reserved = s->state == CNO_STREAM_RESERVED_LOCAL || s->state == CNO_STREAM_RESERVED_REMOTE;
    return cno__refuse(c, reserved ? &RESERVED_STREAM : &cno__h2_ended_stream, 0);
}

// ---- handlers, one per frame type --------------------------------------------------------------

// RFC 9113 section 5.3.2 deprecates these priorities; the engine ignores them. A fault on an idle
// or ended stream, which cannot be reset, is an error of the connection, as it is in nghttp2.
static int on_priority(struct cno_connection_t *c, struct cno__frame *frame) {
    if (frame->size != 5)
        return cno__h2_refuse_frame(c, cno__stream_find(c, frame->stream), &BAD_PRIORITY);
    if ((cno__read4(frame->payload) & 0x7fffffff) == frame->stream)
        return cno__h2_refuse_frame(c, cno__stream_find(c, frame->stream),
                                    &cno__h2_self_dependency);
    return cno__h2_spend_overhead(c);
}

// PRIORITY_UPDATE and unknown types, which HANDLERS does not have.
static int on_other(struct cno_connection_t *c, struct cno__frame *frame) {
    int r = cno__h2_spend_overhead(c);
    return r || frame->type != CNO_FRAME_PRIORITY_UPDATE ? r : cno__h2_priority_update(c, frame);
}

static int on_rst_stream(struct cno_connection_t *c, struct cno__frame *frame) {
    if (cno__is_idle(c, frame->stream))
        return cno__refuse(c, &cno__h2_idle_stream, 0);
    struct cno_stream_t *s = cno__stream_find(c, frame->stream);
    if (!s)
        return cno__h2_spend_overhead(c);
    // A client may leave a response that has begun, such as a stream of events, as often as it
    // likes: the work of the server was of use. The number of our own streams is bounded by what we
    // send.
    int harmless = s->initiator == CNO_LOCAL || (cno__is_server(c) && s->writing != CNO_AT_HEAD);
    int r = harmless ? CNO_OK : cno__h2_spend_reset(c);
    return r ? r : cno__stream_close(c, s, cno__read4(frame->payload), CNO_REMOTE);
}

static int on_ping(struct cno_connection_t *c, struct cno__frame *frame) {
    int r = cno__h2_spend_overhead(c);
    if (r)
        return r;
    if (frame->flags & CNO_FLAG_ACK)
        return CNO__FIRE(c, on_pong, (const char *)frame->payload) ? CNO_ERROR : CNO_OK;
    return cno__h2_write_frame(c, CNO_FRAME_PING, CNO_FLAG_ACK, 0, frame->payload, 8);
}

static int on_goaway(struct cno_connection_t *c, struct cno__frame *frame) {
    uint32_t last = cno__read4(frame->payload) & 0x7fffffff, code = cno__read4(frame->payload + 4);
    int r = cno__h2_spend_overhead(c);
    if (r)
        return r;
    c->goaway[CNO_REMOTE] = last;
    // A GOAWAY that only announces another. A client may still send requests; a server accepts no
    // more.
    if (cno__is_server(c) && last == CNO__STREAM_MAX && code == CNO_RST_NO_ERROR)
        return CNO_OK;
    c->flags |= CNO_CONN_CLOSING;
    // Our streams above `last` were not processed, and may be repeated on another connection
    // (section 6.8).
    if (cno__stream_close_after(c, last, CNO_LOCAL, CNO_RST_REFUSED_STREAM, CNO_REMOTE))
        return CNO_ERROR;
    return cno__close_if_idle(c);
}

static int (*const HANDLERS[CNO_FRAME_UNKNOWN])(struct cno_connection_t *, struct cno__frame *) = {
    [CNO_FRAME_HEADERS] = cno__h2_headers,
    [CNO_FRAME_PRIORITY] = on_priority,
    [CNO_FRAME_RST_STREAM] = on_rst_stream,
    [CNO_FRAME_SETTINGS] = cno__h2_on_settings,
    [CNO_FRAME_PUSH_PROMISE] = cno__h2_push_promise,
    [CNO_FRAME_PING] = on_ping,
    [CNO_FRAME_GOAWAY] = on_goaway,
    [CNO_FRAME_WINDOW_UPDATE] = cno__h2_on_window_update,
    [CNO_FRAME_CONTINUATION] = cno__h2_continuation,
};

// ---- DATA, which is read piece by piece --------------------------------------------------------

// Sets *s to the stream of a DATA frame, or to NULL when its payload is to be dropped.
static int data_target(struct cno_connection_t *c, const struct cno__frame *frame,
                       struct cno_stream_t **s) {
    *s = cno__stream_find(c, frame->stream);
    if (*s)
        return (*s)->reading == CNO_AT_END || (*s)->state == CNO_STREAM_RESERVED_REMOTE
                   ? cno__h2_refuse_unreadable(c, *s)
                   : CNO_OK;
    if (cno__is_idle(c, frame->stream))
        return cno__refuse(c, &cno__h2_idle_stream, 0);
    int ours = (frame->stream & 1) != (uint32_t)cno__is_server(c);
    if (!ours && cno__stream_closed(c, frame->stream) == CNO_CLOSED_BY_PEER)
        return cno__refuse(c, &cno__h2_ended_stream, 0);
    return cno__h2_spend_overhead(c);
}

static int check_data(struct cno_connection_t *c, struct cno_stream_t *s,
                      const struct cno__frame *frame, uint32_t body) {
    if (s->reading == CNO_AT_HEAD)
        return cno__h2_refuse_stream(c, s, &NO_HEAD);
    if (cno__window_take(&s->window_recv, frame->size))
        return cno__h2_refuse_stream(c, s, &WINDOW_EXCEEDED);
    if (s->read_sized && body > s->read_left)
        return cno__h2_refuse_stream(c, s, &cno__h2_length_mismatch);
    s->read_left -= s->read_sized ? body : 0;
    // A client asked for the body, in pieces of any size, but not for empty frames.
    uint32_t tiny = cno__is_server(c) ? CNO_TINY_DATA : 1;
    return body < tiny && !(frame->flags & CNO_FLAG_END_STREAM) ? cno__h2_spend_overhead(c)
                                                                : CNO_OK;
}

// Reads the header of a DATA frame. The whole frame is subtracted from the connection window first,
// before any other fault is looked for.
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
    // Counted by the frame and not by the pieces of it that come, so that it makes no difference
    // how the input is split.
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
    int r =
        s && (c->data_flags & CNO_FLAG_END_STREAM) ? cno__h2_finish_reading(c, s, NULL) : CNO_OK;
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
    int is_first = !(c->flags & CNO_CONN_SETTINGS);
    if (is_first && !cno__is_server(c) && !memcmp(in->data, "HTTP/1.", 7))
        return cno__refuse(c, &HTTP1_PEER, 0);
    struct cno__frame frame = cno__frame_decode(in->data);
    const struct cno__fault *fault =
        cno__frame_check(&frame, c->settings[CNO_LOCAL].max_frame_size);
    if (fault)
        return cno__refuse(c, fault, 0);
    if (is_first && (frame.type != CNO_FRAME_SETTINGS || (frame.flags & CNO_FLAG_ACK)))
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
    // The frame is taken after its handler, so that the offset of a fault is where the frame
    // begins.
    int r = frame.type < CNO_FRAME_UNKNOWN ? HANDLERS[frame.type](c, &frame) : on_other(c, &frame);
    cno__take(c, in, size);
    return r;
}

// The size of the frame at `data`, as far as it is known; of DATA only the part in front of the
// body.
static size_t want(const struct cno_connection_t *c, const char *data, size_t size) {
    if (c->read == CNO_H2_PREFACE)
        return sizeof(cno__preface);
    if (c->read == CNO_H2_DATA || size < CNO_FRAME_HEADER_SIZE)
        return CNO_FRAME_HEADER_SIZE;
    struct cno__frame frame = cno__frame_decode(data);
    if (frame.type == CNO_FRAME_DATA)
        return CNO_FRAME_HEADER_SIZE + (frame.flags & CNO_FLAG_PADDED ? 1 : 0);
    return CNO_FRAME_HEADER_SIZE + (size_t)frame.size;
}

size_t cno__h2_part(const struct cno_connection_t *c, size_t size) {
    size_t whole = want(c, c->in.data, c->in.size);
    size_t more = whole > c->in.size ? whole - c->in.size : 1;
    return more < size ? more : size;
}
