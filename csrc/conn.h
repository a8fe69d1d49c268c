// PRIVATE: the state of a connection and its streams, and what its parts call of each other.
#pragma once

#include "budget.h"
#include "chars.h"
#include "config.h"
#include "core.h"
#include "fault.h"
#include "flow.h"
#include "frame.h"
#include "message.h"

// What an internal step returns besides CNO_OK and CNO_ERROR.
enum {
    CNO__MORE = 1,      // the octets at hand are not enough to go on
    CNO__REFUSED = -2,  // the peer broke the protocol; cno_error() says how; core.c answers
};

enum CNO_MODE { CNO_MODE_NEW, CNO_MODE_H1, CNO_MODE_H2, CNO_MODE_OVER };

enum CNO_CONN_FLAGS {
    CNO_CONN_SNIFF = 1,         // h1 server: the first octets may be the HTTP/2 preface
    CNO_CONN_CLOSING = 2,       // no new exchanges; on_close when the last one has ended
    CNO_CONN_CONSUMING = 4,     // inside cno_consume
    CNO_CONN_SETTINGS = 8,      // h2: the peer's SETTINGS have come
    CNO_CONN_EXPECT = 16,       // h1 server: 100 was asked for and nothing of the body has come
    CNO_CONN_EOF = 32,          // the transport gave all it had
    CNO_CONN_REQUEST_1_0 = 64,  // h1 server: the request under way is HTTP/1.0
    CNO_CONN_KEEP_ALIVE = 128,  // h1 server: and asked for keep-alive by name
};

// c->goaway before any was sent or received.
#define CNO__NO_GOAWAY UINT32_MAX

#define CNO__STREAM_MAX 0x7fffffffu

// What the next octets of an HTTP/1 connection are.
enum CNO_H1_READ {
    CNO_H1_START,  // blank lines, then a head
    CNO_H1_HEAD,
    CNO_H1_LENGTH,  // body_left octets of body
    CNO_H1_CHUNK_LINE,
    CNO_H1_CHUNK,      // body_left octets of a chunk
    CNO_H1_CHUNK_END,  // its CRLF
    CNO_H1_TRAILERS,
    CNO_H1_UNTIL_EOF,  // client: a close-delimited body (RFC 9112 section 6.3)
    CNO_H1_WAIT,       // server: the next request, once this one is answered
    CNO_H1_TUNNEL,     // octets that are not HTTP
};

enum CNO_H2_READ { CNO_H2_PREFACE, CNO_H2_FRAME, CNO_H2_DATA };

// RFC 9113 section 5.1, figure 2, seen from this side. HTTP/1 exchanges use the same states.
enum CNO_STREAM_STATE {
    CNO_STREAM_IDLE,
    CNO_STREAM_RESERVED_LOCAL,   // we promised it
    CNO_STREAM_RESERVED_REMOTE,  // it was promised to us
    CNO_STREAM_OPEN,
    CNO_STREAM_HALF_LOCAL,   // we have said all
    CNO_STREAM_HALF_REMOTE,  // the peer has said all
    CNO_STREAM_CLOSED,
};

// How far a message in one direction is.
enum CNO_PROGRESS { CNO_AT_HEAD, CNO_AT_BODY, CNO_AT_END };

// How the end of a body we write is told (RFC 9112 section 6).
enum CNO_FRAMING {
    CNO_FRAMING_NONE,  // no body: what is written is counted and dropped
    CNO_FRAMING_LENGTH,
    CNO_FRAMING_CHUNKED,
    CNO_FRAMING_CLOSE,
    CNO_FRAMING_FRAMES,  // HTTP/2 DATA
};

// What becomes of a request that is no HTTP exchange (RFC 9110 sections 7.8 and 9.3.6).
enum CNO_TUNNEL {
    CNO_TUNNEL_NONE,
    CNO_TUNNEL_ASKED,  // the answer decides
    CNO_TUNNEL_OPEN,
    CNO_TUNNEL_H2C,  // an h1 client's: 101 turns the connection to HTTP/2
};

