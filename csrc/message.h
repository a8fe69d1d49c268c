// What HTTP means, for both versions: pseudo-fields, framing of bodies, fields that are forbidden.
// Pure: field lists in, decisions out. Knows no connection and no stream.
#pragma once

#include "chars.h"
#include "core.h"
#include "fault.h"
#include "h1_parse.h"

// What the fields of a received message say about it.
struct cno__meta {
    uint64_t length;  // of the body; only if has_length
    uint8_t has_length;
    uint8_t chunked;     // h1
    uint8_t close;       // h1: the connection ends with this exchange
    uint8_t keep_alive;  // h1: asked for by name
    uint8_t expect;      // 100-continue
    uint8_t te_trailers;
    uint8_t method;  // enum CNO__METHOD
    uint8_t has_priority;
    uint8_t priority;  // h2: as in priority.h; only if has_priority
};

// Methods that change how messages are framed.
enum CNO__METHOD { CNO__METHOD_OTHER, CNO__METHOD_HEAD, CNO__METHOD_CONNECT };

// A decoded request block of HTTP/2 (RFC 9113 section 8.3.1). Takes the pseudo-fields out of the
// list except :scheme and :authority, and fills the message.
const struct cno__fault *cno__request_h2(struct cno_header_t *list, size_t count,
                                         struct cno_message_t *, struct cno__meta *);

// The same for a response (section 8.3.2).
const struct cno__fault *cno__response_h2(struct cno_header_t *list, size_t count,
                                          struct cno_message_t *, struct cno__meta *);

// A parsed HTTP/1 request head. list[0..1] are free for the pseudo-fields, the fields follow.
const struct cno__fault *cno__request_h1(struct cno__h1_head *, struct cno_header_t *list,
                                         struct cno_message_t *, struct cno__meta *);

// A parsed HTTP/1 response head; the fields begin at list[0].
const struct cno__fault *cno__response_h1(struct cno__h1_head *, struct cno_header_t *list,
                                          struct cno_message_t *, struct cno__meta *);

// Fields that may not stand in a trailer section are taken out (RFC 9110 section 6.5.1). Returns
// how many are left; pseudo-fields and, on HTTP/2, malformed fields are a fault.
const struct cno__fault *cno__trailers(struct cno_header_t *list, size_t *count);

// Whether a response with this status to this method has a body at all (RFC 9112 section 6.3).
int cno__response_has_body(int status, enum CNO__METHOD method);

enum CNO__METHOD cno__method(struct cno_buffer_t method);

// ---- out ---------------------------------------------------------------------------------------

// What the caller's fields say about a message it wants to send.
struct cno__out_meta {
    uint64_t length;
    uint8_t has_length;
    uint8_t close;  // it said connection: close
};

// Checks fields that are to be sent: names, values, one Content-Length. `lower` demands lower-case
// names. Writes the id of each name to ids[]. Returns NULL or what is wrong, with *at the field's
// index.
const char *cno__check_out(const struct cno_header_t *list, size_t count, int lower, uint8_t *ids,
                           struct cno__out_meta *, size_t *at);

// Whether a caller's field is the engine's business on this version and therefore not sent.
int cno__is_dropped(enum CNO_NAME id, enum CNO_HTTP_VERSION, const struct cno_header_t *);

// The usual reason phrase of a status (RFC 9110 section 15), or "".
struct cno_buffer_t cno__reason_phrase(int status);
