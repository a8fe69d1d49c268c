// The one way from HTTP/1 to HTTP/2: the preface, and Upgrade (RFC 7540 section 3.2, which RFC 9113
// made obsolete).
#include "h2/upgrade.h"

#include <string.h>

#include "h2/h2.h"

static const struct cno__fault BAD_SETTINGS =
    CNO__FAULT(400, NO_ERROR, "bad-http2-settings",
               "HTTP2-Settings is not base64url of a SETTINGS payload (RFC 7540 3.2.1)");

#define PUT_LITERAL(at, literal) \
    ((char *)memcpy(at, literal, sizeof(literal) - 1) + sizeof(literal) - 1)

// ---- the preface -------------------------------------------------------------------------------

int cno__upgrade_sniff(struct cno_connection_t *c, const struct cno__input *in) {
    size_t size = in->size < sizeof(cno__preface) ? in->size : sizeof(cno__preface);
    if (memcmp(in->data, cno__preface, size)) {
        c->flags &= (uint8_t)~CNO_CONN_SNIFF;
        return CNO_OK;
    }
    return size < sizeof(cno__preface) ? CNO__MORE : cno__h2_begin(c);
}

// ---- base64url without padding (RFC 4648 section 5) --------------------------------------------

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *put_base64(char *at, const unsigned char *data, size_t size) {
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | data[i];
        for (count += 8; count >= 6; count -= 6)
            *at++ = ALPHABET[bits >> (count - 6) & 63];
    }
    if (count)
        *at++ = ALPHABET[bits << (6 - count) & 63];
    return at;
}

// Decodes into `data`, which has room for `room` bytes. Returns the size, or -1 for another
// character, too many bytes, or bits behind the last byte.
static int read_base64(struct cno_buffer_t text, unsigned char *data, size_t room) {
    uint32_t bits = 0;
    int count = 0;
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        const char *digit = text.data[i] ? strchr(ALPHABET, text.data[i]) : NULL;
        if (!digit)
            return -1;
        bits = bits << 6 | (uint32_t)(digit - ALPHABET);
        count += 6;
        if (count < 8)
            continue;
        if (size == room)
            return -1;
        count -= 8;
        data[size++] = (unsigned char)(bits >> count);
    }
    return count == 6 || (bits & ((1u << count) - 1)) ? -1 : (int)size;
}

// ---- server ------------------------------------------------------------------------------------

int cno__h2c_asked(const struct cno_connection_t *c, const struct cno_message_t *msg,
                   const struct cno__meta *meta, const struct cno__fault **fault) {
    unsigned char payload[CNO_MAX_H2C_SETTINGS];
    // The request becomes stream 1, so that it must be the first one. It must have no body, which
    // would have to be read as HTTP/1 before.
    if (!(c->options & CNO_H2C_UPGRADE) || meta->upgrade != CNO__UPGRADE_H2C_ASKED || meta->close ||
        meta->chunked || (meta->has_length && meta->length) ||
        meta->method == CNO__METHOD_CONNECT || (msg->flags & CNO_MESSAGE_HTTP1_0) ||
        c->last_stream[CNO_REMOTE] != 1 || (c->flags & CNO_CONN_CLOSING))
        return 0;
    int size = read_base64(meta->h2_settings, payload, sizeof(payload));
    if (size < 0 || size % 6)
        *fault = &BAD_SETTINGS;
    return !*fault;
}

// Removes fields that are for the HTTP/1 connection only.
static void drop_hop_fields(struct cno_message_t *msg) {
    size_t kept = 0;
    for (size_t i = 0; i < msg->headers_len; i++)
        if (msg->headers[i].id != CNO_NAME_CONNECTION && msg->headers[i].id != CNO_NAME_UPGRADE)
            msg->headers[kept++] = msg->headers[i];
    msg->headers_len = kept;
}

int cno__h2c_accept(struct cno_connection_t *c, struct cno_stream_t *s, struct cno_message_t *msg,
                    const struct cno__meta *meta) {
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n"
                                 "connection: upgrade\r\nupgrade: h2c\r\n\r\n";
    unsigned char payload[CNO_MAX_H2C_SETTINGS];
    int size = read_base64(meta->h2_settings, payload, sizeof(payload));
    if (cno__bytes_append(&c->out, answer, sizeof(answer) - 1) || cno__h2_begin(c))
        return CNO_ERROR;
    c->current = NULL;
    s->window_recv = c->settings[CNO_LOCAL].initial_window_size;
    s->window_send = c->settings[CNO_REMOTE].initial_window_size;
    // Applied like other SETTINGS, but acknowledged by the 101. The client's preface is still to
    // come.
    for (const unsigned char *at = payload; at < payload + size; at += 6) {
        int r = cno__h2_apply_setting(c, (uint32_t)at[0] << 8 | at[1], cno__read4(at + 2));
        if (r)
            return r;
    }
    drop_hop_fields(msg);
    msg->flags |= CNO_MESSAGE_FINAL | (meta->te_trailers ? CNO_MESSAGE_TRAILERS : 0);
    if (CNO__FIRE(c, on_message_head, s->id, msg))
        return CNO_ERROR;
    if (s->state == CNO_STREAM_CLOSED)
        return CNO_OK;
    s->reading = CNO_AT_END;
    if (CNO__FIRE(c, on_message_tail, s->id, NULL))
        return CNO_ERROR;
    return cno__stream_half_close(c, s, CNO_REMOTE);
}

// ---- client ------------------------------------------------------------------------------------

char *cno__h2c_offer(const struct cno_connection_t *c, char *at) {
    unsigned char payload[CNO__SETTINGS_SIZE];
    size_t size = cno__h2_settings(c, &cno__default_settings, &c->settings[CNO_LOCAL], payload);
    at = PUT_LITERAL(at, "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: ");
    at = put_base64(at, payload, size);
    return PUT_LITERAL(at, "\r\n");
}

int cno__h2c_switch(struct cno_connection_t *c, struct cno_stream_t *s) {
    if (cno__h2_begin(c))
        return CNO_ERROR;
    // The 101 has acknowledged the settings of the request. Our preface repeats them.
    if (c->pending.header_table_size != c->settings[CNO_LOCAL].header_table_size)
        cno_hpack_set_limit(&c->decoder, c->pending.header_table_size);
    c->settings[CNO_LOCAL] = c->pending;
    c->current = NULL;
    s->tunnel = CNO_TUNNEL_NONE;
    s->window_recv = c->settings[CNO_LOCAL].initial_window_size;
    return CNO_OK;
}
