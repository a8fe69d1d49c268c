// PRIVATE: the streams of a connection. An exchange of HTTP/1 is a stream as well.
#pragma once

#include "conn.h"
#include "message/message.h"

// The states of RFC 9113 section 5.1, figure 2, from the side of this endpoint. HTTP/1 exchanges
// use the same states.
enum CNO_STREAM_STATE {
    CNO_STREAM_IDLE,
    CNO_STREAM_RESERVED_LOCAL,   // this server promised the stream
    CNO_STREAM_RESERVED_REMOTE,  // the server promised it to this client
    CNO_STREAM_OPEN,
    CNO_STREAM_HALF_LOCAL,   // our message is complete
    CNO_STREAM_HALF_REMOTE,  // the peer's message is complete
    CNO_STREAM_CLOSED,
};

// The progress of the message in one direction.
enum CNO_PROGRESS { CNO_AT_HEAD, CNO_AT_BODY, CNO_AT_END };

// How a body that is written tells its end (RFC 9112 section 6).
enum CNO_FRAMING {
    CNO_FRAMING_NONE,  // the response has no body: bytes of the caller are dropped
    CNO_FRAMING_LENGTH,
    CNO_FRAMING_CHUNKED,
    CNO_FRAMING_CLOSE,
    CNO_FRAMING_FRAMES,  // HTTP/2 DATA
};

// Whether the stream is a tunnel (RFC 9110 sections 7.8 and 9.3.6).
enum CNO_TUNNEL {
    CNO_TUNNEL_NONE,
    CNO_TUNNEL_ASKED,  // the response decides
    CNO_TUNNEL_OPEN,
    CNO_TUNNEL_H2C,  // h1 client: a 101 response changes the connection to HTTP/2
};

struct cno_stream_t {
    struct cno_stream_t *next;  // in its bucket, or in the list of spare or dead streams
    uint32_t id;
    uint8_t state;        // enum CNO_STREAM_STATE; only cno__stream_set changes it
    uint8_t reading;      // enum CNO_PROGRESS
    uint8_t writing;      // enum CNO_PROGRESS
    uint8_t framing;      // enum CNO_FRAMING of the body that is written
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

// Whether the stream of this id has not begun (RFC 9113 section 5.1).
static inline int cno__is_idle(const struct cno_connection_t *c, uint32_t id) {
    int remote = (id & 1) == (uint32_t)cno__is_server(c);
    return id > c->last_stream[remote ? CNO_REMOTE : CNO_LOCAL];
}

// Whether a response with this status makes the stream a tunnel.
static inline int cno__grants_tunnel(const struct cno_stream_t *s, int status) {
    return s->tunnel == CNO_TUNNEL_ASKED &&
           (s->method == CNO__METHOD_CONNECT ? status >= 200 && status < 300 : status == 101);
}

// ---- the map -----------------------------------------------------------------------------------

struct cno_stream_t *cno__stream_find(const struct cno_connection_t *, uint32_t id);

// Adds a new stream to the map and fires on_stream_start. NULL on an error.
struct cno_stream_t *cno__stream_new(struct cno_connection_t *, uint32_t id,
                                     enum CNO_PEER_KIND initiator, enum CNO_STREAM_STATE);

// Calls `visit` for each stream; `visit` must not make or close streams.
int cno__stream_each(struct cno_connection_t *,
                     int (*visit)(struct cno_connection_t *, struct cno_stream_t *, void *),
                     void *argument);

void cno__stream_release_dead(struct cno_connection_t *);
void cno__stream_free_all(struct cno_connection_t *);

// ---- states ------------------------------------------------------------------------------------

// Changes the state of a stream. No other function writes `state`.
void cno__stream_set(struct cno_stream_t *, enum CNO_STREAM_STATE);

// The message of one side is complete. If that of the other side is too, the stream ends.
int cno__stream_half_close(struct cno_connection_t *, struct cno_stream_t *,
                           enum CNO_PEER_KIND side);

// Ends a stream in any state; `side` caused it. Fires on_stream_end.
int cno__stream_close(struct cno_connection_t *, struct cno_stream_t *, uint32_t code,
                      enum CNO_PEER_KIND side);

// Ends all streams, because the connection is over.
int cno__stream_close_all(struct cno_connection_t *, uint32_t code, enum CNO_PEER_KIND side);

// Ends those streams of one side whose ids are above `last` (RFC 9113 section 6.8).
int cno__stream_close_after(struct cno_connection_t *, uint32_t last, enum CNO_PEER_KIND initiator,
                            uint32_t code, enum CNO_PEER_KIND side);

// ---- streams that have ended -------------------------------------------------------------------

// How a stream of the peer ended. A frame on an ended stream is a fault of the peer only if the
// peer knew of the end.
enum CNO_CLOSED { CNO_CLOSED_BY_US, CNO_CLOSED_BY_PEER, CNO_CLOSED_UNUSED };
enum CNO_CLOSED cno__stream_closed(const struct cno_connection_t *, uint32_t id);

// Whether this endpoint reset a stream of its own that has ended. Yes for streams too old to be
// remembered.
int cno__stream_was_cancelled(const struct cno_connection_t *, uint32_t id);

// Notes the newest stream id of the peer, whether the stream is opened or refused; ids that the
// peer skipped count as ended (RFC 9113 section 5.1.1).
void cno__stream_skip(struct cno_connection_t *, uint32_t id);

// ---- calls about a stream ----------------------------------------------------------------------

// Sets the error of a call for a stream that is not there. Returns CNO_ERROR.
int cno__gone(uint32_t stream);

// Whether the head of a stream is still to be written. If not, sets the error for a second head.
int cno__is_headless(const struct cno_stream_t *);

// Client: the stream on which a request may be written now, or NULL on an error. Makes the stream
// unless the call comes from its on_stream_start.
struct cno_stream_t *cno__request_stream(struct cno_connection_t *, uint32_t id,
                                         const struct cno_message_t *, size_t size, int final);
