// The settings of both sides (RFC 9113 section 6.5), and the beginning of a connection, at which
// they are exchanged.
#include "h2/h2.h"

static const struct cno__fault BAD_WINDOW_SETTING = CNO__FAULT(
    0, FLOW_CONTROL_ERROR, "bad-setting", "initial window above 2^31-1 (RFC 9113 6.5.2)");
static const struct cno__fault BAD_SETTING =
    CNO__FAULT(0, PROTOCOL_ERROR, "bad-setting", "setting out of its range (RFC 9113 6.5.2)");

// ---- ours --------------------------------------------------------------------------------------

const struct cno_settings_t cno__default_settings = {4096,  1,          UINT32_MAX, 65535,
                                                     16384, UINT32_MAX, 0,          0};

size_t cno__h2_settings(const struct cno_connection_t *c, const struct cno_settings_t *old,
                        const struct cno_settings_t *new,
                        unsigned char payload[CNO__SETTINGS_SIZE]) {
    int server = cno__is_server(c);
    const struct {
        uint32_t id, was, is;
    } all[] = {
        {CNO_SETTING_HEADER_TABLE_SIZE, old->header_table_size, new->header_table_size},
        {CNO_SETTING_ENABLE_PUSH, old->enable_push, server ? old->enable_push : new->enable_push},
        {CNO_SETTING_MAX_CONCURRENT_STREAMS, old->max_concurrent_streams,
         new->max_concurrent_streams},
        {CNO_SETTING_INITIAL_WINDOW_SIZE, old->initial_window_size, new->initial_window_size},
        {CNO_SETTING_MAX_FRAME_SIZE, old->max_frame_size, new->max_frame_size},
        {CNO_SETTING_MAX_HEADER_LIST_SIZE, old->max_header_list_size, new->max_header_list_size},
        {CNO_SETTING_ENABLE_CONNECT_PROTOCOL, old->enable_connect_protocol,
         server ? new->enable_connect_protocol : old->enable_connect_protocol},
        {CNO_SETTING_NO_RFC7540_PRIORITIES, old->no_rfc7540_priorities, new->no_rfc7540_priorities},
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

static int write_settings(struct cno_connection_t *c, const struct cno_settings_t *old) {
    unsigned char payload[CNO__SETTINGS_SIZE];
    size_t size = cno__h2_settings(c, old, &c->pending, payload);
    c->settings_unacked++;
    return cno__h2_write_frame(c, CNO_FRAME_SETTINGS, 0, 0, payload, size);
}

int cno__h2_begin(struct cno_connection_t *c) {
    c->mode = CNO_MODE_H2;
    c->protocol = &cno__h2_protocol;
    c->version = CNO_HTTP2;
    c->flags &= (uint8_t)~CNO_CONN_SNIFF;
    c->read = cno__is_server(c) ? CNO_H2_PREFACE : CNO_H2_FRAME;
    c->pending = c->settings[CNO_LOCAL];
    c->settings[CNO_LOCAL] = cno__default_settings;
    // These settings are enforced before the peer has acknowledged them, because a breach costs
    // only one stream.
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
    if (write_settings(c, &cno__default_settings))
        return CNO_ERROR;
    return cno__h2_open_window(c, NULL);
}

int cno__h2_configure(struct cno_connection_t *c, const struct cno_settings_t *settings) {
    if (c->settings_unacked)
        return cno_error_set(CNO_ERRNO_WOULD_BLOCK, "settings-unacked",
                             "the settings before these were not acknowledged yet");
    struct cno_settings_t old = c->pending;
    if (settings->enable_connect_protocol < old.enable_connect_protocol ||
        settings->no_rfc7540_priorities != old.no_rfc7540_priorities)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-setting",
                             "this setting cannot be changed on a running connection");
    c->pending = *settings;
    return write_settings(c, &old);
}

// ---- the peer's --------------------------------------------------------------------------------

static int widen(struct cno_connection_t *c, struct cno_stream_t *s, void *delta) {
    (void)c;
    return cno__window_open(&s->window_send, *(int64_t *)delta);
}

int cno__h2_apply_setting(struct cno_connection_t *c, uint32_t id, uint32_t value) {
    struct cno_settings_t *remote = &c->settings[CNO_REMOTE];
    int64_t delta = (int64_t)value - remote->initial_window_size;
    switch (id) {
        case CNO_SETTING_HEADER_TABLE_SIZE:
            remote->header_table_size = value;
            cno_hpack_set_limit(&c->encoder,
                                value < CNO_MAX_ENCODER_TABLE ? value : CNO_MAX_ENCODER_TABLE);
            return CNO_OK;
        case CNO_SETTING_ENABLE_PUSH:
            if (value > 1 || (value && !cno__is_server(c)))
                return cno__refuse(c, &BAD_SETTING, 0);
            remote->enable_push = value;
            return CNO_OK;
        case CNO_SETTING_MAX_CONCURRENT_STREAMS:
            remote->max_concurrent_streams = value;
            return CNO_OK;
        case CNO_SETTING_INITIAL_WINDOW_SIZE:
            if (value > CNO__WINDOW_MAX)
                return cno__refuse(c, &BAD_WINDOW_SETTING, 0);
            remote->initial_window_size = value;
            return cno__stream_each(c, widen, &delta) ? cno__refuse(c, &cno__h2_window_overflow, 0)
                                                      : CNO_OK;
        case CNO_SETTING_MAX_FRAME_SIZE:
            if (value < 16384 || value > 16777215)
                return cno__refuse(c, &BAD_SETTING, 0);
            remote->max_frame_size = value;
            return CNO_OK;
        case CNO_SETTING_MAX_HEADER_LIST_SIZE:
            remote->max_header_list_size = value;
            return CNO_OK;
        case CNO_SETTING_ENABLE_CONNECT_PROTOCOL:
            if (value > 1 || value < remote->enable_connect_protocol)
                return cno__refuse(c, &BAD_SETTING, 0);
            remote->enable_connect_protocol = value;
            return CNO_OK;
        case CNO_SETTING_NO_RFC7540_PRIORITIES:
            if (value > 1)
                return cno__refuse(c, &BAD_SETTING, 0);
            remote->no_rfc7540_priorities = value;
            return CNO_OK;
        default:
            return CNO_OK;
    }
}

static int shift_recv(struct cno_connection_t *c, struct cno_stream_t *s, void *delta) {
    (void)c;
    s->window_recv += *(int64_t *)delta;
    return CNO_OK;
}

// The peer has acknowledged our settings, which take effect now (section 6.5.3).
static int on_settings_ack(struct cno_connection_t *c) {
    if (!c->settings_unacked)
        return cno__h2_spend_overhead(c);
    c->settings_unacked--;
    int64_t delta =
        (int64_t)c->pending.initial_window_size - c->settings[CNO_LOCAL].initial_window_size;
    if (c->pending.header_table_size != c->settings[CNO_LOCAL].header_table_size)
        cno_hpack_set_limit(&c->decoder, c->pending.header_table_size);
    c->settings[CNO_LOCAL] = c->pending;
    return delta ? cno__stream_each(c, shift_recv, &delta) : CNO_OK;
}

int cno__h2_on_settings(struct cno_connection_t *c, struct cno__frame *frame) {
    if (frame->flags & CNO_FLAG_ACK)
        return on_settings_ack(c);
    uint32_t window = c->settings[CNO_REMOTE].initial_window_size;
    int first = !(c->flags & CNO_CONN_SETTINGS), r = first ? CNO_OK : cno__h2_spend_overhead(c);
    c->flags |= CNO_CONN_SETTINGS;
    for (uint32_t i = 0; i < frame->size && !r; i += 6) {
        const unsigned char *entry = frame->payload + i;
        r = cno__h2_apply_setting(c, (uint32_t)entry[0] << 8 | entry[1], cno__read4(entry + 2));
        if (!r && i >= 6 * 32)
            r = cno__h2_spend_overhead(c);
    }
    if (r)
        return r;
    if (cno__h2_write_frame(c, CNO_FRAME_SETTINGS, CNO_FLAG_ACK, 0, NULL, 0))
        return CNO_ERROR;
    if (c->settings[CNO_REMOTE].initial_window_size > window && CNO__FIRE(c, on_flow_increase, 0))
        return CNO_ERROR;
    if (c->mode != CNO_MODE_H2)
        return CNO_OK;
    return CNO__FIRE(c, on_settings) ? CNO_ERROR : CNO_OK;
}
