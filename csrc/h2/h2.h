// PRIVATE: HTTP/2 on a connection (RFC 9113), both roles. Knows nothing of HTTP/1.
#pragma once

#include "h2/flow.h"
#include "h2/frame.h"
#include "stream.h"

// What the next bytes of an HTTP/2 connection are: c->read.
enum CNO_H2_READ { CNO_H2_PREFACE, CNO_H2_FRAME, CNO_H2_DATA };

extern const char cno__preface[24];
extern const struct cno__protocol cno__h2_protocol;

// ---- settings.c --------------------------------------------------------------------------------

extern const struct cno_settings_t cno__default_settings;  // before any are known

// Octets of a SETTINGS frame that has every setting once.
#define CNO__SETTINGS_SIZE 48

// Turns the connection to HTTP/2: a client says its preface, both their settings.
int cno__h2_begin(struct cno_connection_t *);
// cno_configure on a connection that speaks HTTP/2; the values are in range.
int cno__h2_configure(struct cno_connection_t *, const struct cno_settings_t *);
// The payload of SETTINGS that turns `old` into `new`. Returns its size.
size_t cno__h2_settings(const struct cno_connection_t *, const struct cno_settings_t *old,
                        const struct cno_settings_t *new,
                        unsigned char payload[CNO__SETTINGS_SIZE]);
// One setting of the peer: CNO_OK or CNO__REFUSED. Unknown ones are ignored (section 6.5.2).
int cno__h2_apply_setting(struct cno_connection_t *, uint32_t id, uint32_t value);
int cno__h2_on_settings(struct cno_connection_t *, struct cno__frame *);

// ---- receive.c ---------------------------------------------------------------------------------

int cno__h2_step(struct cno_connection_t *, struct cno__input *);
// How many of `size` more bytes complete the unit that c->in begins; never those of a body.
size_t cno__h2_part(const struct cno_connection_t *, size_t size);

extern const struct cno__fault cno__h2_idle_stream, cno__h2_ended_stream, cno__h2_self_dependency;

// A frame that carries no message: fine now and then. CNO_OK or CNO__REFUSED, as the next one.
int cno__h2_spend_overhead(struct cno_connection_t *);
// A stream that ends before its answer.
int cno__h2_spend_reset(struct cno_connection_t *);
// The peer broke the rules on one stream: it is reset, and the connection lives.
int cno__h2_refuse_stream(struct cno_connection_t *, struct cno_stream_t *,
                          const struct cno__fault *);
// The same for a frame that may be of a stream which is not there: then the connection ends.
int cno__h2_refuse_frame(struct cno_connection_t *, struct cno_stream_t *,
                         const struct cno__fault *);
// A frame on a stream where the peer has nothing to say, or not yet (section 5.1).
int cno__h2_refuse_unreadable(struct cno_connection_t *, const struct cno_stream_t *);

// ---- flow.c ------------------------------------------------------------------------------------

extern const struct cno__fault cno__h2_window_overflow;

// `size` bytes of a stream's body were used up; more than it holds are not.
void cno__h2_give_back(struct cno_connection_t *, struct cno_stream_t *, uint32_t size);
// Announces receive windows that are half used up: that of the connection, and of `s` if not NULL.
int cno__h2_open_window(struct cno_connection_t *, struct cno_stream_t *);
int cno__h2_on_window_update(struct cno_connection_t *, struct cno__frame *);

// ---- headers.c ---------------------------------------------------------------------------------

extern const struct cno__fault cno__h2_length_mismatch;

int cno__h2_headers(struct cno_connection_t *, struct cno__frame *);
int cno__h2_push_promise(struct cno_connection_t *, struct cno__frame *);
int cno__h2_continuation(struct cno_connection_t *, struct cno__frame *);
// END_STREAM came: the body is as long as it was said to be, and the message is complete.
int cno__h2_finish_reading(struct cno_connection_t *, struct cno_stream_t *,
                           const struct cno_tail_t *);

// ---- priority.c --------------------------------------------------------------------------------

// What a PRIORITY_UPDATE said of a stream that is not begun.
struct cno__early {
    uint32_t id;
    uint8_t priority;
};

int cno__h2_priority_update(struct cno_connection_t *, const struct cno__frame *);
// A stream of the client's begins: what was said of it before holds.
void cno__h2_priority_begin(struct cno_connection_t *, struct cno_stream_t *);

// ---- block.c -----------------------------------------------------------------------------------

// The pseudo-fields of a message and those of the caller's fields that HTTP/2 sends, in order.
struct cno__block {
    struct cno_header_t list[CNO_MAX_HEADERS_OUT + 4];
    size_t count;
    struct cno__out_meta meta;
    int is_connect;  // and no extended one: without :scheme and :path (RFC 9113 section 8.5)
    char status[3];
};

// Fills the block for a message. `is_tunnel`: the response grants one, and has no length.
int cno__h2_make_block(struct cno__block *, const struct cno_message_t *, int is_tunnel);
// Encodes fields as HEADERS or, when `promised` is set, as PUSH_PROMISE, and CONTINUATION where
// needed.
int cno__h2_write_block(struct cno_connection_t *, uint8_t flags, uint32_t stream,
                        uint32_t promised, const struct cno_header_t *list, size_t count);

// ---- send.c ------------------------------------------------------------------------------------

int cno__h2_write_frame(struct cno_connection_t *, uint8_t type, uint8_t flags, uint32_t stream,
                        const void *payload, size_t size);
// A frame whose payload is one number.
int cno__h2_write_number(struct cno_connection_t *, uint8_t type, uint32_t stream, uint32_t number);
// `last` is lowered to what was announced before (RFC 9113 section 6.8).
int cno__h2_write_goaway(struct cno_connection_t *, uint32_t last, uint32_t code, const char *text);
int cno__h2_write_head(struct cno_connection_t *, struct cno_stream_t *,
                       const struct cno_message_t *, size_t size, int final);
int cno__h2_write_push(struct cno_connection_t *, struct cno_stream_t *,
                       const struct cno_message_t *);
// Returns how many bytes the windows have let through.
int cno__h2_write_data(struct cno_connection_t *, struct cno_stream_t *, const char *, size_t size,
                       int final);
int cno__h2_write_tail(struct cno_connection_t *, struct cno_stream_t *, const struct cno_tail_t *);
// RST_STREAM and the end of the stream.
int cno__h2_reset(struct cno_connection_t *, struct cno_stream_t *, uint32_t code);
