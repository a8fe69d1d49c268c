// HTTP/2 frames as bytes (RFC 9113 section 4): pure decoders and encoders that know no connection.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "message/fault.h"

enum CNO_FRAME_TYPE {
    CNO_FRAME_DATA = 0x0,
    CNO_FRAME_HEADERS = 0x1,
    CNO_FRAME_PRIORITY = 0x2,
    CNO_FRAME_RST_STREAM = 0x3,
    CNO_FRAME_SETTINGS = 0x4,
    CNO_FRAME_PUSH_PROMISE = 0x5,
    CNO_FRAME_PING = 0x6,
    CNO_FRAME_GOAWAY = 0x7,
    CNO_FRAME_WINDOW_UPDATE = 0x8,
    CNO_FRAME_CONTINUATION = 0x9,
    CNO_FRAME_UNKNOWN = 0xa,
    CNO_FRAME_PRIORITY_UPDATE = 0x10,  // RFC 9218 section 7.1
};

enum CNO_FRAME_FLAGS {
    CNO_FLAG_ACK = 0x1,
    CNO_FLAG_END_STREAM = 0x1,
    CNO_FLAG_END_HEADERS = 0x4,
    CNO_FLAG_PADDED = 0x8,
    CNO_FLAG_PRIORITY = 0x20,
};

// The identifiers of settings: RFC 9113 section 6.5.2, RFC 8441 section 3, RFC 9218 section 2.1.
enum CNO_SETTING {
    CNO_SETTING_HEADER_TABLE_SIZE = 0x1,
    CNO_SETTING_ENABLE_PUSH = 0x2,
    CNO_SETTING_MAX_CONCURRENT_STREAMS = 0x3,
    CNO_SETTING_INITIAL_WINDOW_SIZE = 0x4,
    CNO_SETTING_MAX_FRAME_SIZE = 0x5,
    CNO_SETTING_MAX_HEADER_LIST_SIZE = 0x6,
    CNO_SETTING_ENABLE_CONNECT_PROTOCOL = 0x8,
    CNO_SETTING_NO_RFC7540_PRIORITIES = 0x9,
};

#define CNO_FRAME_HEADER_SIZE 9

struct cno__frame {
    uint32_t size;  // bytes of payload
    uint8_t type;
    uint8_t flags;
    uint8_t
        self_dependent;  // HEADERS, once stripped: the stream depends on itself (RFC 7540 5.3.1)
    uint32_t stream;
    const unsigned char *payload;  // all `size` bytes; NULL for DATA, which is read piece by piece
};

// Reads a frame header of CNO_FRAME_HEADER_SIZE bytes.
struct cno__frame cno__frame_decode(const void *header);

// Writes a frame header of CNO_FRAME_HEADER_SIZE bytes.
void cno__frame_encode(void *header, uint32_t size, uint8_t type, uint8_t flags, uint32_t stream);

// The fault of a frame that its header alone shows, in its size or stream id (section 6); NULL if
// none.
const struct cno__fault *cno__frame_check(const struct cno__frame *, uint32_t max_frame_size);

// Removes the pad length, the priority fields and the padding of HEADERS and PUSH_PROMISE, so that
// the fragment (behind the promised id) remains, and sets self_dependent. Returns a fault or NULL.
const struct cno__fault *cno__frame_strip(struct cno__frame *);

static inline uint32_t cno__read4(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void cno__write4(unsigned char *p, uint32_t value) {
    p[0] = (unsigned char)(value >> 24);
    p[1] = (unsigned char)(value >> 16);
    p[2] = (unsigned char)(value >> 8);
    p[3] = (unsigned char)value;
}
