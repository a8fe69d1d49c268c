// PRIVATE: the state of one connection that does not depend on its protocol: input and output,
// budgets, faults, the end. Knows neither streams nor HTTP/1 nor HTTP/2: what these do for it is in
// struct cno__protocol.
#pragma once

#include "config.h"
#include "core.h"
#include "message/fault.h"

// What an internal step returns besides CNO_OK and CNO_ERROR.
enum {
    CNO__MORE = 1,      // the bytes at hand are not enough to go on
    CNO__REFUSED = -2,  // the peer broke the protocol, as cno_error() says; core.c tells the peer
};

// Life of a connection. H1 may become H2 (h2/upgrade.c), and each becomes OVER.
enum CNO_MODE { CNO_MODE_NEW, CNO_MODE_H1, CNO_MODE_H2, CNO_MODE_OVER };

enum CNO_CONN_FLAGS {
    CNO_CONN_SNIFF = 1,         // h1 server: the first bytes may be the HTTP/2 preface
    CNO_CONN_CLOSING = 2,       // no new exchanges; on_close when the last one has ended
    CNO_CONN_CONSUMING = 4,     // cno_consume is under way
    CNO_CONN_SETTINGS = 8,      // h2: the peer's SETTINGS have come
    CNO_CONN_EXPECT = 16,       // h1 server: the client waits for 100 and has sent no body yet
    CNO_CONN_EOF = 32,          // the transport has ended
    CNO_CONN_REQUEST_1_0 = 64,  // h1 server: the request under way is HTTP/1.0
    CNO_CONN_KEEP_ALIVE = 128,  // h1 server: that request has the option keep-alive
};

// The value of c->goaway while no GOAWAY was sent, or received.
#define CNO__NO_GOAWAY UINT32_MAX

#define CNO__STREAM_MAX 0x7fffffffu

// The input that is being read. cno__take advances c->offset with it.
struct cno__input {
    const char *data;
    size_t size;
};

struct cno_stream_t;

// The functions of one protocol that conn.c, stream.c and core.c call: c->protocol, set together
// with c->mode.
struct cno__protocol {
    // Understands one more piece of the input: CNO_OK, CNO__MORE, CNO__REFUSED or CNO_ERROR.
    int (*step)(struct cno_connection_t *, struct cno__input *);
    // Whether `size` more bytes (not 0) behind those of c->in cannot complete what c->in begins.
    int (*waits)(struct cno_connection_t *, const char *data, size_t size);
    // How many of `size` more bytes to copy behind those of c->in (at least 1 of them) before the
    // next step, so that bodies are not copied.
    size_t (*part)(const struct cno_connection_t *, size_t size);
    // The transport has ended; c->in is the rest of the input.
    int (*eof)(struct cno_connection_t *);
    // Tells the peer of the fault *error that ends the connection, and clears error->wire if it
    // cannot. `unread` begins with the input that was refused; `refused` is storage for c->refused.
    // Returns the code that the streams end with.
    uint32_t (*tell)(struct cno_connection_t *, const struct cno__input *unread,
                     struct cno_error_t *error, struct cno_message_t *refused);
    // These do what the public functions of the same names do, for a stream whose state was
    // checked. write_data returns how many bytes were taken.
    int (*write_head)(struct cno_connection_t *, struct cno_stream_t *,
                      const struct cno_message_t *, size_t size, int final);
    int (*write_data)(struct cno_connection_t *, struct cno_stream_t *, const char *data,
                      size_t size, int final);
    int (*write_tail)(struct cno_connection_t *, struct cno_stream_t *, const struct cno_tail_t *);
    int (*reset)(struct cno_connection_t *, struct cno_stream_t *, uint32_t code);
    // A stream has ended that held bytes of the connection's window (s->held).
    int (*released)(struct cno_connection_t *, struct cno_stream_t *);
    // The last stream of a closing connection has ended: writes the last frame for the peer, if
    // any.
    int (*farewell)(struct cno_connection_t *);
};

