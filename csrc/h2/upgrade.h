// PRIVATE: the one way from HTTP/1 to HTTP/2: the preface on a connection that began with HTTP/1
// (RFC 9113 section 3.3), and Upgrade (RFC 7540 section 3.2). The only header of h2/ that h1/
// includes.
#pragma once

#include "stream.h"

// Server: looks for the preface of HTTP/2 at the start of the input, which is not empty. CNO_OK: it
// was there and the connection has changed to HTTP/2, or it was not there and is not looked for
// again. CNO__MORE: not known yet.
int cno__upgrade_sniff(struct cno_connection_t *, const struct cno__input *);

// Server: whether a request without a body asks for HTTP/2 and gets it. Sets *fault when the
// request is malformed in that.
int cno__h2c_asked(const struct cno_connection_t *, const struct cno_message_t *,
                   const struct cno__meta *, const struct cno__fault **fault);
// Server: writes 101, and continues with this request as stream 1 of HTTP/2.
int cno__h2c_accept(struct cno_connection_t *, struct cno_stream_t *, struct cno_message_t *,
                    const struct cno__meta *);
// Client: writes the fields that ask for HTTP/2, at most CNO__H2C_FIELDS bytes. Returns their end.
char *cno__h2c_offer(const struct cno_connection_t *, char *at);
// Client: a 101 has come, and the connection changes to HTTP/2.
int cno__h2c_switch(struct cno_connection_t *, struct cno_stream_t *);

#define CNO__H2C_FIELDS 160