struct cno_stream_t {
    struct cno_stream_t *next;  // in its bucket, or among the spare or dead ones
    uint32_t id;
    uint8_t state;        // enum CNO_STREAM_STATE; only cno__stream_set changes it
    uint8_t reading;      // enum CNO_PROGRESS
    uint8_t writing;      // enum CNO_PROGRESS
    uint8_t framing;      // enum CNO_FRAMING of what we write
    uint8_t method;       // enum CNO__METHOD of the request
    uint8_t read_sized;   // read_left counts down
    uint8_t write_sized;  // write_left counts down
    uint8_t initiator;    // enum CNO_PEER_KIND
    uint8_t tunnel;       // enum CNO_TUNNEL
    uint8_t priority;     // as in priority.h
    uint64_t read_left;
    uint64_t write_left;
    int64_t window_recv, window_send;
    uint32_t held;  // octets of body that cno_open_flow has not given back
};

// What a PRIORITY_UPDATE said of a stream that is not begun.
struct cno__early {
    uint32_t id;
    uint8_t priority;
};

static inline int cno__is_server(const struct cno_connection_t *c) {
    return c->kind == CNO_SERVER;
}

// Whether no stream of this id was begun (RFC 9113 section 5.1).
static inline int cno__is_idle(const struct cno_connection_t *c, uint32_t id) {
    int remote = (id & 1) == (uint32_t)cno__is_server(c);
    return id > c->last_stream[remote ? CNO_REMOTE : CNO_LOCAL];
}

// Octets of a stream's body were used up; more than it holds are not.
static inline void cno__give_back(struct cno_connection_t *c, struct cno_stream_t *s,
                                  uint32_t size) {
    size = size < s->held ? size : s->held;
    s->held -= size;
    if (c->options & CNO_MANUAL_CONNECTION_FLOW)
        c->held -= size;
}

// Keeps what an event returned for cno_error(). CNO_ERROR stands for a call of ours that failed inside
// and has set it already.
static inline int cno__fired(int result) {
    if (result && result != CNO_ERROR)
        cno_error_set(result, "event", "an event returned %d", result);
    return result;
}

// Whether an answer with this status makes a tunnel of a stream.
static inline int cno__grants_tunnel(const struct cno_stream_t *s, int status) {
    return s->tunnel == CNO_TUNNEL_ASKED &&
           (s->method == CNO__METHOD_CONNECT ? status >= 200 && status < 300 : status == 101);
}

