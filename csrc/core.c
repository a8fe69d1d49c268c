// The entry points: what public functions check before they call the protocol of the connection,
// and how calls nest.
#include "core.h"

#include "h1/h1.h"
#include "h2/h2.h"

// ---- life --------------------------------------------------------------------------------------

void cno_init(struct cno_connection_t *c, enum CNO_CONNECTION_KIND kind) {
    *c = (struct cno_connection_t){
        .kind = (uint8_t)kind,
        .budget_resets = CNO_BUDGET_RESETS,
        .budget_overhead = CNO_BUDGET_OVERHEAD,
        .goaway = {CNO__NO_GOAWAY, CNO__NO_GOAWAY},
        .limits = cno__limits_default,
        .settings[CNO_LOCAL] =
            {
                .header_table_size = 4096,
                .enable_push = 0,
                .max_concurrent_streams = CNO_DEFAULT_MAX_CONCURRENT_STREAMS,
                .initial_window_size = CNO_DEFAULT_STREAM_WINDOW,
                .max_frame_size = 16384,
                .max_header_list_size = CNO_MAX_HEADER_LIST_SIZE,
                .no_rfc7540_priorities = 1,
            },
    };
}

void cno_fini(struct cno_connection_t *c) {
    cno__stream_free_all(c);
    cno__bytes_free(&c->in);
    cno__bytes_free(&c->block);
    cno__bytes_free(&c->out);
    cno__release(c->early);
    cno__release(c->offer);
    c->early = NULL;
    c->offer = NULL;
    c->early_count = 0;
    cno_hpack_fini(&c->decoder);
    cno_hpack_fini(&c->encoder);
    c->mode = CNO_MODE_OVER;
}

// Every public function that may fire events calls `enter` first and `leave` last.
static void enter(struct cno_connection_t *c) {
    c->depth++;
}

static int leave(struct cno_connection_t *c, int result) {
    if (result >= 0 && cno__flush(c))
        result = CNO_ERROR;
    if (result < 0 && cno_error()->code == CNO_ERRNO_NO_MEMORY) {
        c->mode = CNO_MODE_OVER;  // a message or a state is incomplete
        cno__bytes_free(&c->out);
    }
    if (!--c->depth && c->dead)
        cno__stream_release_dead(c);
    return result;
}

static int over(void) {
    return cno_error_set(CNO_ERRNO_DISCONNECT, "disconnected", "the connection is over");
}

int cno_configure(struct cno_connection_t *c, const struct cno_settings_t *settings) {
    if (settings->enable_push > 1 || settings->initial_window_size > CNO__WINDOW_MAX ||
        settings->max_frame_size < 16384 || settings->max_frame_size > 16777215 ||
        settings->enable_connect_protocol > 1 || settings->no_rfc7540_priorities > 1)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-setting", "a setting is out of its range");
    if (c->current && c->current->tunnel == CNO_TUNNEL_H2C)
        return cno_error_set(CNO_ERRNO_WOULD_BLOCK, "settings-unacked",
                             "settings were offered and are not answered yet");
    if (c->mode != CNO_MODE_H2) {
        c->settings[CNO_LOCAL] = *settings;
        return CNO_OK;
    }
    enter(c);
    return leave(c, cno__h2_configure(c, settings));
}

uint32_t cno_settings_unacked(const struct cno_connection_t *c) {
    return c->mode == CNO_MODE_H2 ? c->settings_unacked : 0;
}

int cno_closing(const struct cno_connection_t *c) {
    return c->mode == CNO_MODE_OVER || c->mode == CNO_MODE_NEW || (c->flags & CNO_CONN_CLOSING) ||
           cno_next_stream(c) > CNO__STREAM_MAX;
}

int cno_limit(struct cno_connection_t *c, const struct cno_limits_t *limits) {
    if (c->mode != CNO_MODE_NEW)
        return cno_error_set(CNO_ERRNO_ASSERTION, "begun", "the connection was begun already");
    if (cno__limits_set(&c->limits, limits))
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-limit", "a limit is out of its range");
    c->budget_resets = (uint16_t)c->limits.resets;
    c->budget_overhead = (uint16_t)c->limits.overhead;
    return CNO_OK;
}

int cno_begin(struct cno_connection_t *c, enum CNO_HTTP_VERSION version) {
    if (c->mode != CNO_MODE_NEW)
        return cno_error_set(CNO_ERRNO_ASSERTION, "begun", "the connection was begun already");
    enter(c);
    if (version == CNO_HTTP2)
        return leave(c, cno__h2_begin(c));
    cno__h1_begin(c);
    return leave(c, CNO_OK);
}

