// PRIVATE: HTTP/1.x on a connection (RFC 9112), server and client. Of HTTP/2 it includes only
// h2/upgrade.h, the way from one to the other.
#pragma once

#include "h1/parse.h"
#include "stream.h"

// What the next input of an HTTP/1 connection is: c->read.
enum CNO_H1_READ {
    CNO_H1_START,  // blank lines, then a head
    CNO_H1_HEAD,
    CNO_H1_LENGTH,  // body_left bytes of body
    CNO_H1_CHUNK_LINE,
    CNO_H1_CHUNK,      // body_left bytes of a chunk
    CNO_H1_CHUNK_END,  // its CRLF
    CNO_H1_TRAILERS,
    CNO_H1_UNTIL_EOF,  // client: a close-delimited body (RFC 9112 section 6.3)
    CNO_H1_WAIT,       // server: the next request, once this one is answered
    CNO_H1_TUNNEL,     // bytes that are not HTTP
};

// Begins HTTP/1 on a connection.
void cno__h1_begin(struct cno_connection_t *);

// ---- receive.c ---------------------------------------------------------------------------------

int cno__h1_step(struct cno_connection_t *, struct cno__input *);
int cno__h1_waits(struct cno_connection_t *, const char *data, size_t size);
int cno__h1_eof(struct cno_connection_t *);

// The message that is read is complete: fires on_message_tail, and ends the exchange if the message
// in the other direction is complete too.
int cno__h1_finish_reading(struct cno_connection_t *, struct cno_stream_t *,
                           const struct cno_tail_t *);

// ---- tunnel.c ----------------------------------------------------------------------------------

// Makes a tunnel of the exchange: no more input is HTTP, and the connection ends with the first
// side that ends the tunnel.
void cno__h1_open_tunnel(struct cno_connection_t *, struct cno_stream_t *);
// Keeps the protocols of the Upgrade field of a request: 101 may name no other.
int cno__h1_keep_offer(struct cno_connection_t *, const struct cno_message_t *, const uint8_t *ids);
// Whether a 101 response was asked for, and names only protocols that the request offered (RFC 9110
// section 7.8).
int cno__h1_is_switch(const struct cno_connection_t *, const struct cno_message_t *);
// The response to a request for a tunnel is written: it opens the tunnel, or the request is
// complete.
int cno__h1_settle_tunnel(struct cno_connection_t *, struct cno_stream_t *, int status);

// ---- send.c ------------------------------------------------------------------------------------

// `size` bytes of body follow in the same call; with `final` they are the whole body.
int cno__h1_write_head(struct cno_connection_t *, struct cno_stream_t *,
                       const struct cno_message_t *, size_t size, int final);
// Returns `size`, or CNO_ERROR.
int cno__h1_write_data(struct cno_connection_t *, struct cno_stream_t *, const char *, size_t size,
                       int final);
int cno__h1_write_tail(struct cno_connection_t *, struct cno_stream_t *, const struct cno_tail_t *);
// Writes a whole response of the engine to a request that it refuses.
int cno__h1_write_error(struct cno_connection_t *, int status, const char *text);
