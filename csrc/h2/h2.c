// The functions of HTTP/2 that a connection calls (struct cno__protocol). receive.c reads frames,
// send.c writes them.
#include "h2/h2.h"

const char cno__preface[24] = {'P', 'R', 'I',  ' ',  '*',  ' ',  'H', 'T', 'T',  'P',  '/',  '2',
                               '.', '0', '\r', '\n', '\r', '\n', 'S', 'M', '\r', '\n', '\r', '\n'};

// cno__h2_step finds out whether a frame is complete.
static int waits(struct cno_connection_t *c, const char *data, size_t size) {
    (void)c;
    (void)data;
    (void)size;
    return 0;
}

static int eof(struct cno_connection_t *c) {
    (void)c;
    return CNO_OK;
}

static uint32_t tell(struct cno_connection_t *c, const struct cno__input *unread,
                     struct cno_error_t *error, struct cno_message_t *refused) {
    (void)unread;
    (void)refused;
    cno__h2_write_goaway(c, c->last_stream[CNO_REMOTE], error->wire, error->reason);
    return error->wire;
}

static int released(struct cno_connection_t *c, struct cno_stream_t *s) {
    cno__h2_give_back(c, s, s->held);
    return cno__h2_open_window(c, NULL);
}

// Tells the peer which of its streams were served, whichever side began the end (RFC 9113 section
// 6.8).
static int farewell(struct cno_connection_t *c) {
    if (c->goaway[CNO_LOCAL] < CNO__STREAM_MAX)
        return CNO_OK;
    return cno__h2_write_goaway(c, c->last_stream[CNO_REMOTE], CNO_RST_NO_ERROR, "");
}

const struct cno__protocol cno__h2_protocol = {
    .step = cno__h2_step,
    .waits = waits,
    .part = cno__h2_part,
    .eof = eof,
    .tell = tell,
    .write_head = cno__h2_write_head,
    .write_data = cno__h2_write_data,
    .write_tail = cno__h2_write_tail,
    .reset = cno__h2_reset,
    .released = released,
    .farewell = farewell,
};
