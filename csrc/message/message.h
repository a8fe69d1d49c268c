// The meaning of messages in both versions of HTTP: pseudo-fields, framing of bodies, forbidden
// fields. Pure functions of field lists, which know no connection and no stream.
#pragma once

#include "message/chars.h"
#include "config.h"
#include "core.h"
#include "message/fault.h"

// A parsed HTTP/1 head. It points into the input.
struct cno__h1_head {
    struct cno_buffer_t method;  // request
    struct cno_buffer_t target;  // request
    struct cno_buffer_t reason;  // response
    int status;                  // response
    int minor;                   // of HTTP/1.x
    size_t count;                // fields
};

// The facts about a received message that its fields state.
struct cno__meta {
    uint64_t length;  // of the body; only if has_length
    uint8_t has_length;
    uint8_t chunked;     // h1
    uint8_t close;       // h1: the connection ends with this exchange
    uint8_t keep_alive;  // h1: has the connection option keep-alive
    uint8_t expect;      // 100-continue
    uint8_t te_trailers;
    uint8_t method;  // enum CNO__METHOD
    const char *at;  // h1: where a fault is; NULL for the head as a whole
    uint8_t has_priority;
    uint8_t priority;                 // h2: as in priority.h; only if has_priority
    uint8_t upgrade;                  // h1: enum CNO__UPGRADE
    struct cno_buffer_t h2_settings;  // h1: of the last HTTP2-Settings
};

// The parts of a request in an HTTP/1 head to change the protocol (RFC 9110 section 7.8).
enum CNO__UPGRADE {
    CNO__UPGRADE_FIELD = 1,   // the field Upgrade names a protocol
    CNO__UPGRADE_OPTION = 2,  // the connection option upgrade is there
    CNO__UPGRADE_ASKED = 3,   // both: only then an upgrade is asked for
    // For HTTP/2 (RFC 7540 section 3.2): h2c is among the protocols, and HTTP2-Settings and its
    // connection option are there, once. HTTP/2 is asked for only with all of these.
    CNO__UPGRADE_H2C = 4,
    CNO__UPGRADE_SETTINGS = 8,
    CNO__UPGRADE_SETTINGS_OPTION = 16,
    CNO__UPGRADE_SETTINGS_TWICE = 32,
    CNO__UPGRADE_H2C_ASKED = 31,
};

// The methods that change the framing of messages.
enum CNO__METHOD { CNO__METHOD_OTHER, CNO__METHOD_HEAD, CNO__METHOD_CONNECT };

// Makes a message of a decoded request block of HTTP/2 (RFC 9113 section 8.3.1). Pseudo-fields
// other than :scheme, :authority and :protocol are removed from the list. `extended`: CONNECT may
// have :protocol (RFC 8441). With a fault, only method and path of the message are set, as far as
// they are known.
const struct cno__fault *cno__request_h2(struct cno_header_t *list, size_t count, int extended,
                                         struct cno_message_t *, struct cno__meta *);

// Makes a message of a decoded response block of HTTP/2 (section 8.3.2).
const struct cno__fault *cno__response_h2(struct cno_header_t *list, size_t count,
                                          struct cno_message_t *, struct cno__meta *);

// Makes a message of a parsed HTTP/1 request head. The fields begin at list[2], behind room for two
// pseudo-fields.
const struct cno__fault *cno__request_h1(struct cno__h1_head *, struct cno_header_t *list,
                                         struct cno_message_t *, struct cno__meta *);

// Makes a message of a parsed HTTP/1 response head, whose fields begin at list[0].
const struct cno__fault *cno__response_h1(struct cno__h1_head *, struct cno_header_t *list,
                                          struct cno_message_t *, struct cno__meta *);

// Removes fields that are not allowed in a trailer section (RFC 9110 section 6.5.1) and updates
// *count. Pseudo-fields and, on HTTP/2, malformed and connection-specific fields are a fault.
const struct cno__fault *cno__trailers(struct cno_header_t *list, size_t *count,
                                       enum CNO_HTTP_VERSION);

