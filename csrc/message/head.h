// Pieces that the files of message/ share. No other folder needs them.
#pragma once

#include <string.h>

#include "message/message.h"

extern const struct cno__fault cno__bad_target, cno__no_host, cno__two_hosts, cno__bad_host;
extern const struct cno__fault cno__bad_name, cno__bad_value, cno__bad_pseudo;

static inline int cno__is(struct cno_buffer_t a, const char *literal) {
    return a.size == strlen(literal) && !memcmp(a.data, literal, a.size);
}

// ---- framing.c ---------------------------------------------------------------------------------

// Notes a Content-Length, which must be one plain number and not be repeated.
const struct cno__fault *cno__read_length(struct cno_buffer_t value, struct cno__meta *);
// Checks that a CONNECT request has no content. A Content-Length of 0 is allowed.
const struct cno__fault *cno__check_connect(struct cno__meta *);

// ---- target.c ----------------------------------------------------------------------------------

// Whether that is a host with an optional port, or empty.
static inline int cno__is_host(struct cno_buffer_t host) {
    return cno__host_is_valid(host.data, host.size, 0);
}

// Whether two valid values of :authority or Host name the same host and port: in any case
// (RFC 3986 section 3.2.2), with or without the default port of the scheme.
int cno__same_host(struct cno_buffer_t, struct cno_buffer_t, struct cno_buffer_t scheme);
int cno__is_scheme(struct cno_buffer_t);
// Whether that is a path, or the asterisk-form with OPTIONS (RFC 9112 section 3.2).
int cno__is_path(struct cno_buffer_t method, struct cno_buffer_t target);
const struct cno__fault *cno__check_target(struct cno_buffer_t method, struct cno_buffer_t target);

// ---- fields.c ----------------------------------------------------------------------------------

// The names that have a meaning for cno__note_h2.
#define CNO__NOTED_H2 \
    (CNO__NAMED(CNO_NAME_CONNECTION) | CNO__NAMED(CNO_NAME_KEEP_ALIVE) | \
     CNO__NAMED(CNO_NAME_PROXY_CONNECTION) | CNO__NAMED(CNO_NAME_TRANSFER_ENCODING) | \
     CNO__NAMED(CNO_NAME_UPGRADE) | CNO__NAMED(CNO_NAME_TE) | \
     CNO__NAMED(CNO_NAME_CONTENT_LENGTH) | CNO__NAMED(CNO_NAME_EXPECT) | \
     CNO__NAMED(CNO_NAME_PRIORITY))

const struct cno__fault *cno__note_h2(const struct cno_header_t *, struct cno__meta *);

// Checks a field of HTTP/2 that is not a pseudo-field, and notes its meaning for the message.
// Inline, as it is called for every field of every head, and most fields have no such meaning.
static inline const struct cno__fault *cno__regular_h2(const struct cno_header_t *field,
                                                       struct cno__meta *meta) {
    return CNO__NOTED_H2 >> field->id & 1 ? cno__note_h2(field, meta) : NULL;
}