int cno_version(const struct cno_connection_t *c) {
    return c->version;
}

int cno_shutdown(struct cno_connection_t *c, int final) {
    if (c->mode == CNO_MODE_OVER)
        return CNO_OK;
    enter(c);
    int r = CNO_OK;
    if (c->mode == CNO_MODE_H2) {
        uint32_t last = final ? c->last_stream[CNO_REMOTE] : CNO__STREAM_MAX;
        if (last < c->goaway[CNO_LOCAL])
            r = cno__h2_write_goaway(c, last, CNO_RST_NO_ERROR, "");
        // GOAWAY is about streams of the peer (section 6.8). The caller decides about its own.
        if (!final && cno__is_server(c))
            return leave(c, r);
    }
    c->flags |= CNO_CONN_CLOSING;
    return leave(c, r ? r : cno__close_if_idle(c));
}

// ---- errors ------------------------------------------------------------------------------------

const struct cno_message_t *cno_refused(const struct cno_connection_t *c) {
    return c->refused;
}

// ---- reading -----------------------------------------------------------------------------------

// Ends the connection because the peer broke the protocol, and tells the peer how, if possible.
// `unread` begins with the input that was refused.
static int end_by_fault(struct cno_connection_t *c, const struct cno__input *unread) {
    struct cno_error_t error = *cno_error();
    struct cno_message_t refused = {0};
    c->refused = NULL;
    uint32_t code = c->protocol->tell(c, unread, &error, &refused);
    c->mode = CNO_MODE_OVER;
    int failed = cno__flush(c) || CNO__FIRE(c, on_fault, 0, &error);
    c->refused = NULL;
    if (failed || cno__stream_close_all(c, code, CNO_LOCAL) || CNO__FIRE(c, on_close))
        return CNO_ERROR;
    cno_error_set(error.code, error.reason, "%s",
                  error.text);  // an event may have set another error
    return cno_error_set_wire(error.wire, error.offset);
}

int cno_consume(struct cno_connection_t *c, const char *data, size_t size) {
    if (c->flags & CNO_CONN_CONSUMING)
        return cno_error_set(CNO_ERRNO_ASSERTION, "nested-consume", "cno_consume from an event");
    if (c->mode == CNO_MODE_OVER || c->mode == CNO_MODE_NEW)
        return over();
    if (size && c->in.size > c->limits.pipelined && c->read == CNO_H1_WAIT)
        return cno_error_set(CNO_ERRNO_WOULD_BLOCK, "pipeline-full",
                             "the exchange before is not over");
    enter(c);
    c->flags |= CNO_CONN_CONSUMING;
    struct cno__input in = {data, size};
    int r = cno__feed(c, &in);
    c->flags &= (uint8_t)~CNO_CONN_CONSUMING;
    if (r == CNO__REFUSED)
        r = end_by_fault(c, &in);
    if (r < 0)
        c->mode = CNO_MODE_OVER;  // the rest of the input is lost
    if (c->mode == CNO_MODE_OVER)
        cno__bytes_free(&c->in);
    return leave(c, r);
}

size_t cno_pending(const struct cno_connection_t *c) {
    int waits = c->read == CNO_H1_WAIT || c->read == CNO_H1_TUNNEL;
    return c->mode == CNO_MODE_H1 && waits ? c->in.size : 0;
}

int cno_eof(struct cno_connection_t *c) {
    if (c->flags & CNO_CONN_CONSUMING)
        return cno_error_set(CNO_ERRNO_ASSERTION, "nested-eof", "cno_eof from an event");
    if (c->flags & CNO_CONN_EOF)
        return CNO_OK;
    enter(c);
    c->flags |= CNO_CONN_EOF;
    if (c->mode != CNO_MODE_OVER && c->mode != CNO_MODE_NEW && c->protocol->eof(c)) {
        c->mode = CNO_MODE_OVER;
        return leave(c, CNO_ERROR);
    }
    int was_over = c->mode == CNO_MODE_OVER;
    c->mode = CNO_MODE_OVER;
    uint32_t cut = c->stream_count[CNO_LOCAL] + c->stream_count[CNO_REMOTE];
    if (cno__stream_close_all(c, CNO_RST_CANCEL, CNO_LOCAL))
        return leave(c, CNO_ERROR);
    if (cut)
        return leave(c, cno_error_set(CNO_ERRNO_PROTOCOL, "cut",
                                      "the transport ended with %u streams open", (unsigned)cut));
    return leave(c, !was_over && CNO__FIRE(c, on_close) ? CNO_ERROR : CNO_OK);
}

// ---- writing -----------------------------------------------------------------------------------

