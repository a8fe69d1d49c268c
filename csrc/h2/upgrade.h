// PRIVATE: the one way from HTTP/1 to HTTP/2: the preface on a connection that began with HTTP/1
// (RFC 9113 section 3.3), and Upgrade (RFC 7540 section 3.2). All that h1/ knows of HTTP/2.
#pragma once

#include "stream.h"

// Server: whether the input, which is not empty, begins with the preface of HTTP/2. CNO_OK: it did,
// and the connection is one of HTTP/2, or it did not, and will not be looked at again. CNO__MORE:
// not known yet.
int cno__upgrade_sniff(struct cno_connection_t *, const struct cno__input *);

// Whether a request without a body is to turn the connection to HTTP/2. Sets *fault when it asks
// for that in a form that is an error.
int cno__h2c_asked(const struct cno_connection_t *, const struct cno_message_t *,
                   const struct cno__meta *, const struct cno__fault **fault);
// Server: says 101, and goes on with this request as HTTP/2 on stream 1.
int cno__h2c_accept(struct cno_connection_t *, struct cno_stream_t *, struct cno_message_t *,
                    const struct cno__meta *);
// Client: the fields that ask for it, at most CNO__H2C_FIELDS bytes. Returns the end of them.
char *cno__h2c_offer(const struct cno_connection_t *, char *at);
// Client: 101 came.
int cno__h2c_switch(struct cno_connection_t *, struct cno_stream_t *);

#define CNO__H2C_FIELDS 160
