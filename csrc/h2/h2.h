// PRIVATE: HTTP/2 on a connection (RFC 9113), server and client. Knows nothing of HTTP/1.
#pragma once

#include "h2/flow.h"
#include "h2/frame.h"
#include "stream.h"

// What the next input of an HTTP/2 connection is: c->read.
enum CNO_H2_READ { CNO_H2_PREFACE, CNO_H2_FRAME, CNO_H2_DATA };

extern const char cno__preface[24];
extern const struct cno__protocol cno__h2_protocol;

// ---- settings.c --------------------------------------------------------------------------------

extern const struct cno_settings_t cno__default_settings;  // in force before any SETTINGS

// Bytes of a SETTINGS payload that has every setting once.
#define CNO__SETTINGS_SIZE 48

// Begins HTTP/2 on a connection: a client sends its preface, both sides send their settings.
int cno__h2_begin(struct cno_connection_t *);
// cno_configure on an HTTP/2 connection, for values that are in range.
int cno__h2_configure(struct cno_connection_t *, const struct cno_settings_t *);
// Writes the payload of a SETTINGS frame with those settings of `new` that differ from `old`.
// Returns its size.
size_t cno__h2_settings(const struct cno_connection_t *, const struct cno_settings_t *old,
                        const struct cno_settings_t *new,
                        unsigned char payload[CNO__SETTINGS_SIZE]);
// Applies one setting of the peer: CNO_OK or CNO__REFUSED. Ignores unknown settings (section
// 6.5.2).
int cno__h2_apply_setting(struct cno_connection_t *, uint32_t id, uint32_t value);
int cno__h2_on_settings(struct cno_connection_t *, struct cno__frame *);

// ---- receive.c ---------------------------------------------------------------------------------

int cno__h2_step(struct cno_connection_t *, struct cno__input *);
// How many of `size` more bytes complete the frame that c->in begins, the payload of DATA excluded.
size_t cno__h2_part(const struct cno_connection_t *, size_t size);

extern const struct cno__fault cno__h2_idle_stream, cno__h2_ended_stream, cno__h2_self_dependency;

// Charges a frame that carries no message. CNO_OK, or CNO__REFUSED when the budget is exhausted.
int cno__h2_spend_overhead(struct cno_connection_t *);
// Charges a reset stream. CNO_OK, or CNO__REFUSED when the budget is exhausted.
int cno__h2_spend_reset(struct cno_connection_t *);
// Resets a stream because the peer broke a rule on it. The connection goes on.
int cno__h2_refuse_stream(struct cno_connection_t *, struct cno_stream_t *,
                          const struct cno__fault *);
// Resets the stream of a faulty frame, or refuses the whole connection if `s` is NULL.
int cno__h2_refuse_frame(struct cno_connection_t *, struct cno_stream_t *,
                         const struct cno__fault *);
// Refuses a frame on a stream on which the peer must not send it, or not yet (section 5.1).
int cno__h2_refuse_unreadable(struct cno_connection_t *, const struct cno_stream_t *);

// ---- flow.c ------------------------------------------------------------------------------------

extern const struct cno__fault cno__h2_window_overflow;

// `size` bytes of a stream's body were used up, at most those that the stream holds.
void cno__h2_give_back(struct cno_connection_t *, struct cno_stream_t *, uint32_t size);
// Announces receive windows of which half is used up: that of the connection, and of `s` if not
// NULL.
int cno__h2_open_window(struct cno_connection_t *, struct cno_stream_t *);
int cno__h2_on_window_update(struct cno_connection_t *, struct cno__frame *);

// ---- headers.c ---------------------------------------------------------------------------------

extern const struct cno__fault cno__h2_length_mismatch;

int cno__h2_headers(struct cno_connection_t *, struct cno__frame *);
int cno__h2_push_promise(struct cno_connection_t *, struct cno__frame *);
int cno__h2_continuation(struct cno_connection_t *, struct cno__frame *);
// END_STREAM has come: checks the length of the body and completes the message.
int cno__h2_finish_reading(struct cno_connection_t *, struct cno_stream_t *,
                           const struct cno_tail_t *);

// ---- priority.c --------------------------------------------------------------------------------

// The priority that a PRIORITY_UPDATE gave to a stream that has not begun.
struct cno__early {
    uint32_t id;
    uint8_t priority;
};

int cno__h2_priority_update(struct cno_connection_t *, const struct cno__frame *);
// A stream of the client begins: applies the priority that was kept for it.
void cno__h2_priority_begin(struct cno_connection_t *, struct cno_stream_t *);

// ---- block.c -----------------------------------------------------------------------------------

// The fields of a header block in order: the pseudo-fields of the message, then those of the
// caller's fields that HTTP/2 sends.
struct cno__block {
    struct cno_header_t list[CNO_MAX_HEADERS_OUT + 4];
    size_t count;
    struct cno__out_meta meta;
    int is_connect;  // a CONNECT without :protocol, :scheme and :path (RFC 9113 section 8.5)
    char status[3];
};

// Fills the block for a message. `is_tunnel`: the response grants a tunnel and has no
// Content-Length.
int cno__h2_make_block(struct cno__block *, const struct cno_message_t *, int is_tunnel);
// Encodes fields as HEADERS or, when `promised` is set, as PUSH_PROMISE, and CONTINUATION where
// needed.
int cno__h2_write_block(struct cno_connection_t *, uint8_t flags, uint32_t stream,
                        uint32_t promised, const struct cno_header_t *list, size_t count);

// ---- send.c ------------------------------------------------------------------------------------

int cno__h2_write_frame(struct cno_connection_t *, uint8_t type, uint8_t flags, uint32_t stream,
                        const void *payload, size_t size);
// Writes a frame whose payload is one number.
int cno__h2_write_number(struct cno_connection_t *, uint8_t type, uint32_t stream, uint32_t number);
// Writes GOAWAY. `last` is lowered to the id that was announced before (RFC 9113 section 6.8).
int cno__h2_write_goaway(struct cno_connection_t *, uint32_t last, uint32_t code, const char *text);
int cno__h2_write_head(struct cno_connection_t *, struct cno_stream_t *,
                       const struct cno_message_t *, size_t size, int final);
int cno__h2_write_push(struct cno_connection_t *, struct cno_stream_t *,
                       const struct cno_message_t *);
// Returns how many bytes the windows allowed.
int cno__h2_write_data(struct cno_connection_t *, struct cno_stream_t *, const char *, size_t size,
                       int final);
int cno__h2_write_tail(struct cno_connection_t *, struct cno_stream_t *, const struct cno_tail_t *);
// Writes RST_STREAM and ends the stream.
int cno__h2_reset(struct cno_connection_t *, struct cno_stream_t *, uint32_t code);