uint32_t cno_next_stream(const struct cno_connection_t *c) {
    uint32_t last = c->last_stream[CNO_LOCAL];
    return last ? last + 2 : cno__is_server(c) ? 2 : 1;
}

// The stream of a request whose response may be written now, or NULL and an error.
static struct cno_stream_t *answer_stream(struct cno_connection_t *c, uint32_t id) {
    struct cno_stream_t *s = cno__stream_find(c, id);
    if (s && s->writing == CNO_AT_HEAD && s->reading != CNO_AT_HEAD)
        return s;
    if (!s)
        cno__gone(id);
    else if (cno__is_headless(s))  // the response depends on the method and the version
        cno_error_set(CNO_ERRNO_ASSERTION, "no-request", "an answer before its request");
    return NULL;
}

static int check_head(struct cno_connection_t *c, const struct cno_message_t *msg, size_t size,
                      int final) {
    int request = !cno__is_server(c);
    if ((msg->code == 0) != request)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-start-line",
                             request ? "not a request" : "not a response");
    if (request ? !cno__name_is_token(msg->method.data, msg->method.size) ||
                      (!msg->path.size && cno__method(msg->method) != CNO__METHOD_CONNECT) ||
                      cno__target_span(msg->path.data, msg->path.size) != msg->path.size
                : msg->code < 100 || msg->code > 999)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-start-line",
                             "no such method, target or status");
    if (!request && msg->code < 200 && (final || (size && msg->code != 101)))
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-status", "%d cannot be the whole answer",
                             msg->code);
    if (msg->headers_len > CNO_MAX_HEADERS_OUT)
        return cno_error_set(CNO_ERRNO_ASSERTION, "too-many-fields", "more than %d fields",
                             CNO_MAX_HEADERS_OUT);
    return CNO_OK;
}

// Checks `size` more bytes of body, the last ones if `final`, against Content-Length.
static int check_left(const struct cno_stream_t *s, size_t size, int final) {
    if (s->write_sized && size > s->write_left)
        return cno_error_set(CNO_ERRNO_ASSERTION, "body-too-long",
                             "%llu bytes beyond the content-length",
                             (unsigned long long)(size - s->write_left));
    if (s->write_sized && final && size < s->write_left)
        return cno_error_set(CNO_ERRNO_ASSERTION, "body-too-short",
                             "%llu bytes short of the content-length",
                             (unsigned long long)(s->write_left - size));
    return CNO_OK;
}

int cno_write_head(struct cno_connection_t *c, uint32_t stream, const struct cno_message_t *msg,
                   int final) {
    return cno_write_message(c, stream, msg, NULL, 0, final);
}

int cno_write_message(struct cno_connection_t *c, uint32_t stream, const struct cno_message_t *msg,
                      const char *data, size_t size, int final) {
    if (c->mode == CNO_MODE_OVER || c->mode == CNO_MODE_NEW)
        return over();
    if (check_head(c, msg, size, final))
        return CNO_ERROR;
    if (size > INT32_MAX)
        return cno_error_set(CNO_ERRNO_ASSERTION, "too-large",
                             "more than 2^31-1 bytes in one call");
    enter(c);
    struct cno_stream_t *s = cno__is_server(c) ? answer_stream(c, stream)
                                               : cno__request_stream(c, stream, msg, size, final);
    if (!s)
        return leave(c, CNO_ERROR);
    if (msg->code == 101 && !cno__grants_tunnel(s, 101))
        return leave(c, cno_error_set(CNO_ERRNO_ASSERTION, "bad-status", "101 without an Upgrade"));
    int r = c->protocol->write_head(c, s, msg, size, final);
    if (r || !size)
        return leave(c, r);
    // An event that the head fired may have ended the stream, or written a part of the body.
    if (c->mode == CNO_MODE_OVER || s->writing != CNO_AT_BODY)
        return leave(c, cno__gone(stream));
    if (s->write_sized && size > s->write_left)
        return leave(c, check_left(s, size, final));
    return leave(c, c->protocol->write_data(c, s, data, size, final));
}

int cno_write_push(struct cno_connection_t *c, uint32_t parent, const struct cno_message_t *msg) {
    if (c->mode != CNO_MODE_H2)
        return CNO_OK;
    if (!cno__name_is_token(msg->method.data, msg->method.size) || !msg->path.size || msg->code ||
        cno__target_span(msg->path.data, msg->path.size) != msg->path.size ||
        !cno__target_is_valid_h2(msg->method, msg->path) || msg->headers_len > CNO_MAX_HEADERS_OUT)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-start-line", "not a request");
    if (!cno__is_pushable(msg->method))
        return cno_error_set(CNO_ERRNO_ASSERTION, "unsafe-push", "only GET and HEAD can be pushed");
    const char *wrong = cno__request_lacks_h2(msg);
    if (wrong)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "%s (RFC 9113 8.3.1)", wrong);
    struct cno_stream_t *s = cno__stream_find(c, parent);
    if (!s)
        return CNO_OK;
    enter(c);
    return leave(c, cno__h2_write_push(c, s, msg));
}

