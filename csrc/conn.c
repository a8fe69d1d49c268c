// The state of one connection that does not depend on its protocol: limits, input, faults, output,
// the end. Knows neither streams nor HTTP/1 nor HTTP/2.
#include "conn.h"

#include <string.h>

// ---- limits ------------------------------------------------------------------------------------

#define COUNT (sizeof(struct cno_limits_t) / sizeof(uint32_t))

const struct cno_limits_t cno__limits_default = {
    .fields = CNO_MAX_HEADERS,
    .line = CNO_MAX_H1_LINE,
    .head = CNO_MAX_H1_HEAD,
    .drain = CNO_MAX_H1_DRAIN,
    .pipelined = CNO_MAX_PIPELINED,
    .connection_window = CNO_DEFAULT_CONNECTION_WINDOW,
    .promises = CNO_MAX_PROMISES,
    .resets = CNO_BUDGET_RESETS,
    .overhead = CNO_BUDGET_OVERHEAD,
};

// A request has at least four pseudo-fields; a connection window is never below 65535 (RFC 9113
// section 6.9.2); a budget is kept in 16 bits.
static const struct cno_limits_t LOWEST = {4, 16, 64, 1, 1, 65535, 1, 1, 1};
static const struct cno_limits_t HIGHEST = {
    .fields = CNO_MAX_HEADERS_STORED,
    .line = INT32_MAX,
    .head = INT32_MAX,
    .drain = INT32_MAX,
    .pipelined = INT32_MAX,
    .connection_window = INT32_MAX,
    .promises = INT32_MAX,
    .resets = UINT16_MAX,
    .overhead = UINT16_MAX,
};

int cno__limits_set(struct cno_limits_t *to, const struct cno_limits_t *from) {
    uint32_t now[COUNT], want[COUNT], low[COUNT], high[COUNT];
    memcpy(now, to, sizeof(now));
    memcpy(want, from, sizeof(want));
    memcpy(low, &LOWEST, sizeof(low));
    memcpy(high, &HIGHEST, sizeof(high));
    for (size_t i = 0; i < COUNT; i++) {
        if (!want[i])
            continue;
        if (want[i] < low[i] || want[i] > high[i])
            return -1;
        now[i] = want[i];
    }
    memcpy(to, now, sizeof(now));
    return 0;
}

// ---- input -------------------------------------------------------------------------------------

// Reads as much of the input as is complete.
static int run(struct cno_connection_t *c, struct cno__input *in) {
    while (c->mode != CNO_MODE_OVER) {
        int r = c->protocol->step(c, in);
        if (r)
            return r == CNO__MORE ? CNO_OK : r;
    }
    return CNO_OK;
}

int cno__feed(struct cno_connection_t *c, struct cno__input *in) {
    if (c->in.size && in->size && c->protocol->waits(c, in->data, in->size))
        return cno__bytes_append(&c->in, in->data, in->size);
    while (c->in.size) {
        size_t part = c->protocol->part(c, in->size);
        if (cno__bytes_append(&c->in, in->data, part))
            return CNO_ERROR;
        in->data += part;
        in->size -= part;
        struct cno__input kept = {c->in.data, c->in.size};
        int r = run(c, &kept);
        cno__bytes_consume(&c->in, c->in.size - kept.size);
        if (r || c->mode == CNO_MODE_OVER) {
            *in = (struct cno__input){c->in.data, c->in.size};
            return r;
        }
        if (!in->size)
            break;
    }
    if (!c->in.size) {
        if (c->in.data)
            cno__bytes_clear(&c->in);
        int r = run(c, in);
        if (r || c->mode == CNO_MODE_OVER)
            return r;
    }
    return in->size ? cno__bytes_append(&c->in, in->data, in->size) : CNO_OK;
}

// ---- faults ------------------------------------------------------------------------------------

int cno__refuse(struct cno_connection_t *c, const struct cno__fault *fault, size_t at) {
    cno_error_set(CNO_ERRNO_PROTOCOL, fault->reason, "%s", fault->text);
    cno_error_set_wire(c->mode == CNO_MODE_H2 ? fault->code : fault->status, c->offset + at);
    return CNO__REFUSED;
}

int cno__tell_fault(struct cno_connection_t *c, uint32_t stream, const struct cno__fault *fault,
                    uint32_t wire) {
    cno__refuse(c, fault, 0);
    cno_error_set_wire(wire, c->offset);
    int failed = CNO__FIRE(c, on_fault, stream, cno_error());
    c->refused = NULL;
    return failed ? CNO_ERROR : CNO_OK;
}

// ---- output and the end ------------------------------------------------------------------------

int cno__flush_with(struct cno_connection_t *c, const struct cno_buffer_t *more, size_t count) {
    struct cno_buffer_t pieces[2 * CNO_MAX_GATHER + 1];
    size_t n = 0;
    if (c->out.size)
        pieces[n++] = (struct cno_buffer_t){c->out.data, c->out.size};
    for (size_t i = 0; i < count; i++)
        pieces[n++] = more[i];
    int r = CNO__FIRE(c, on_writev, pieces, n);
    cno__bytes_clear(&c->out);
    if (r)
        c->mode = CNO_MODE_OVER;  // these bytes are lost
    return r ? CNO_ERROR : CNO_OK;
}

int cno__close_if_idle(struct cno_connection_t *c) {
    if (!(c->flags & CNO_CONN_CLOSING) || c->mode == CNO_MODE_OVER || c->stream_count[CNO_LOCAL] ||
        c->stream_count[CNO_REMOTE])
        return CNO_OK;
    if (c->protocol && c->protocol->farewell(c))  // NULL before cno_begin
        return CNO_ERROR;
    c->mode = CNO_MODE_OVER;
    if (cno__flush(c))
        return CNO_ERROR;
    return CNO__FIRE(c, on_close) ? CNO_ERROR : CNO_OK;
}
