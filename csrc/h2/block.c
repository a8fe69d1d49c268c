// Header blocks that are written: the fields of a message in the order of HTTP/2 (RFC 9113 sections
// 8.2 and 8.3), and the frames that carry the encoded block.
#include "h2/h2.h"

#include <string.h>

static void block_add(struct cno__block *block, const char *name, size_t size,
                      struct cno_buffer_t value) {
    block->list[block->count++] = (struct cno_header_t){{name, size}, value, 0, 0};
}

// Checks the caller's fields and adds them to the block, pseudo-fields first. `allowed` is the set
// of pseudo-fields that the caller may give.
static int block_fields(struct cno__block *block, const struct cno_header_t *list, size_t count,
                        unsigned allowed, int no_length) {
    uint8_t ids[CNO_MAX_HEADERS_OUT];
    size_t at = 0;
    const char *wrong = cno__check_out(list, count, 1, ids, &block->meta, &at);
    if (wrong)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "field %zu: %s", at, wrong);
    for (size_t i = 0; i < count; i++) {
        if (!(CNO__PSEUDO >> ids[i] & 1))
            continue;
        if (!(allowed >> ids[i] & 1))
            return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field",
                                 "field %zu: pseudo-field not allowed", i);
        if (ids[i] != CNO_NAME_P_SCHEME || !block->is_connect)
            block->list[block->count++] = list[i];
    }
    unsigned skipped =
        CNO__PSEUDO | CNO__DROPPED_H2 | (no_length ? CNO__NAMED(CNO_NAME_CONTENT_LENGTH) : 0);
    for (size_t i = 0; i < count; i++) {
        if (skipped >> ids[i] & 1)
            continue;
        if (ids[i] == CNO_NAME_TE &&
            !cno__equals_icase(list[i].value.data, list[i].value.size, "trailers"))
            continue;
        block->list[block->count++] = list[i];
    }
    return CNO_OK;
}

static int block_request(struct cno__block *block, const struct cno_message_t *msg) {
    int has_authority = 0, has_protocol = 0;
    block_add(block, ":method", 7, msg->method);
    if (cno__method(msg->method) == CNO__METHOD_CONNECT) {
        for (size_t i = 0; i < msg->headers_len; i++) {
            struct cno_buffer_t name = msg->headers[i].name;
            has_authority |= name.size == 10 && !memcmp(name.data, ":authority", 10);
            has_protocol |= name.size == 9 && !memcmp(name.data, ":protocol", 9);
        }
        block->is_connect = !has_protocol;
    }
    if (!block->is_connect)
        block_add(block, ":path", 5, msg->path);
    else if (!has_authority)
        block_add(block, ":authority", 10, msg->path);
    return block_fields(block, msg->headers, msg->headers_len,
                        CNO__NAMED(CNO_NAME_P_AUTHORITY) | CNO__NAMED(CNO_NAME_P_SCHEME) |
                            CNO__NAMED(CNO_NAME_P_PROTOCOL),
                        block->is_connect || has_protocol);
}

int cno__h2_make_block(struct cno__block *block, const struct cno_message_t *msg, int is_tunnel) {
    block->count = 0;
    block->is_connect = 0;
    block->meta = (struct cno__out_meta){0};
    if (msg->code) {
        block->status[0] = (char)('0' + msg->code / 100);
        block->status[1] = (char)('0' + msg->code / 10 % 10);
        block->status[2] = (char)('0' + msg->code % 10);
        block_add(block, ":status", 7, (struct cno_buffer_t){block->status, 3});
        int no_length = cno__response_drops_length(msg->code) || is_tunnel;
        return block_fields(block, msg->headers, msg->headers_len, 0, no_length);
    }
    return block_request(block, msg);
}

// Splits the encoded block at `start` in c->out into frames. Room for the header of the first frame
// is in front of it.
static int split_block(struct cno_connection_t *c, size_t start, uint8_t type, uint8_t flags,
                       uint32_t stream) {
    size_t max = c->settings[CNO_REMOTE].max_frame_size;
    size_t total = c->out.size - start - CNO_FRAME_HEADER_SIZE,
           extra = total ? (total - 1) / max : 0;
    if (!extra) {
        cno__frame_encode(c->out.data + start, (uint32_t)total, type, flags | CNO_FLAG_END_HEADERS,
                          stream);
        return CNO_OK;
    }
    if (cno__bytes_reserve(&c->out, extra * CNO_FRAME_HEADER_SIZE))
        return CNO_ERROR;
    char *block = c->out.data + start + CNO_FRAME_HEADER_SIZE;
    for (size_t i = extra; i; i--) {
        size_t size = i == extra ? total - extra * max : max;
        char *to = block + i * (max + CNO_FRAME_HEADER_SIZE);
        memmove(to, block + i * max, size);
        cno__frame_encode(to - CNO_FRAME_HEADER_SIZE, (uint32_t)size, CNO_FRAME_CONTINUATION,
                          i == extra ? CNO_FLAG_END_HEADERS : 0, stream);
    }
    cno__frame_encode(c->out.data + start, (uint32_t)max, type, flags, stream);
    c->out.size += extra * CNO_FRAME_HEADER_SIZE;
    return CNO_OK;
}

int cno__h2_write_block(struct cno_connection_t *c, uint8_t flags, uint32_t stream,
                        uint32_t promised, const struct cno_header_t *list, size_t count) {
    size_t start = c->out.size;
    if (cno__bytes_reserve(&c->out, CNO_FRAME_HEADER_SIZE + 4))
        return CNO_ERROR;
    c->out.size += CNO_FRAME_HEADER_SIZE;
    if (promised) {
        cno__write4((unsigned char *)c->out.data + c->out.size, promised);
        c->out.size += 4;
    }
    uint8_t type = promised ? CNO_FRAME_PUSH_PROMISE : CNO_FRAME_HEADERS;
    if (cno_hpack_encode(&c->encoder, &c->out, list, count) ||
        split_block(c, start, type, flags, stream)) {
        c->mode = CNO_MODE_OVER;  // the HPACK tables of the two sides differ now
        c->out.size = start;
        return CNO_ERROR;
    }
    return CNO_OK;
}