// The stream on which a body may be written now, or NULL and an error.
static struct cno_stream_t *body_stream(struct cno_connection_t *c, uint32_t id) {
    struct cno_stream_t *s = c->mode == CNO_MODE_OVER ? NULL : cno__stream_find(c, id);
    if (!s || s->writing == CNO_AT_END) {
        cno__gone(id);
        return NULL;
    }
    if (s->writing == CNO_AT_HEAD) {
        cno_error_set(CNO_ERRNO_ASSERTION, "no-head", "a body before its head");
        return NULL;
    }
    if (s->tunnel == CNO_TUNNEL_ASKED && c->mode == CNO_MODE_H1) {
        cno_error_set(CNO_ERRNO_WOULD_BLOCK, "no-tunnel", "the tunnel is not granted yet");
        return NULL;
    }
    return s;
}

int cno_write_data(struct cno_connection_t *c, uint32_t stream, const char *data, size_t size,
                   int final) {
    struct cno_stream_t *s = body_stream(c, stream);
    if (!s)
        return CNO_ERROR;
    if (size > INT32_MAX)
        return cno_error_set(CNO_ERRNO_ASSERTION, "too-large",
                             "more than 2^31-1 bytes in one call");
    if (check_left(s, size, final))
        return CNO_ERROR;
    enter(c);
    return leave(c, c->protocol->write_data(c, s, data, size, final));
}

int cno_write_tail(struct cno_connection_t *c, uint32_t stream, const struct cno_tail_t *tail) {
    struct cno_stream_t *s = body_stream(c, stream);
    if (!s)
        return CNO_ERROR;
    if (s->write_sized && s->write_left)
        return cno_error_set(CNO_ERRNO_ASSERTION, "body-too-short",
                             "%llu bytes short of the content-length",
                             (unsigned long long)s->write_left);
    if (tail->headers_len > CNO_MAX_HEADERS_OUT)
        return cno_error_set(CNO_ERRNO_ASSERTION, "too-many-fields", "more than %d fields",
                             CNO_MAX_HEADERS_OUT);
    enter(c);
    return leave(c, c->protocol->write_tail(c, s, tail));
}

// Ends the connection and all streams at once, with a code of the caller.
static int abandon(struct cno_connection_t *c, uint32_t code) {
    if (c->mode == CNO_MODE_OVER)
        return CNO_OK;
    enter(c);
    if (c->mode == CNO_MODE_H2 && cno__h2_write_goaway(c, c->last_stream[CNO_REMOTE], code, ""))
        return leave(c, CNO_ERROR);
    c->mode = CNO_MODE_OVER;
    if (!(c->flags & CNO_CONN_CONSUMING))
        cno__bytes_free(&c->in);
    if (cno__flush(c) || cno__stream_close_all(c, code, CNO_LOCAL) || CNO__FIRE(c, on_close))
        return leave(c, CNO_ERROR);
    return leave(c, CNO_OK);
}

int cno_write_reset(struct cno_connection_t *c, uint32_t stream, enum CNO_RST_STREAM_CODE code) {
    if (!stream)
        return code ? abandon(c, code) : cno_shutdown(c, 1);
    struct cno_stream_t *s = c->mode == CNO_MODE_OVER ? NULL : cno__stream_find(c, stream);
    if (!s)
        return cno__gone(stream);
    enter(c);
    return leave(c, c->protocol->reset(c, s, code));
}

int cno_write_ping(struct cno_connection_t *c, const char payload[8]) {
    if (c->mode != CNO_MODE_H2)
        return CNO_OK;
    enter(c);
    cno__budget_refill(&c->budget_overhead, 1, c->limits.overhead);  // pays for the acknowledgement
    return leave(c, cno__h2_write_frame(c, CNO_FRAME_PING, 0, 0, payload, 8));
}

int cno_open_flow(struct cno_connection_t *c, uint32_t stream, uint32_t size) {
    struct cno_stream_t *s = c->mode == CNO_MODE_H2 ? cno__stream_find(c, stream) : NULL;
    if (!s)
        return CNO_OK;  // HTTP/1 has no windows, and an ended stream needs none
    enter(c);
    cno__h2_give_back(c, s, size);
    return leave(c, cno__h2_open_window(c, s));
}
