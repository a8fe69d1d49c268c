// What HTTP means, for both versions: pseudo-fields, framing of bodies, fields that are forbidden.
// Pure: field lists in, decisions out. Knows no connection and no stream.
#pragma once

#include "message/chars.h"
#include "config.h"
#include "core.h"
#include "message/fault.h"

// A parsed HTTP/1 head. What it points to is where it was read.
struct cno__h1_head {
    struct cno_buffer_t method;  // request
    struct cno_buffer_t target;  // request
    struct cno_buffer_t reason;  // response
    int status;                  // response
    int minor;                   // of HTTP/1.x
    size_t count;                // fields
};

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
    const char *at;  // h1: what a fault is about; NULL for the head as a whole
    uint8_t has_priority;
    uint8_t priority;                 // h2: as in priority.h; only if has_priority
    uint8_t upgrade;                  // h1: enum CNO__UPGRADE
    struct cno_buffer_t h2_settings;  // h1: of the last HTTP2-Settings
};

// What an HTTP/1 head says of a change of protocol (RFC 9110 section 7.8).
enum CNO__UPGRADE {
    CNO__UPGRADE_FIELD = 1,   // Upgrade names a protocol
    CNO__UPGRADE_OPTION = 2,  // Connection says so
    CNO__UPGRADE_ASKED = 3,   // both: only this counts
    // For HTTP/2 (RFC 7540 section 3.2): h2c is among the protocols, HTTP2-Settings is there,
    // Connection says so. Only all of these count, and one more field of them is one too many.
    CNO__UPGRADE_H2C = 4,
    CNO__UPGRADE_SETTINGS = 8,
    CNO__UPGRADE_SETTINGS_OPTION = 16,
    CNO__UPGRADE_SETTINGS_TWICE = 32,
    CNO__UPGRADE_H2C_ASKED = 31,
};

// Methods that change how messages are framed.
enum CNO__METHOD { CNO__METHOD_OTHER, CNO__METHOD_HEAD, CNO__METHOD_CONNECT };

// A decoded request block of HTTP/2 (RFC 9113 section 8.3.1). Takes the pseudo-fields out of the
// list except :scheme, :authority and :protocol, and fills the message. `extended`: CONNECT may
// have :protocol (RFC 8441).
const struct cno__fault *cno__request_h2(struct cno_header_t *list, size_t count, int extended,
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

// Fields that may not stand in a trailer section are taken out (RFC 9110 section 6.5.1); *count is
// set to how many are left. Pseudo-fields and, on HTTP/2, malformed and connection-specific fields
// are a fault.
const struct cno__fault *cno__trailers(struct cno_header_t *list, size_t *count,
                                       enum CNO_HTTP_VERSION);

// Whether a field, of a name in any case, has no place in a trailer section.
int cno__is_barred_from_trailers(const struct cno_header_t *);

// Whether a response with this status to this method has a body at all (RFC 9112 section 6.3).
int cno__response_has_body(int status, enum CNO__METHOD method);

enum CNO__METHOD cno__method(struct cno_buffer_t method);

// The authority of an absolute-form target (RFC 9112 section 3.2.2); data = NULL for other forms.
struct cno_buffer_t cno__authority_of(struct cno_buffer_t target);

// Whether a server may push the answer to a request with this method: one that is safe and whose
// answers are cacheable (RFC 9113 section 8.4, RFC 9110 section 9.2).
int cno__is_pushable(struct cno_buffer_t method);

// ---- out ---------------------------------------------------------------------------------------

// What the caller's fields say about a message it wants to send.
struct cno__out_meta {
    uint64_t length;
    uint8_t has_length;
    uint8_t close;                            // it said connection: close
    uint8_t upgrade, te, host, scheme;        // whether such a field is there
    uint8_t pseudo;                           // whether any pseudo-field is there
    struct cno_buffer_t authority, protocol;  // those pseudo-fields; data = NULL without
};

// Checks fields that are to be sent: names, values, one Content-Length. `lower` demands lower-case
// names. Writes the id of each name to ids[]. Returns NULL or what is wrong, with *at the field's
// index.
const char *cno__check_out(const struct cno_header_t *list, size_t count, int lower, uint8_t *ids,
                           struct cno__out_meta *, size_t *at);

// Whether a body of `size` bytes, or of at least that if not `final`, is what Content-Length
// promises. CNO_OK, or CNO_ERROR and the error of the call.
int cno__check_length(const struct cno__out_meta *, size_t size, int final);

// Whether we send a body with it. A 205 could have one, but must not (RFC 9110 section 15.3.6).
static inline int cno__response_takes_body(int status, enum CNO__METHOD method) {
    return status != 205 && cno__response_has_body(status, method);
}

// Whether a response with this status goes without the caller's Content-Length (RFC 9110
// section 8.6).
static inline int cno__response_drops_length(int status) {
    return status < 200 || status == 204 || status == 205;
}

// What a request or a promise lacks of the fields that HTTP/2 demands of it (RFC 9113
// section 8.3.1), or NULL. CONNECT is without them.
const char *cno__request_lacks_h2(const struct cno_message_t *);

// Whether that is a target for HTTP/2: a path, or the * of OPTIONS. CONNECT writes none.
int cno__target_is_valid_h2(struct cno_buffer_t method, struct cno_buffer_t target);

// The same for HTTP/1, where it may also be a whole http or https URI (RFC 9112 section 3.2).
int cno__target_is_valid_h1(struct cno_buffer_t method, struct cno_buffer_t target);

// Copies to `list`, which has room for CNO_MAX_DEFAULTS, those of the caller's fields that a
// response of the engine's own may carry (see cno_connection_t.refusal_fields). Returns how many.
size_t cno__refusal_fields(const struct cno_fields_t *, struct cno_header_t *list);

// cno__check_out for a trailer section, which has no pseudo-fields nor what is barred from it.
const char *cno__check_trailers(const struct cno_header_t *list, size_t count, int lower,
                                uint8_t *ids, size_t *at);

// What is wrong with a request for a tunnel, or NULL: a target that names no host and port, two
// that differ, :protocol without CONNECT. `size` octets of body would come with it.
const char *cno__check_tunnel(const struct cno_message_t *, const struct cno__out_meta *,
                              size_t size);

// Where CONNECT goes: the path, or else the :authority.
struct cno_buffer_t cno__connect_target(const struct cno_message_t *, const struct cno__out_meta *);

// Sets of enum CNO_NAME: the pseudo-fields, and what of a caller's fields is the engine's business
// and therefore not sent.
#define CNO__NAMED(name) (1u << (name))
#define CNO__PSEUDO (CNO__NAMED(CNO_NAME_P_UNKNOWN + 1) - CNO__NAMED(CNO_NAME_P_AUTHORITY))
#define CNO__DROPPED_H1 \
    (CNO__NAMED(CNO_NAME_TRANSFER_ENCODING) | CNO__NAMED(CNO_NAME_KEEP_ALIVE) | \
     CNO__NAMED(CNO_NAME_PROXY_CONNECTION) | CNO__NAMED(CNO_NAME_CONNECTION) | \
     CNO__NAMED(CNO_NAME_REPEATED))
#define CNO__DROPPED_H2 \
    (CNO__DROPPED_H1 | CNO__NAMED(CNO_NAME_UPGRADE) | CNO__NAMED(CNO_NAME_HTTP2_SETTINGS))

// The usual reason phrase of a status (RFC 9110 section 15), or "".
struct cno_buffer_t cno__reason_phrase(int status);
