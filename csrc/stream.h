// PRIVATE: the streams of a connection. An exchange of HTTP/1 is a stream as well.
#pragma once

#include "conn.h"
#include "message/message.h"

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
    uint8_t priority;     // as in message/priority.h
    uint64_t read_left;
    uint64_t write_left;
    int64_t window_recv, window_send;
    uint32_t held;  // bytes of body that cno_open_flow has not given back
};

// Whether no stream of this id was begun (RFC 9113 section 5.1).
static inline int cno__is_idle(const struct cno_connection_t *c, uint32_t id) {
    int remote = (id & 1) == (uint32_t)cno__is_server(c);
    return id > c->last_stream[remote ? CNO_REMOTE : CNO_LOCAL];
}

// Whether an answer with this status makes a tunnel of a stream.
static inline int cno__grants_tunnel(const struct cno_stream_t *s, int status) {
    return s->tunnel == CNO_TUNNEL_ASKED &&
           (s->method == CNO__METHOD_CONNECT ? status >= 200 && status < 300 : status == 101);
}

// ---- the map -----------------------------------------------------------------------------------

struct cno_stream_t *cno__stream_find(const struct cno_connection_t *, uint32_t id);

// Puts a new stream in the map and fires on_stream_start. NULL: cno_error() says why.
struct cno_stream_t *cno__stream_new(struct cno_connection_t *, uint32_t id,
                                     enum CNO_PEER_KIND initiator, enum CNO_STREAM_STATE);

// Calls `visit` for each stream; it must not make or close any.
int cno__stream_each(struct cno_connection_t *,
                     int (*visit)(struct cno_connection_t *, struct cno_stream_t *, void *),
                     void *argument);

void cno__stream_release_dead(struct cno_connection_t *);
void cno__stream_free_all(struct cno_connection_t *);

// ---- states ------------------------------------------------------------------------------------

// The one place where a stream's state changes.
void cno__stream_set(struct cno_stream_t *, enum CNO_STREAM_STATE);

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

// ---- streams that have ended -------------------------------------------------------------------

// How a remote stream, closed now, came to be so. Frames on it are a fault of the peer only if it
// knew.
enum CNO_CLOSED { CNO_CLOSED_BY_US, CNO_CLOSED_BY_PEER, CNO_CLOSED_UNUSED };
enum CNO_CLOSED cno__stream_closed(const struct cno_connection_t *, uint32_t id);

// Whether we reset this one of our own streams, which is closed. Long ago counts as yes.
int cno__stream_was_cancelled(const struct cno_connection_t *, uint32_t id);

// The peer's newest stream id, whether we open it or not; those it left out are closed
// (section 5.1.1).
void cno__stream_skip(struct cno_connection_t *, uint32_t id);

// ---- calls about a stream ----------------------------------------------------------------------

// The error of a call about a stream that is not there.
int cno__gone(uint32_t stream);

// Whether the head of a stream is still to be written; if not, the error of writing another.
int cno__is_headless(const struct cno_stream_t *);

// Client: the stream of a request that may be written now, or NULL and an error. Begins it unless
// that is what is going on.
struct cno_stream_t *cno__request_stream(struct cno_connection_t *, uint32_t id,
                                         const struct cno_message_t *, size_t size, int final);
