// HTTP/2 frames as bytes: the layout of every frame type. Knows no streams and no connections.
#include "h2/frame.h"

#include "core.h"

struct cno__frame cno__frame_decode(const void *header) {
    const unsigned char *p = header;
    return (struct cno__frame){
        .size = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2],
        .type = p[3],
        .flags = p[4],
        .stream = cno__read4(p + 5) & 0x7fffffff,
    };
}

void cno__frame_encode(void *header, uint32_t size, uint8_t type, uint8_t flags, uint32_t stream) {
    unsigned char *p = header;
    p[0] = (unsigned char)(size >> 16);
    p[1] = (unsigned char)(size >> 8);
    p[2] = (unsigned char)size;
    p[3] = type;
    p[4] = flags;
    cno__write4(p + 5, stream);
}

static const struct cno__fault TOO_LARGE = CNO__FAULT(
    0, FRAME_SIZE_ERROR, "frame-too-large", "frame above SETTINGS_MAX_FRAME_SIZE (RFC 9113 4.2)");
static const struct cno__fault BAD_SIZE =
    CNO__FAULT(0, FRAME_SIZE_ERROR, "bad-frame-size",
               "frame of a size that its type cannot have (RFC 9113 6)");
static const struct cno__fault NO_STREAM = CNO__FAULT(
    0, PROTOCOL_ERROR, "frame-without-stream", "frame of this type on stream 0 (RFC 9113 6)");
static const struct cno__fault HAS_STREAM =
    CNO__FAULT(0, PROTOCOL_ERROR, "frame-with-stream", "connection frame on a stream (RFC 9113 6)");
static const struct cno__fault BAD_PADDING = CNO__FAULT(
    0, PROTOCOL_ERROR, "bad-padding", "padding longer than the frame (RFC 9113 6.1, 6.2)");

// The stream ids that a type may have, and its size where that is fixed or has a lower bound. The
// size of PRIORITY is fixed too, but a wrong one is an error of the stream and not of the
// connection (section 6.3), so receive.c checks it.
enum { ANY, ON_STREAM, ON_CONNECTION };
static const struct {
    uint8_t where, min_size, exact;
} SHAPES[CNO_FRAME_UNKNOWN] = {
    [CNO_FRAME_DATA] = {ON_STREAM, 0, 0},         [CNO_FRAME_HEADERS] = {ON_STREAM, 0, 0},
    [CNO_FRAME_PRIORITY] = {ON_STREAM, 0, 0},     [CNO_FRAME_RST_STREAM] = {ON_STREAM, 4, 1},
    [CNO_FRAME_SETTINGS] = {ON_CONNECTION, 0, 0}, [CNO_FRAME_PUSH_PROMISE] = {ON_STREAM, 4, 0},
    [CNO_FRAME_PING] = {ON_CONNECTION, 8, 1},     [CNO_FRAME_GOAWAY] = {ON_CONNECTION, 8, 0},
    [CNO_FRAME_WINDOW_UPDATE] = {ANY, 4, 1},      [CNO_FRAME_CONTINUATION] = {ON_STREAM, 0, 0},
};

const struct cno__fault *cno__frame_check(const struct cno__frame *frame, uint32_t max_frame_size) {
    if (frame->size > max_frame_size)
        return &TOO_LARGE;
    if (frame->type == CNO_FRAME_PRIORITY_UPDATE)
        return frame->stream ? &HAS_STREAM : frame->size < 4 ? &BAD_SIZE : NULL;
    if (frame->type >= CNO_FRAME_UNKNOWN)
        return NULL;
    uint8_t where = SHAPES[frame->type].where, min_size = SHAPES[frame->type].min_size;
    if (where == ON_STREAM && !frame->stream)
        return &NO_STREAM;
    if (where == ON_CONNECTION && frame->stream)
        return &HAS_STREAM;
    if (frame->size < min_size || (SHAPES[frame->type].exact && frame->size != min_size))
        return &BAD_SIZE;
    if (frame->type == CNO_FRAME_SETTINGS &&
        (frame->size % 6 || ((frame->flags & CNO_FLAG_ACK) && frame->size)))
        return &BAD_SIZE;
    return NULL;
}

const struct cno__fault *cno__frame_strip(struct cno__frame *frame) {
    uint32_t padding = 0, fixed = frame->type == CNO_FRAME_PUSH_PROMISE ? 4 : 0;
    if (frame->flags & CNO_FLAG_PADDED) {
        if (!frame->size)
            return &BAD_SIZE;
        padding = frame->payload[0];
        frame->payload++;
        frame->size--;
    }
    if (frame->type == CNO_FRAME_HEADERS && (frame->flags & CNO_FLAG_PRIORITY)) {
        if (frame->size < 5)
            return &BAD_SIZE;
        frame->self_dependent = (cno__read4(frame->payload) & 0x7fffffff) == frame->stream;
        frame->payload += 5;
        frame->size -= 5;
    }
    if (frame->size < fixed || padding > frame->size - fixed)
        return &BAD_PADDING;
    frame->size -= padding;
    return NULL;
}
