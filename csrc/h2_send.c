// HTTP/2 on a connection: every frame that we write (RFC 9113). Knows nothing of HTTP/1.
#include <string.h>

#include "conn.h"

const char cno__preface[24] = {'P', 'R', 'I',  ' ',  '*',  ' ',  'H', 'T', 'T',  'P',  '/',  '2',
                               '.', '0', '\r', '\n', '\r', '\n', 'S', 'M', '\r', '\n', '\r', '\n'};

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

static int write_number(struct cno_connection_t *c, uint8_t type, uint32_t stream,
                        uint32_t number) {
    unsigned char payload[4];
    cno__write4(payload, number);
    return cno__h2_write_frame(c, type, 0, stream, payload, sizeof(payload));
}

const struct cno_settings_t cno__default_settings = {4096,  1,          UINT32_MAX, 65535,
                                                     16384, UINT32_MAX, 0,          0};

size_t cno__h2_settings(const struct cno_connection_t *c, const struct cno_settings_t *old,
                        const struct cno_settings_t *new,
                        unsigned char payload[CNO__SETTINGS_SIZE]) {
    int server = cno__is_server(c);
    const struct {
        uint32_t id, was, is;
    } all[] = {
        {1, old->header_table_size, new->header_table_size},
        {2, old->enable_push, server ? old->enable_push : new->enable_push},
        {3, old->max_concurrent_streams, new->max_concurrent_streams},
        {4, old->initial_window_size, new->initial_window_size},
        {5, old->max_frame_size, new->max_frame_size},
        {6, old->max_header_list_size, new->max_header_list_size},
        {8, old->enable_connect_protocol,
         server ? new->enable_connect_protocol : old->enable_connect_protocol},
        {9, old->no_rfc7540_priorities, new->no_rfc7540_priorities},
    };
    unsigned char *at = payload;
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        if (all[i].is == all[i].was)
            continue;
        at[0] = 0;
        at[1] = (unsigned char)all[i].id;
        cno__write4(at + 2, all[i].is);
        at += 6;
    }
    return (size_t)(at - payload);
}

int cno__h2_write_settings(struct cno_connection_t *c, const struct cno_settings_t *old) {
    unsigned char payload[CNO__SETTINGS_SIZE];
    size_t size = cno__h2_settings(c, old, &c->pending, payload);
    c->settings_unacked++;
    return cno__h2_write_frame(c, CNO_FRAME_SETTINGS, 0, 0, payload, size);
}

int cno__h2_begin(struct cno_connection_t *c) {
    c->mode = CNO_MODE_H2;
    c->version = CNO_HTTP2;
    c->flags &= (uint8_t)~CNO_CONN_SNIFF;
    c->read = cno__is_server(c) ? CNO_H2_PREFACE : CNO_H2_FRAME;
    c->pending = c->settings[CNO_LOCAL];
    c->settings[CNO_LOCAL] = cno__default_settings;
    // What may be refused for free is enforced before the peer has acknowledged it.
    c->settings[CNO_LOCAL].max_concurrent_streams = c->pending.max_concurrent_streams;
    c->settings[CNO_LOCAL].max_header_list_size = c->pending.max_header_list_size;
    c->settings[CNO_LOCAL].enable_push = c->pending.enable_push;
    c->settings[CNO_LOCAL].enable_connect_protocol = c->pending.enable_connect_protocol;
    c->settings[CNO_REMOTE] = cno__default_settings;
    c->window_recv = c->window_send = 65535;
    cno_hpack_init(&c->decoder, 4096);
    cno_hpack_init(&c->encoder, 4096);
    if (!cno__is_server(c) && cno__bytes_append(&c->out, cno__preface, sizeof(cno__preface)))
        return CNO_ERROR;
    if (cno__h2_write_settings(c, &cno__default_settings))
        return CNO_ERROR;
    return cno__h2_open_window(c, NULL);
}

int cno__h2_write_goaway(struct cno_connection_t *c, uint32_t last, uint32_t code,
                         const char *text) {
    unsigned char payload[8 + 64];
    size_t size = strlen(text);
    size = size < 64 ? size : 64;
    // Streams above what was named before were refused since: it is never raised (section 6.8).
    if (last > c->goaway[CNO_LOCAL])
        last = c->goaway[CNO_LOCAL];
    c->goaway[CNO_LOCAL] = last;
    cno__write4(payload, last);
    cno__write4(payload + 4, code);
    memcpy(payload + 8, text, size);
    return cno__h2_write_frame(c, CNO_FRAME_GOAWAY, 0, 0, payload, 8 + size);
}

