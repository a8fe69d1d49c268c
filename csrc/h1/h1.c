// The functions of HTTP/1 that a connection calls (struct cno__protocol). receive.c reads messages,
// send.c writes them.
#include "h1/h1.h"

static size_t part(const struct cno_connection_t *c, size_t size) {
    (void)c;
    return size;
}

// A server responds with the status of the fault, unless another response has begun. A client
// cannot tell the server.
static uint32_t tell(struct cno_connection_t *c, const struct cno__input *unread,
                     struct cno_error_t *error, struct cno_message_t *refused) {
    if (cno__is_server(c) && c->read == CNO_H1_HEAD) {
        cno__h1_peek_request(unread->data, unread->size, refused);
        c->refused = refused;
    }
    if (cno__is_server(c) && error->wire && (!c->current || c->current->writing == CNO_AT_HEAD))
        cno__h1_write_error(c, (int)error->wire, error->text);
    else
        error->wire = 0;
    return CNO_RST_PROTOCOL_ERROR;
}

static int reset(struct cno_connection_t *c, struct cno_stream_t *s, uint32_t code) {
    c->flags |= CNO_CONN_CLOSING;
    return cno__stream_close(c, s, code, CNO_LOCAL);
}

// HTTP/1 has no windows.
static int released(struct cno_connection_t *c, struct cno_stream_t *s) {
    (void)c;
    (void)s;
    return CNO_OK;
}

static int farewell(struct cno_connection_t *c) {
    (void)c;
    return CNO_OK;
}

static const struct cno__protocol PROTOCOL = {
    .step = cno__h1_step,
    .waits = cno__h1_waits,
    .part = part,
    .eof = cno__h1_eof,
    .tell = tell,
    .write_head = cno__h1_write_head,
    .write_data = cno__h1_write_data,
    .write_tail = cno__h1_write_tail,
    .reset = reset,
    .released = released,
    .farewell = farewell,
};

void cno__h1_begin(struct cno_connection_t *c) {
    c->mode = CNO_MODE_H1;
    c->protocol = &PROTOCOL;
    c->version = CNO_HTTP1;
    c->read = CNO_H1_START;
    if (cno__is_server(c) && !(c->options & CNO_NO_PRIOR_KNOWLEDGE))
        c->flags |= CNO_CONN_SNIFF;
}
