// nghttp2 as a server, in the way that costs it least: memory in and out, fields kept as views and
// not copied, static response fields that it need not copy either.
#include "engine.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

enum { MAX_STREAMS = 100 };

static nghttp2_nv response[RESPONSE_FIELDS + 1];

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user) {
    (void)session, (void)frame, (void)flags, (void)user;
    store_field((const char *)name, name_size, (const char *)value, value_size);
    return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *to, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *user) {
    (void)session, (void)stream, (void)room, (void)source, (void)user;
    memcpy(to, response_body, RESPONSE_BODY_SIZE);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return RESPONSE_BODY_SIZE;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    (void)user;
    if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    const nghttp2_data_provider body = {.read_callback = read_body};
    count_request();
    return nghttp2_submit_response(session, frame->hd.stream_id, response, RESPONSE_FIELDS + 1,
                                   &body);
}

static void flush(nghttp2_session *session) {
    const uint8_t *data;
    ssize_t size;
    while ((size = nghttp2_session_mem_send(session, &data)) > 0)
        sink_write(data, (size_t)size);
    if (size < 0)
        die("mem_send", nghttp2_strerror((int)size));
}

static nghttp2_nv response_pair(const char *name, size_t name_size, const char *value,
                                size_t value_size) {
    return (nghttp2_nv){
        .name = (uint8_t *)name,
        .value = (uint8_t *)value,
        .namelen = name_size,
        .valuelen = value_size,
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    };
}

static void *open_session(enum version version) {
    (void)version;
    response[0] = response_pair(":status", 7, "200", 3);
    for (size_t i = 0; i < RESPONSE_FIELDS; i++) {
        const struct field *f = &response_fields[i];
        response[i + 1] = response_pair(f->name, f->name_size, f->value, f->value_size);
    }

    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    if (nghttp2_session_callbacks_new(&callbacks))
        die("open", "out of memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    if (nghttp2_session_server_new(&session, callbacks, NULL))
        die("open", "out of memory");
    nghttp2_session_callbacks_del(callbacks);

    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
    };
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 1))
        die("open", "cannot submit SETTINGS");
    flush(session);
    return session;
}

static void feed(void *session, const char *data, size_t size) {
    ssize_t taken = nghttp2_session_mem_recv(session, (const uint8_t *)data, size);
    if (taken != (ssize_t)size)
        die("mem_recv", taken < 0 ? nghttp2_strerror((int)taken) : "did not take all");
    flush(session);
}

static void close_session(void *session) {
    nghttp2_session_del(session);
}

const struct engine engine = {
    .name = "nghttp2",
    .versions = HTTP2,
    .open = open_session,
    .feed = feed,
    .close = close_session,
};