int cno__h2_reset(struct cno_connection_t *c, struct cno_stream_t *s, uint32_t code) {
    // A request whose head was not written is idle to the peer.
    int idle = !cno__is_server(c) && s->initiator == CNO_LOCAL && s->writing == CNO_AT_HEAD;
    if (!idle && (write_number(c, CNO_FRAME_RST_STREAM, s->id, code) || cno__flush(c)))
        return CNO_ERROR;
    return cno__stream_close(c, s, code, CNO_LOCAL);
}

int cno__h2_open_window(struct cno_connection_t *c, struct cno_stream_t *s) {
    uint32_t due = cno__window_due(c->window_recv, c->limits.connection_window, c->held);
    if (due) {
        c->window_recv += due;
        if (write_number(c, CNO_FRAME_WINDOW_UPDATE, 0, due))
            return CNO_ERROR;
    }
    if (!s || s->reading == CNO_AT_END)
        return CNO_OK;
    due = cno__window_due(s->window_recv, c->settings[CNO_LOCAL].initial_window_size, s->held);
    if (!due)
        return CNO_OK;
    s->window_recv += due;
    return write_number(c, CNO_FRAME_WINDOW_UPDATE, s->id, due);
}

// ---- header blocks -----------------------------------------------------------------------------

// The pseudo-fields of a message and those of the caller's fields that HTTP/2 sends, in order.
struct block {
    struct cno_header_t list[CNO_MAX_HEADERS_OUT + 4];
    size_t count;
    struct cno__out_meta meta;
    int is_connect;  // and no extended one: without :scheme and :path (RFC 9113 section 8.5)
    char status[3];
};

static void block_add(struct block *block, const char *name, size_t size,
                      struct cno_buffer_t value) {
    block->list[block->count++] = (struct cno_header_t){{name, size}, value, 0, 0};
}

// Checks the caller's fields and puts them into the block, pseudo-fields first: of these only the
// `allowed` ones may be there.
static int block_fields(struct block *block, const struct cno_header_t *list, size_t count,
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

static int block_request(struct block *block, const struct cno_message_t *msg) {
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

static int block_message(struct block *block, const struct cno_message_t *msg, int is_tunnel) {
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

// Cuts the block that begins at `start` in c->out into frames: the first has its header already.
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

// Encodes a block as HEADERS or, when `promised` is set, as PUSH_PROMISE, with what must follow.
static int write_block(struct cno_connection_t *c, uint8_t flags, uint32_t stream,
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
        c->mode = CNO_MODE_OVER;  // the peer's table no longer matches ours
        c->out.size = start;
        return CNO_ERROR;
    }
    return CNO_OK;
}

// All is said: the octets leave, then the stream may end.
static int finish_writing(struct cno_connection_t *c, struct cno_stream_t *s) {
    if (cno__flush(c))
        return CNO_ERROR;
    s->writing = CNO_AT_END;
    return cno__stream_half_close(c, s, CNO_LOCAL);
}

int cno__h2_write_head(struct cno_connection_t *c, struct cno_stream_t *s,
                       const struct cno_message_t *msg, size_t size, int final) {
    struct block block;
    int granted = cno__grants_tunnel(s, msg->code);
    if (block_message(&block, msg, granted))
        return CNO_ERROR;
    int has_body = !msg->code || granted || cno__response_takes_body(msg->code, s->method);
    if (granted || (!msg->code && s->method == CNO__METHOD_CONNECT))
        block.meta.has_length = 0;
    if (has_body && cno__check_length(&block.meta, size, final))
        return CNO_ERROR;
    final = final && !size;
    if (write_block(c, final ? CNO_FLAG_END_STREAM : 0, s->id, 0, block.list, block.count))
        return CNO_ERROR;
    if (s->state == CNO_STREAM_RESERVED_LOCAL)
        cno__stream_set(c, s, CNO_STREAM_HALF_REMOTE);
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
    if (write_block(c, CNO_FLAG_END_STREAM, s->id, 0, tail->headers, tail->headers_len))
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
    struct block block;
    if (block_message(&block, msg, 0))
        return CNO_ERROR;
    if (block.meta.has_length && block.meta.length)
        return cno_error_set(CNO_ERRNO_ASSERTION, "unsafe-push",
                             "no content can be pushed with it");
    // Promised before on_stream_start, in which it may be reset, but answered only after it: until then
    // it is a request whose head is not told.
    if (write_block(c, 0, parent->id, id, block.list, block.count))
        return CNO_ERROR;
    struct cno_stream_t *s = cno__stream_new(c, id, CNO_LOCAL, CNO_STREAM_RESERVED_LOCAL);
    if (!s) {
        write_number(c, CNO_FRAME_RST_STREAM, id, CNO_RST_CANCEL);
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

// DATA frames whose payloads are the caller's own octets, gathered CNO_MAX_GATHER at a time.
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
    // Two updates may answer each frame, but not where it was one of them that made it so small.
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