static inline int cno__is_server(const struct cno_connection_t *c) {
    return c->kind == CNO_SERVER;
}

// Keeps the result of an event for cno_error(). CNO_ERROR stands for a call of the engine that
// failed inside of the event, which has set cno_error() already.
static inline int cno__fired(int result) {
    if (result && result != CNO_ERROR)
        cno_error_set(result, "event", "an event returned %d", result);
    return result;
}

// Calls an event, if the caller wants it.
#define CNO__FIRE(c, event, ...) \
    ((c)->cb_code && (c)->cb_code->event \
         ? cno__fired((c)->cb_code->event((c)->cb_data, ##__VA_ARGS__)) \
         : 0)

// ---- budgets -----------------------------------------------------------------------------------
// The work that a peer may cause for nothing, counted without a clock (RFC 9113 section 10.5).
//
// There are two counters per connection. `resets` is spent by RST_STREAM of a client on a stream
// whose response has not begun (CVE-2023-44487: work for nothing), and by every stream that the
// engine resets because the peer broke a rule on it, however far its response is (CVE-2025-8671). A
// client that leaves a response after its final head was written spends nothing: a browser does so
// with every stream of events. `overhead` is spent by frames that carry no message: SETTINGS, PING,
// GOAWAY, PRIORITY, WINDOW_UPDATE, unknown types, empty or tiny DATA and CONTINUATION, 1xx, frames
// on streams that have ended. Both are refilled by useful work (a complete response, a body that
// makes progress), so that an honest client never exhausts a budget, however long its connection
// lives. An exhausted budget ends the connection with ENHANCE_YOUR_CALM.

// Spends one unit. Returns 0, or -1 when none is left.
static inline int cno__budget_spend(uint16_t *budget) {
    if (!*budget)
        return -1;
    --*budget;
    return 0;
}

// Adds units, up to `limit`, which fits in 16 bits.
static inline void cno__budget_refill(uint16_t *budget, uint32_t units, uint32_t limit) {
    *budget = (uint16_t)(limit - *budget < units ? limit : *budget + units);
}

// ---- limits ------------------------------------------------------------------------------------

extern const struct cno_limits_t cno__limits_default;

// Copies those members of `from` that are not 0. Returns 0, or -1 when one is out of its range;
// then no limit has changed.
int cno__limits_set(struct cno_limits_t *to, const struct cno_limits_t *from);

// ---- input and faults --------------------------------------------------------------------------

static inline void cno__take(struct cno_connection_t *c, struct cno__input *in, size_t size) {
    in->data += size;
    in->size -= size;
    c->offset += size;
}

// Reads all of `in`. When that ends early, `in` is the input that was not understood, as far as it
// is at hand. CNO_OK, CNO__REFUSED or CNO_ERROR.
int cno__feed(struct cno_connection_t *, struct cno__input *in);

// Sets cno_error() to a fault of the peer, `at` bytes beyond c->offset; core.c tells the peer.
// Returns CNO__REFUSED.
int cno__refuse(struct cno_connection_t *, const struct cno__fault *, size_t at);

// Tells on_fault of an error that only costs one stream; `wire` is what the peer is told.
int cno__tell_fault(struct cno_connection_t *, uint32_t stream, const struct cno__fault *,
                    uint32_t wire);

// ---- output and the end ------------------------------------------------------------------------

// Gives the output in c->out to on_writev, and behind it, without a copy, `count` more views.
int cno__flush_with(struct cno_connection_t *, const struct cno_buffer_t *, size_t count);

static inline int cno__flush(struct cno_connection_t *c) {
    return c->out.size ? cno__flush_with(c, NULL, 0) : CNO_OK;
}

// Fires on_close once no stream is left of a closing connection.
int cno__close_if_idle(struct cno_connection_t *);