// Calls an event, if anybody listens.
#define CNO__FIRE(c, event, ...) \
    ((c)->cb_code && (c)->cb_code->event \
         ? cno__fired((c)->cb_code->event((c)->cb_data, ##__VA_ARGS__)) \
         : 0)

// ---- stream.c ----------------------------------------------------------------------------------

struct cno_stream_t *cno__stream_find(const struct cno_connection_t *, uint32_t id);

// Puts a new stream in the map and fires on_stream_start. NULL: cno_error() says why.
struct cno_stream_t *cno__stream_new(struct cno_connection_t *, uint32_t id,
                                     enum CNO_PEER_KIND initiator, enum CNO_STREAM_STATE);

// The one place where a stream's state changes.
void cno__stream_set(struct cno_connection_t *, struct cno_stream_t *, enum CNO_STREAM_STATE);

// One side has said all it will; on_stream_end when the other had too.
int cno__stream_half_close(struct cno_connection_t *, struct cno_stream_t *,
                           enum CNO_PEER_KIND side);

// Both sides are through, whatever they had left to say; `side` caused it.
int cno__stream_close(struct cno_connection_t *, struct cno_stream_t *, uint32_t code,
                      enum CNO_PEER_KIND side);

// Closes all, the connection being over.
int cno__stream_close_all(struct cno_connection_t *, uint32_t code, enum CNO_PEER_KIND side);

// Closes those streams of one side that are above `last` (RFC 9113 section 6.8).
int cno__stream_close_after(struct cno_connection_t *, uint32_t last, enum CNO_PEER_KIND initiator,
                            uint32_t code, enum CNO_PEER_KIND side);

// Whether we reset this one of our own streams, which is closed. Long ago counts as yes.
int cno__stream_was_cancelled(const struct cno_connection_t *, uint32_t id);

// Calls `visit` for each stream; it must not make or close any.
int cno__stream_each(struct cno_connection_t *,
                     int (*visit)(struct cno_connection_t *, struct cno_stream_t *, void *),
                     void *argument);

// How a remote stream, closed now, came to be so. Frames on it are a fault of the peer only if it
// knew.
enum CNO_CLOSED { CNO_CLOSED_BY_US, CNO_CLOSED_BY_PEER, CNO_CLOSED_UNUSED };
enum CNO_CLOSED cno__stream_closed(const struct cno_connection_t *, uint32_t id);

// The peer's newest stream id, whether we open it or not; those it left out are closed
// (section 5.1.1).
void cno__stream_skip(struct cno_connection_t *, uint32_t id);

void cno__stream_release_dead(struct cno_connection_t *);
void cno__stream_free_all(struct cno_connection_t *);

// Fires on_close once no stream is left of a closing connection.
int cno__close_if_idle(struct cno_connection_t *);

// ---- core.c ------------------------------------------------------------------------------------

// Notes what the peer did wrong, for core.c to answer; `at` octets beyond c->offset. Returns
// CNO__REFUSED.
int cno__refuse(struct cno_connection_t *, const struct cno__fault *, size_t at);

// Tells on_fault of an error that only costs one stream; `wire` is what the peer is told.
int cno__tell_fault(struct cno_connection_t *, uint32_t stream, const struct cno__fault *,
                    uint32_t wire);

// Hands the gathered output to on_writev, and behind it, without a copy, `count` more views.
int cno__flush_with(struct cno_connection_t *, const struct cno_buffer_t *, size_t count);

static inline int cno__flush(struct cno_connection_t *c) {
    return c->out.size ? cno__flush_with(c, NULL, 0) : CNO_OK;
}

// The octets that are being read. Taking advances c->offset.
struct cno__input {
    const char *data;
    size_t size;
};

static inline void cno__take(struct cno_connection_t *c, struct cno__input *in, size_t size) {
    in->data += size;
    in->size -= size;
    c->offset += size;
}

// The error of a call about a stream that is not there.
int cno__gone(uint32_t stream);

// Whether the head of a stream is still to be written; if not, the error of writing another.
int cno__is_headless(const struct cno_stream_t *);

// Whether a body of `size` octets, or of at least that if not `final`, is what Content-Length
// promises.
int cno__check_length(const struct cno__out_meta *, size_t size, int final);

// ---- request.c ---------------------------------------------------------------------------------

// The stream of a request that may be written now, or NULL and an error. Begins it unless that is what
// is going on.
struct cno_stream_t *cno__request_stream(struct cno_connection_t *, uint32_t id,
                                         const struct cno_message_t *, size_t size, int final);

// ---- h1.c --------------------------------------------------------------------------------------

// Understands one more piece of input: CNO_OK, CNO__MORE, CNO__REFUSED or CNO_ERROR.
int cno__h1_step(struct cno_connection_t *, struct cno__input *);
// Whether `size` octets, not 0, behind those of c->in have no line end, so that all of them wait for one.
int cno__h1_waits(struct cno_connection_t *, const char *data, size_t size);
int cno__h1_eof(struct cno_connection_t *);
// Keeps which protocols a request offers to upgrade to: 101 may name no other.
int cno__h1_keep_offer(struct cno_connection_t *, const struct cno_message_t *, const uint8_t *ids);
// The answer to a request for a tunnel is known: it is one, or the request is over.
int cno__h1_settle_tunnel(struct cno_connection_t *, struct cno_stream_t *, int status);

// ---- h1_send.c ---------------------------------------------------------------------------------

// `size` octets of body follow at once; with `final` they are all of it.
int cno__h1_write_head(struct cno_connection_t *, struct cno_stream_t *,
                       const struct cno_message_t *, size_t size, int final);
int cno__h1_write_data(struct cno_connection_t *, struct cno_stream_t *, const char *, size_t,
                       int final);
int cno__h1_write_tail(struct cno_connection_t *, struct cno_stream_t *, const struct cno_tail_t *);
// A whole answer of the engine's own to a request that it refuses.
int cno__h1_write_error(struct cno_connection_t *, int status, const char *text);

// ---- h2c.c -------------------------------------------------------------------------------------

// Whether a request without a body is to turn the connection to HTTP/2. Sets *fault when it asks for
// that in a form that is an error.
int cno__h2c_asked(const struct cno_connection_t *, const struct cno_message_t *,
                   const struct cno__meta *, const struct cno__fault **fault);
// Server: says 101, and goes on with this request as HTTP/2 on stream 1.
int cno__h2c_accept(struct cno_connection_t *, struct cno_stream_t *, struct cno_message_t *,
                    const struct cno__meta *);
// Client: the fields that ask for it, at most CNO__H2C_FIELDS octets. Returns the end of them.
char *cno__h2c_offer(const struct cno_connection_t *, char *at);
// Client: 101 came.
int cno__h2c_switch(struct cno_connection_t *, struct cno_stream_t *);

#define CNO__H2C_FIELDS 160

// ---- h2_recv.c ---------------------------------------------------------------------------------

// One setting of the peer: CNO_OK or CNO__REFUSED. Unknown ones are ignored (section 6.5.2).
int cno__h2_apply_setting(struct cno_connection_t *, uint32_t id, uint32_t value);
int cno__h2_step(struct cno_connection_t *, struct cno__input *);
// How many octets the unit at `data` needs to be understood; never those of a body.
size_t cno__h2_want(const struct cno_connection_t *, const char *data, size_t size);

extern const struct cno__fault cno__h2_idle_stream, cno__h2_ended_stream, cno__h2_self_dependency;

// A frame that carries no message: fine now and then. CNO_OK or CNO__REFUSED, as the next one.
int cno__h2_spend_overhead(struct cno_connection_t *);
// A stream that ends before its answer.
int cno__h2_spend_reset(struct cno_connection_t *);
// The peer broke the rules on one stream: it is reset, and the connection lives.
int cno__h2_refuse_stream(struct cno_connection_t *, struct cno_stream_t *,
                          const struct cno__fault *);
// A frame on a stream where the peer has nothing to say, or not yet (section 5.1).
int cno__h2_refuse_unreadable(struct cno_connection_t *, const struct cno_stream_t *);

// ---- h2_headers.c ------------------------------------------------------------------------------

extern const struct cno__fault cno__h2_length_mismatch;

int cno__h2_headers(struct cno_connection_t *, struct cno__frame *);
int cno__h2_push_promise(struct cno_connection_t *, struct cno__frame *);
int cno__h2_continuation(struct cno_connection_t *, struct cno__frame *);
// END_STREAM came: the body is as long as it was said to be, and the message is complete.
int cno__h2_finish_reading(struct cno_connection_t *, struct cno_stream_t *,
                           const struct cno_tail_t *);

// ---- h2_priority.c -----------------------------------------------------------------------------

int cno__h2_priority_update(struct cno_connection_t *, const struct cno__frame *);
// A stream of the client's begins: what was said of it before holds.
void cno__h2_priority_begin(struct cno_connection_t *, struct cno_stream_t *);

// ---- h2_send.c ---------------------------------------------------------------------------------

extern const char cno__preface[24];
extern const struct cno_settings_t cno__default_settings;  // before any are known

// Octets of a SETTINGS frame that has every setting once.
#define CNO__SETTINGS_SIZE 48

int cno__h2_begin(struct cno_connection_t *);
int cno__h2_write_frame(struct cno_connection_t *, uint8_t type, uint8_t flags, uint32_t stream,
                        const void *payload, size_t size);
// The payload of SETTINGS that turns `old` into `new`. Returns its size.
size_t cno__h2_settings(const struct cno_connection_t *, const struct cno_settings_t *old,
                        const struct cno_settings_t *new,
                        unsigned char payload[CNO__SETTINGS_SIZE]);
int cno__h2_write_settings(struct cno_connection_t *, const struct cno_settings_t *old);
// `last` is lowered to what was announced before (RFC 9113 section 6.8).
int cno__h2_write_goaway(struct cno_connection_t *, uint32_t last, uint32_t code, const char *text);
int cno__h2_write_head(struct cno_connection_t *, struct cno_stream_t *,
                       const struct cno_message_t *, size_t size, int final);
int cno__h2_write_push(struct cno_connection_t *, struct cno_stream_t *,
                       const struct cno_message_t *);
int cno__h2_write_data(struct cno_connection_t *, struct cno_stream_t *, const char *, size_t,
                       int final);
int cno__h2_write_tail(struct cno_connection_t *, struct cno_stream_t *, const struct cno_tail_t *);
// RST_STREAM and the end of the stream, spending the reset budget where the peer caused it.
int cno__h2_reset(struct cno_connection_t *, struct cno_stream_t *, uint32_t code);
// Announces receive windows that are half used up.
int cno__h2_open_window(struct cno_connection_t *, struct cno_stream_t *);
