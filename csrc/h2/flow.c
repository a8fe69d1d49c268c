// Flow control (RFC 9113 section 5.2): WINDOW_UPDATE in both directions.
#include "h2/h2.h"

const struct cno__fault cno__h2_window_overflow =
    CNO__FAULT(0, FLOW_CONTROL_ERROR, "window-overflow", "window beyond 2^31-1 (RFC 9113 6.9.1)");
static const struct cno__fault WINDOW_ZERO = CNO__FAULT(
    0, PROTOCOL_ERROR, "window-zero", "WINDOW_UPDATE with an increment of 0 (RFC 9113 6.9)");

void cno__h2_give_back(struct cno_connection_t *c, struct cno_stream_t *s, uint32_t size) {
    size = size < s->held ? size : s->held;
    s->held -= size;
    if (c->options & CNO_MANUAL_CONNECTION_FLOW)
        c->held -= size;
}

int cno__h2_open_window(struct cno_connection_t *c, struct cno_stream_t *s) {
    uint32_t due = cno__window_due(c->window_recv, c->limits.connection_window, c->held);
    if (due) {
        c->window_recv += due;
        if (cno__h2_write_number(c, CNO_FRAME_WINDOW_UPDATE, 0, due))
            return CNO_ERROR;
    }
    if (!s || s->reading == CNO_AT_END)
        return CNO_OK;
    due = cno__window_due(s->window_recv, c->settings[CNO_LOCAL].initial_window_size, s->held);
    if (!due)
        return CNO_OK;
    s->window_recv += due;
    return cno__h2_write_number(c, CNO_FRAME_WINDOW_UPDATE, s->id, due);
}

int cno__h2_on_window_update(struct cno_connection_t *c, struct cno__frame *frame) {
    uint32_t delta = cno__read4(frame->payload) & 0x7fffffff;
    if (frame->stream && cno__is_idle(c, frame->stream))
        return cno__refuse(c, &cno__h2_idle_stream, 0);
    int r = cno__h2_spend_overhead(c);
    if (r)
        return r;
    struct cno_stream_t *s = frame->stream ? cno__stream_find(c, frame->stream) : NULL;
    if (s && s->state == CNO_STREAM_RESERVED_REMOTE)
        return cno__h2_refuse_unreadable(c, s);
    if (frame->stream && (!s || s->writing == CNO_AT_END))
        return CNO_OK;  // the frame and the end of the stream crossed on their way (section 5.1)
    if (!delta)
        return cno__h2_refuse_frame(c, s, &WINDOW_ZERO);
    if (cno__window_open(s ? &s->window_send : &c->window_send, delta))
        return cno__h2_refuse_frame(c, s, &cno__h2_window_overflow);
    return CNO__FIRE(c, on_flow_increase, frame->stream) ? CNO_ERROR : CNO_OK;
}