// Whether a field, with a name in any case, is not allowed in a trailer section.
int cno__is_barred_from_trailers(const struct cno_header_t *);

// Whether a response with this status to this method has a body (RFC 9112 section 6.3). This is the
// one place with the rule; the functions below it are about what we send.
int cno__response_has_body(int status, enum CNO__METHOD method);

enum CNO__METHOD cno__method(struct cno_buffer_t method);

// The authority of an absolute-form target (RFC 9112 section 3.2.2); data = NULL for other forms.
struct cno_buffer_t cno__authority_of(struct cno_buffer_t target);

// Whether a server may push the response to a request with this method, which must be safe and have
// cacheable responses (RFC 9113 section 8.4, RFC 9110 section 9.2).
int cno__is_pushable(struct cno_buffer_t method);

// ---- out ---------------------------------------------------------------------------------------

// The facts about a message to send that the caller's fields state.
struct cno__out_meta {
    uint64_t length;
    uint8_t has_length;
    uint8_t close;                            // connection: close is there
    uint8_t upgrade, te, host, scheme;        // whether such a field is there
    uint8_t pseudo;                           // whether any pseudo-field is there
    struct cno_buffer_t authority, protocol;  // these pseudo-fields; data = NULL if not there
};

// Checks fields to send: names, values, one Content-Length. `lower` demands lower-case names.
// Writes the id of each name to ids[]. Returns NULL, or a text and the index of the wrong field in
// *at.
const char *cno__check_out(const struct cno_header_t *list, size_t count, int lower, uint8_t *ids,
                           struct cno__out_meta *, size_t *at);

// Checks a body of `size` bytes, or of at least that many if not `final`, against Content-Length.
// Returns CNO_OK, or CNO_ERROR after setting the error of the call.
int cno__check_length(const struct cno__out_meta *, size_t size, int final);

// Whether we send a body with this status. A 205 is framed as if it had one, but must not (RFC 9110
// section 15.3.6).
static inline int cno__response_takes_body(int status, enum CNO__METHOD method) {
    return status != 205 && cno__response_has_body(status, method);
}

// Whether the caller's Content-Length is removed from a response with this status (RFC 9110 section
// 8.6).
static inline int cno__response_drops_length(int status) {
    return status < 200 || status == 204 || status == 205;
}

// A text about a field that HTTP/2 demands of a request or a promise and that is missing or wrong
// (RFC 9113 section 8.3.1), or NULL. CONNECT needs none.
const char *cno__request_lacks_h2(const struct cno_message_t *);

// Whether a target can be sent on HTTP/2: a path, or the * of OPTIONS. CONNECT sends none.
int cno__target_is_valid_h2(struct cno_buffer_t method, struct cno_buffer_t target);

// Whether a target can be sent on HTTP/1: also a whole http or https URI (RFC 9112 section 3.2).
int cno__target_is_valid_h1(struct cno_buffer_t method, struct cno_buffer_t target);

// Copies those of the caller's refusal_fields (see cno_connection_t) that may be sent to `list`,
// which has room for CNO_MAX_DEFAULTS. Returns their number.
size_t cno__refusal_fields(const struct cno_fields_t *, struct cno_header_t *list);

// cno__check_out for a trailer section: pseudo-fields, and fields that are not allowed there, are
// wrong.
const char *cno__check_trailers(const struct cno_header_t *list, size_t count, int lower,
                                uint8_t *ids, size_t *at);

// A text about what is wrong with a request for a tunnel, or NULL: a target without host and port,
// two targets that differ, :protocol without CONNECT, a body (of `size` bytes).
const char *cno__check_tunnel(const struct cno_message_t *, const struct cno__out_meta *,
                              size_t size);

// The target of CONNECT: the path, or else the :authority.
struct cno_buffer_t cno__connect_target(const struct cno_message_t *, const struct cno__out_meta *);

// Sets of enum CNO_NAME: the pseudo-fields, and the fields of a caller that are not sent because
// the engine writes them itself or they have no place on the connection.
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
