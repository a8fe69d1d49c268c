// What a side may write, whatever it reads: whole frames in legal order on HTTP/2 (RFC 9113 sections 4 to
// 6), and on HTTP/1 messages that a peer of the other role understands.
#pragma once

#include "calls.h"

// ---- HTTP/2 ------------------------------------------------------------------------------------

struct frames {
    struct octets in, block;
    struct cno_hpack_t decoder;
    uint32_t block_stream;
    int prefaced, settled;
};

static struct frames frames;  // of the one side that a target watches

static inline void frames_begin(void) {
    frames.in.size = frames.block.size = 0;
    frames.block_stream = 0;
    frames.prefaced = frames.settled = 0;
    cno_hpack_init(&frames.decoder, CNO_MAX_ENCODER_TABLE);
}

static inline void frames_end(void) {
    cno_hpack_fini(&frames.decoder);
    free(frames.in.data);
    free(frames.block.data);
    frames = (struct frames){0};
}

// A header block is decodable and holds only what HTTP/2 may send.
static inline void block_out(const char *data, size_t size) {
    static struct cno_header_t list[600];
    struct cno_hpack_fields_t fields = {list, 600, SIZE_MAX, 0, 0};
    long pause = until_failure;
    until_failure = -1;
    REQUIRE(!cno_hpack_decode(&frames.decoder, (struct cno_buffer_t){data, size}, &fields));
    until_failure = pause;
    int regular = 0;
    for (size_t i = 0; i < fields.count; i++) {
        struct cno_buffer_t name = list[i].name;
        REQUIRE(!(list[i].flags & (CNO_HEADER_BAD_NAME | CNO_HEADER_BAD_VALUE)));
        REQUIRE(name.data[0] != ':' || !regular);
        regular |= name.data[0] != ':';
        REQUIRE(!(name.size == 10 && !memcmp(name.data, "connection", 10)));
        REQUIRE(!(name.size == 17 && !memcmp(name.data, "transfer-encoding", 17)));
        REQUIRE(!(name.size == 7 && !memcmp(name.data, "upgrade", 7)));
    }
}

static inline uint32_t number_at(const unsigned char *p, int octets) {
    uint32_t number = 0;
    while (octets--)
        number = number << 8 | *p++;
    return number;
}

static inline void frame_out(struct side *s, const unsigned char *frame, uint32_t size) {
    uint32_t type = frame[3], flags = frame[4], stream = number_at(frame + 5, 4);
    const unsigned char *payload = frame + 9;
    struct seen *seen = stream ? seen_find(s, stream) : NULL;
    REQUIRE(stream <= 0x7fffffff);
    REQUIRE(frames.settled || (type == 4 && !(flags & 1)));
    REQUIRE(!frames.block_stream || (type == 9 && stream == frames.block_stream));
    frames.settled = 1;
    if (type != 3 && type != 8 && type != 9 && seen)
        REQUIRE(!seen->end_out);
    if (seen)
        REQUIRE(!seen->reset_out);
    switch (type) {
        case 0:
            REQUIRE(seen);
            seen->end_out = flags & 1;
            break;
        case 1:
        case 5:
            REQUIRE(seen || excused(s));
            frames.block.size = 0;
            frames.block_stream = stream;
            put(&frames.block, payload + (type == 5 ? 4 : 0), size - (type == 5 ? 4 : 0));
            if (seen && type == 1)
                seen->end_out = flags & 1;
            break;
        case 3:
            REQUIRE(size == 4);
            if (seen)
                seen->reset_out = 1;
            break;
        case 4:
            REQUIRE(size % 6 == 0 && !stream && (!(flags & 1) || !size));
            break;
        case 6:
            REQUIRE(size == 8 && !stream);
            break;
        case 7:
            REQUIRE(size >= 8 && !stream);
            break;
        case 8:
            REQUIRE(size == 4 && number_at(payload, 4) - 1 < 0x7fffffff);
            break;
        case 9:
            REQUIRE(frames.block_stream);
            put(&frames.block, payload, size);
            break;
        default:
            REQUIRE(type == 16);  // PRIORITY_UPDATE
    }
    if ((type == 1 || type == 5 || type == 9) && flags & 4) {
        block_out(frames.block.data, frames.block.size);
        frames.block_stream = 0;
    }
}

