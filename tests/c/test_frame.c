// Tests of frame.c: headers there and back, and the payloads of HEADERS and PUSH_PROMISE stripped where a
// page ends, with every pad length and every size.
#include "guard.h"

#include "h2/frame.h"
#include "check.h"

static struct guard guard;

static void test_headers(void) {
    static const uint32_t sizes[] = {0, 1, 255, 256, 16384, 65536, 0xffffff};
    static const uint32_t streams[] = {0, 1, 256, 65537, 0x7fffffff};
    int bad = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        for (size_t k = 0; k < sizeof(streams) / sizeof(*streams); k++) {
            char *at = guard_last(&guard, CNO_FRAME_HEADER_SIZE);
            cno__frame_encode(at, sizes[i], (uint8_t)(i + k), (uint8_t)(255 - k), streams[k]);
            struct cno__frame f = cno__frame_decode(at);
            bad += f.size != sizes[i] || f.type != i + k || f.flags != 255 - k ||
                   f.stream != streams[k] || f.payload;
            at[5] |= (char)0x80;  // reserved (RFC 9113 section 4.1)
            bad += cno__frame_decode(at).stream != streams[k];
        }
    }
    CHECK(bad == 0);
}

// What is left between the pad length, the priority and the padding, as section 6.2 and 6.6 have it.
static int stripped(uint8_t type, uint8_t flags, size_t size, unsigned padding) {
    unsigned char *at = (unsigned char *)guard_last(&guard, size);
    for (size_t i = 0; i < size; i++)
        at[i] = (unsigned char)(i + 1);
    int padded = flags & CNO_FLAG_PADDED ? 1 : 0;
    if (padded && size)
        at[0] = (unsigned char)padding;
    struct cno__frame f = {.size = (uint32_t)size, .type = type, .flags = flags, .payload = at};
    const struct cno__fault *fault = cno__frame_strip(&f);
    size_t head = (size_t)padded + (type == CNO_FRAME_HEADERS && flags & CNO_FLAG_PRIORITY ? 5 : 0);
    size_t least = head + (type == CNO_FRAME_PUSH_PROMISE ? 4 : 0) + (padded ? padding : 0);
    if (least > size || (padded && !size))
        return fault != NULL;
    return !fault && f.payload == at + head && f.size == size - head - (padded ? padding : 0);
}

static void test_padding(void) {
    int bad = 0;
    for (size_t size = 0; size < 24; size++)
        for (unsigned padding = 0; padding < 256; padding++)
            for (unsigned flags = 0; flags < 64; flags++)
                bad += !stripped(CNO_FRAME_HEADERS, (uint8_t)flags, size, padding) +
                       !stripped(CNO_FRAME_PUSH_PROMISE, (uint8_t)flags, size, padding);
    CHECK(bad == 0);
}

// Sizes and stream ids that the types of section 6 may have.
static void test_shapes(void) {
    static const struct {
        uint8_t type, on_stream, on_connection;
        uint32_t least, most;
    } shapes[] = {{CNO_FRAME_DATA, 1, 0, 0, 100},        {CNO_FRAME_HEADERS, 1, 0, 0, 100},
                  {CNO_FRAME_PRIORITY, 1, 0, 0, 100},  // costs its stream, not the connection
                  {CNO_FRAME_RST_STREAM, 1, 0, 4, 4},    {CNO_FRAME_PUSH_PROMISE, 1, 0, 4, 100},
                  {CNO_FRAME_PING, 0, 1, 8, 8},          {CNO_FRAME_GOAWAY, 0, 1, 8, 100},
                  {CNO_FRAME_WINDOW_UPDATE, 1, 1, 4, 4}, {CNO_FRAME_CONTINUATION, 1, 0, 0, 100},
                  {CNO_FRAME_UNKNOWN, 1, 1, 0, 100},     {200, 1, 1, 0, 100}};
    int bad = 0;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        for (uint32_t size = 0; size <= 102; size++) {
            struct cno__frame f = {.size = size, .type = shapes[i].type, .stream = 1};
            int fits = size >= shapes[i].least && size <= shapes[i].most;
            bad += (!cno__frame_check(&f, 100)) != (fits && shapes[i].on_stream);
            f.stream = 0;
            bad += (!cno__frame_check(&f, 100)) != (fits && shapes[i].on_connection);
        }
    }
    for (uint32_t size = 0; size <= 100; size++) {
        struct cno__frame f = {.size = size, .type = CNO_FRAME_SETTINGS};
        bad += (!cno__frame_check(&f, 100)) != (size % 6 == 0);
        f.flags = CNO_FLAG_ACK;
        bad += (!cno__frame_check(&f, 100)) != (size == 0);
    }
    CHECK(bad == 0);
}

int main(void) {
    test_headers();
    test_padding();
    test_shapes();
    guard_close(&guard);
    return finish();
}