static inline void frames_out(struct side *s, const char *data, size_t size) {
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if (s->c.version != CNO_HTTP2)
        return;
    put(&frames.in, data, size);
    if (s->c.kind == CNO_CLIENT && !frames.prefaced) {
        REQUIRE(frames.in.size >= 24 && !memcmp(frames.in.data, preface, 24));
        drop(&frames.in, 24);
    }
    frames.prefaced = 1;
    const unsigned char *at = (const unsigned char *)frames.in.data;
    size_t left = frames.in.size;
    while (left >= 9 && left - 9 >= number_at(at, 3)) {
        uint32_t length = number_at(at, 3);
        REQUIRE(length <= s->c.settings[CNO_REMOTE].max_frame_size);
        frame_out(s, at, length);
        at += 9 + length;
        left -= 9 + length;
    }
    drop(&frames.in, frames.in.size - left);
    s->out.size = 0;
}

// Faults of what an application may write and a peer need not take.
static inline int is_excess(const char *reason) {
    static const char *const reasons[] = {"bad-target", "too-many-fields", "head-too-large",
                                          "trailers-too-large"};
    for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
        if (!strcmp(reason, reasons[i]))
            return 1;
    return 0;
}

// ---- HTTP/1 ------------------------------------------------------------------------------------

// A client that asks what the server was asked, and reads the answers.
static inline void shadow_ask(struct side *client, struct cno_buffer_t method) {
    struct cno_header_t fields[] = {FIELD(":scheme", "http", 0), FIELD(":authority", "h", 0)};
    struct cno_message_t msg = {
        .method = method, .path = {"/", 1}, .headers = fields, .headers_len = 2};
    cno_write_head(&client->c, cno_next_stream(&client->c), &msg, 1);
}

static inline void shadow_head(struct side *s, uint32_t stream, const struct cno_message_t *msg) {
    if (!s->peer || s->asked == stream || s->c.version != CNO_HTTP1)
        return;
    if (msg->method.size == 7 && !memcmp(msg->method.data, "CONNECT", 7))
        s->peer = NULL;  // what follows may be anything
    else
        shadow_ask(s->peer, msg->method);
    s->asked = stream;
}

static inline void shadow_out(struct side *s, const char *data, size_t size) {
    s->out.size = 0;
    struct side *peer = s->peer;
    if (s->c.version != CNO_HTTP1)
        frames_out(s, data, size);
    if (!peer || s->c.version != CNO_HTTP1 || excused(s) || !size)
        return;
    long pause = until_failure;
    until_failure = -1;
    if (peer->c.kind == CNO_CLIENT && !peer->c.stream_count[CNO_LOCAL]) {
        shadow_ask(peer, (struct cno_buffer_t){"GET", 3});  // refused, or answered unread
        s->asked = s->c.last_stream[CNO_REMOTE];
    }
    if (side_read(peer, data, size)) {
        if (is_excess(cno_error()->reason)) {
            s->peer = NULL;
        } else {
            fprintf(stderr, "the peer refused: %.*s\n", size < 400 ? (int)size : 400, data);
            REQUIRE(!"what was written is understood");
        }
    }
    peer->out.size = 0;
    until_failure = pause;
}

// The peer that reads what a side writes.
static inline struct side *shadow_new(const struct side *s) {
    struct side *peer =
        side_new(s->c.kind == CNO_SERVER ? CNO_CLIENT : CNO_SERVER, CNO_NO_PRIOR_KNOWLEDGE);
    cno_begin(&peer->c, CNO_HTTP1);
    return peer;
}
