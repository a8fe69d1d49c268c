// One HTTP connection, either side, HTTP/1 or HTTP/2: octets in, events and octets out.
//
// The life of a connection: cno_init, set cb_code and cb_data, cno_begin, then cno_consume for
// whatever was read and cno_write_* for whatever is to be said, cno_eof when the transport is gone,
// cno_fini. No sockets, no clock, no threads. A connection belongs to one thread at a time.
#pragma once

#include "common.h"
#include "hpack.h"
#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

enum CNO_CONNECTION_KIND { CNO_SERVER = 0, CNO_CLIENT = 1 };

enum CNO_HTTP_VERSION { CNO_HTTP1 = 1, CNO_HTTP2 = 2 };

enum CNO_PEER_KIND { CNO_REMOTE = 0, CNO_LOCAL = 1 };

// RFC 9113 section 7.
enum CNO_RST_STREAM_CODE {
    CNO_RST_NO_ERROR = 0x0,
    CNO_RST_PROTOCOL_ERROR = 0x1,
    CNO_RST_INTERNAL_ERROR = 0x2,
    CNO_RST_FLOW_CONTROL_ERROR = 0x3,
    CNO_RST_SETTINGS_TIMEOUT = 0x4,
    CNO_RST_STREAM_CLOSED = 0x5,
    CNO_RST_FRAME_SIZE_ERROR = 0x6,
    CNO_RST_REFUSED_STREAM = 0x7,
    CNO_RST_CANCEL = 0x8,
    CNO_RST_COMPRESSION_ERROR = 0x9,
    CNO_RST_CONNECT_ERROR = 0xa,
    CNO_RST_ENHANCE_YOUR_CALM = 0xb,
    CNO_RST_INADEQUATE_SECURITY = 0xc,
    CNO_RST_HTTP_1_1_REQUIRED = 0xd,
};

// RFC 9113 section 6.5.2, in the order of their identifiers.
struct cno_settings_t {
    uint32_t header_table_size;
    uint32_t enable_push;
    uint32_t max_concurrent_streams;
    uint32_t initial_window_size;
    uint32_t max_frame_size;
    uint32_t max_header_list_size;
    uint32_t enable_connect_protocol;  // RFC 8441 section 3; only a server says it
    uint32_t no_rfc7540_priorities;    // RFC 9218 section 2.1
};

// What a peer may ask of us before it is refused. config.h has the default of each and the reason for
// it; in cno_limit a member that is 0 stays as it is.
struct cno_limits_t {
    uint32_t fields;             // of a message in; pseudo-fields and cookie crumbs count; 4 to 512
    uint32_t line;               // HTTP/1: octets of a request line
    uint32_t head;               // HTTP/1: octets of a head
    uint32_t drain;              // HTTP/1: octets of body read behind a complete answer
    uint32_t pipelined;          // HTTP/1: octets kept while an exchange is unfinished
    uint32_t connection_window;  // HTTP/2: octets of body unacknowledged; 65535 to 2^31-1
    uint32_t promises;           // HTTP/2 client: promised streams that have not ended
    uint32_t resets;  // HTTP/2: streams reset before their response, less those answered; to 65535
    uint32_t overhead;  // HTTP/2: frames that carry nothing; to 65535
};

enum CNO_MESSAGE_FLAGS {
    CNO_MESSAGE_FINAL = 1,     // in: no body and no trailers follow
    CNO_MESSAGE_EXPECT = 2,    // in: the client waits for 100 (RFC 9110 section 10.1.1)
    CNO_MESSAGE_HTTP1_0 = 4,   // in: the peer speaks HTTP/1.0
    CNO_MESSAGE_TRAILERS = 8,  // in: the client takes trailers (RFC 9110 section 10.1.4)
    CNO_MESSAGE_UPGRADE = 16,  // in: a request for a tunnel, or the response that grants one
};

// A request or a response head. Requests have code 0. The fields of a request start with `:scheme`
// ("unknown" on HTTP/1) and `:authority`; `:method`, `:path` and `:status` are never among them.
// Names are lower-case on the way in, and on the way out too where HTTP/2 is spoken.
struct cno_message_t {
    int code;                    // status, 100-999
    struct cno_buffer_t method;  // an HTTP/1 response: the reason phrase, empty for the usual one
    struct cno_buffer_t path;    // the request target as it was on the wire
    struct cno_header_t *headers;
    size_t headers_len;
    uint32_t flags;  // enum CNO_MESSAGE_FLAGS
};

// Tunnels. A request asks for one by CONNECT (RFC 9110 section 9.3.6; with `:protocol` on HTTP/2,
// RFC 8441), which any 2xx grants, or by an HTTP/1.1 Upgrade (section 7.8), which 101 grants. Such a
// request has no body. On HTTP/1 nothing behind its head is understood until it is answered. Once
// granted, on_message_data and cno_write_data carry octets that have no framing (on HTTP/2: DATA
// frames). On HTTP/1 the first side to end, by cno_write_data or cno_eof, ends the connection; on HTTP/2
// each direction ends by itself. Any other answer leaves an HTTP exchange: on HTTP/1 the tail of the
// request is told when that answer is written, and the connection ends with one to CONNECT.

// A list of fields that somebody else owns.
struct cno_fields_t {
    const struct cno_header_t *list;
    size_t count;
};

struct cno_tail_t {
    struct cno_header_t *headers;
    size_t headers_len;
};

// What a client says about the order in which it wants responses (RFC 9218 section 4).
struct cno_priority_t {
    uint8_t urgency;      // 0 is wanted first, 7 last
    uint8_t incremental;  // whether parts of it are of use: share the bandwidth with its like
};

struct cno_connection_t;

// The events. Any may be NULL. What a pointer argument points to is gone when the callback returns.
// A callback that returns non-zero ends the call it was made in, which returns CNO_ERROR with that
// code; if that was cno_consume, or the callback on_writev, the connection is over, for octets are
// lost. A stream whose start failed is gone. Calling cno_write_* and cno_open_flow from inside is
// fine, but for on_writev; cno_consume and cno_eof are not, nor is cno_fini.
struct cno_vtable_t {
    // Octets for the transport, in order: once per public call, more often only for bodies beyond
    // CNO_MAX_GATHER frames. The views of a body are the caller's own octets.
    int (*on_writev)(void *, const struct cno_buffer_t *, size_t count);
    // Nothing more will be said or understood: close the transport when all is written.
    int (*on_close)(void *);
    int (*on_stream_start)(void *, uint32_t stream);
    // `side` closed the stream last; `code` is of RFC 9113 section 7, 0 after a complete exchange.
    // REFUSED_STREAM from the remote side: a request of ours that was not processed (section 8.7),
    // by RST_STREAM or because a GOAWAY left it out; it may be made again on another connection.
    int (*on_stream_end)(void *, uint32_t stream, uint32_t code, enum CNO_PEER_KIND side);
    // More may be written: on one stream, or (0) on all.
    int (*on_flow_increase)(void *, uint32_t stream);
    int (*on_message_head)(void *, uint32_t stream, const struct cno_message_t *);
    // The message is complete. NULL: it had no trailer section. Fields that have no place in one are
    // not told.
    int (*on_message_tail)(void *, uint32_t stream, const struct cno_tail_t *);
    int (*on_message_data)(void *, uint32_t stream, const char *data, size_t size);
    int (*on_message_push)(void *, uint32_t stream, const struct cno_message_t *, uint32_t parent);
    int (*on_settings)(void *);
    int (*on_pong)(void *, const char payload[8]);
    // The client of this stream wants another order now. What a request began with is not told:
    // cno_priority has it from on_message_head on.
    int (*on_priority)(void *, uint32_t stream, const struct cno_priority_t *);
    // Something the peer sent was refused: on one stream, or (0) with the whole connection. For
    // logs; cno_refused says which request it was.
    int (*on_fault)(void *, uint32_t stream, const struct cno_error_t *);
};

struct cno_stream_t;
struct cno__early;
struct cno__protocol;

enum CNO_CONNECTION_OPTIONS {
    CNO_MANUAL_FLOW = 1,         // the windows of streams are reopened by cno_open_flow alone
    CNO_NO_PRIOR_KNOWLEDGE = 2,  // an HTTP/1 server does not turn to HTTP/2 at its preface
    CNO_OFFER_UPGRADE = 4,  // a server is told of Upgrade: CNO_MESSAGE_UPGRADE, and no tail yet
    // HTTP/1 turns to HTTP/2 by Upgrade (RFC 7540 section 3.2): a server at the client's wish, a client
    // asks for it with its first request, if that has no body.
    CNO_H2C_UPGRADE = 8,
    // Beside CNO_MANUAL_FLOW: and so is the window of the connection, so that all streams together
    // leave no more unused than it holds. One that is not read then keeps the others waiting.
    CNO_MANUAL_CONNECTION_FLOW = 16,
};

// Reserve one, zeroed by cno_init. Only the first four members are the caller's; the rest is
// private.
struct cno_connection_t {
    const struct cno_vtable_t *cb_code;
    void *cb_data;
    // Server: fields such as `date` and `server` for the responses that the engine writes by itself to
    // requests that it refuses (400, 414, 431, 501, 505); NULL for none. The structure and the fields
    // are the caller's, may change between calls, and are read whenever such a response is written.
    // Names are lower-case. Fields about the content, the framing and the connection are left out; if
    // any field cannot be sent, or there are more than CNO_MAX_DEFAULTS, all are.
    const struct cno_fields_t *refusal_fields;
    uint32_t options;  // enum CNO_CONNECTION_OPTIONS; between cno_init and cno_begin

    uint8_t kind;  // enum CNO_CONNECTION_KIND
    uint8_t mode;  // enum CNO_MODE of conn.h
    uint8_t
        read;  // what the next octets are: enum CNO_H1_READ of h1/h1.h or CNO_H2_READ of h2/h2.h
    uint8_t flags;            // enum CNO_CONN_FLAGS of conn.h
    uint8_t depth;            // public calls under way, nested ones included
    uint8_t version;          // enum CNO_HTTP_VERSION
    uint8_t blank;            // h1: blank lines skipped before the request line
    uint16_t continuations;   // h2: frames of the header block under way
    uint32_t last_stream[2];  // the highest stream id begun, by CNO_PEER_KIND
    uint32_t goaway[2];  // the last id that will be served, by who announced it; CNO__NO_GOAWAY
    uint32_t stream_count[2];
    uint32_t bucket_mask;
    const struct cno__protocol *protocol;  // what mode says: h1/ or h2/; NULL before cno_begin
    struct cno_stream_t **buckets;
    struct cno_stream_t *spare;           // freed streams, for the next ones
    struct cno_stream_t *dead;            // to be freed when the outermost call returns
    struct cno_stream_t *current;         // h1: the exchange under way
    struct cno__early *early;             // h2: priorities of streams not begun; NULL if none
    const struct cno_message_t *refused;  // during on_fault: what cno_refused returns
    char *offer;                          // h1 client: what the last Upgrade offered; NULL if none
    struct cno_settings_t settings[2];    // in force, by whose they are
    struct cno_settings_t pending;        // ours that the peer has not acknowledged
    uint32_t settings_unacked;
    uint32_t block_stream;    // h2: whose header block is being collected
    uint32_t block_promised;  // h2 client: what its PUSH_PROMISE promises; else 0
    uint32_t data_stream;     // h2: whose DATA frame is being read
    uint32_t data_left;       // h2: octets of it to come, padding excluded
    uint32_t pad_left;        // h2: octets of padding to come
    uint8_t block_flags, data_flags;
    uint16_t budget_resets, budget_overhead;
    uint16_t early_count, early_room;  // of `early`
    int64_t window_recv, window_send;  // of the connection
    uint32_t held;                     // of window_recv, by all streams
    struct cno_limits_t limits;
    uint32_t head_scanned;      // h1: octets of the head under way that hold no end of it
    uint64_t offset;            // octets of input understood so far
    uint64_t body_left;         // h1: octets of body or chunk to come
    uint64_t drained;           // h1: octets of body read after the answer was complete
    uint32_t chunk_extensions;  // h1: octets of them in this body
    uint8_t closed[64];         // h2: how the latest remote streams ended, two bits each
    uint64_t cancelled;         // h2: which of our latest streams we reset, a bit each
    struct cno__bytes in;       // input that waits for more
    struct cno__bytes block;    // h2: fragments of a header block
    struct cno__bytes out;      // output that was not handed over yet
    struct cno_hpack_t decoder, encoder;
};

// ---- life --------------------------------------------------------------------------------------

// Never fails and allocates nothing.
void cno_init(struct cno_connection_t *, enum CNO_CONNECTION_KIND);

// Releases everything. No events.
void cno_fini(struct cno_connection_t *);

// Replaces our settings (RFC 9113 section 6.5.2); on a running HTTP/2 connection they are sent and
// take effect when acknowledged. Errors: ASSERTION when a value is out of its range, or changed that
// may not be (enable_connect_protocol back to 0, no_rfc7540_priorities), WOULD_BLOCK until those before
// are acknowledged.
int cno_configure(struct cno_connection_t *, const struct cno_settings_t *);

// How many SETTINGS frames of ours the peer has not acknowledged. A caller that has waited long enough
// for 0 may end the connection by cno_write_reset(c, 0, CNO_RST_SETTINGS_TIMEOUT) (RFC 9113
// section 6.5.3).
uint32_t cno_settings_unacked(const struct cno_connection_t *);

// Changes limits, between cno_init and cno_begin. Errors: ASSERTION when one is out of its range or
// it is too late; nothing has changed then.
int cno_limit(struct cno_connection_t *, const struct cno_limits_t *);

// The transport is up. CNO_HTTP1 on a server also accepts the HTTP/2 preface (RFC 9113 section 3.3)
// unless CNO_NO_PRIOR_KNOWLEDGE is set; CNO_HTTP2 is what ALPN or a client chose.
int cno_begin(struct cno_connection_t *, enum CNO_HTTP_VERSION);

// Octets from the transport; takes all of them. An empty call goes on with what was kept while an
// HTTP/1 exchange was unfinished (cno_pending tells). Errors: PROTOCOL after the peer was told,
// WOULD_BLOCK when too much is kept already (nothing was taken), DISCONNECT after the end.
int cno_consume(struct cno_connection_t *, const char *data, size_t size);

// In on_fault of a server: the request that was refused, for an access log, with as much of its method and
// its path as was understood: each is empty if it is not known or has octets that it cannot have, and of a
// request line above the limit the path may be only the beginning. No fields. NULL when it was no request
// head that was refused, and outside of on_fault.
const struct cno_message_t *cno_refused(const struct cno_connection_t *);

// Octets that are kept until the exchange before them is over, or its tunnel is granted.
size_t cno_pending(const struct cno_connection_t *);

// The transport will give no more. Ends every stream with CANCEL, then either on_close or the error
// PROTOCOL when streams were cut.
int cno_eof(struct cno_connection_t *);

// No new streams; on_close when the last one has ended. HTTP/2: GOAWAY, `final` = 1 names the last
// stream of the peer that is served, `final` = 0 (id 2^31-1, RFC 9113 section 6.8) refuses none yet:
// a server serves on until the call with 1, a client takes what is still promised to it. HTTP/1,
// whatever `final` is: the answer under way, or the next, says `connection: close`. A client's
// requests fail from then on, and from the server's GOAWAY on, with DISCONNECT `closing`.
int cno_shutdown(struct cno_connection_t *, int final);

// Whether a client's request would fail with DISCONNECT: before cno_begin, after the end, and from the
// moment on in which either side has announced it. Streams may still be under way.
int cno_closing(const struct cno_connection_t *);

// Which version is spoken: enum CNO_HTTP_VERSION.
int cno_version(const struct cno_connection_t *);

// Server, HTTP/2: what the `priority` field of the request said, or the latest PRIORITY_UPDATE since;
// urgency 3 and not incremental for a stream of which nothing is known.
struct cno_priority_t cno_priority(const struct cno_connection_t *, uint32_t stream);

// ---- writing -----------------------------------------------------------------------------------
// Errors of all: INVALID_STREAM when the stream is gone, ASSERTION for what the contract forbids
// (octets that a field cannot hold, a body longer or shorter than its content-length, a head
// twice), DISCONNECT after the end. None of these harms the connection; NO_MEMORY ends it.

// Client: the id for the next request. Server: for the next push. Above 2^31-1 there are none left:
// requests fail with DISCONNECT `no-stream-ids`.
uint32_t cno_next_stream(const struct cno_connection_t *);

// A request or response head; `final` when nothing follows. The path of a request begins with `/`, or
// is `*` for OPTIONS, or on HTTP/1 a whole http or https URI. A response, and 1xx heads before it, can
// be written from on_message_head of its request on. Framing is the engine's: transfer-encoding and
// connection-specific fields of the caller are dropped (but `connection: close` is honoured on
// HTTP/1), chunked or content-length: 0 added where needed, and the connection options for `upgrade`
// and `te`. A request for a tunnel (CONNECT, whose target may be the path, `:authority`, or both;
// `upgrade` on HTTP/1) has no body, and `final` means nothing to it on HTTP/1; `:protocol` needs
// HTTP/2 and the peer's ENABLE_CONNECT_PROTOCOL, WOULD_BLOCK until its settings are known.
int cno_write_head(struct cno_connection_t *, uint32_t stream, const struct cno_message_t *,
                   int final);

// A head and its body, or as much of it as the windows allow, in one: cno_write_head, then
// cno_write_data. Returns how many octets of the body were taken. What Content-Length says is
// checked against the body before anything is written.
int cno_write_message(struct cno_connection_t *, uint32_t stream, const struct cno_message_t *,
                      const char *data, size_t size, int final);

// Promises a response on a new stream. Does nothing where push is impossible or unwanted.
int cno_write_push(struct cno_connection_t *, uint32_t parent, const struct cno_message_t *);

// Returns how many octets were taken: all, or on HTTP/2 what the windows allow. `final` applies
// only if all were taken; if not, wait for on_flow_increase and write the rest. An HTTP/1 client's
// tunnel that is not granted yet says WOULD_BLOCK.
int cno_write_data(struct cno_connection_t *, uint32_t stream, const char *data, size_t size,
                   int final);

// Ends the message with trailers (RFC 9110 section 6.5); fields that have no place behind the
// content (framing, routing, authentication, request and response controls, content format; section
// 6.5.1) are ASSERTION there. HTTP/1: dropped unless the body is chunked.
int cno_write_tail(struct cno_connection_t *, uint32_t stream, const struct cno_tail_t *);

// RST_STREAM; on HTTP/1 the connection ends. Stream 0 is all of them, and the connection: GOAWAY with
// this code, every stream ends with it, on_close; with NO_ERROR the same as cno_shutdown(c, 1).
int cno_write_reset(struct cno_connection_t *, uint32_t stream, enum CNO_RST_STREAM_CODE);

// PING (on_pong answers). HTTP/1: nothing.
int cno_write_ping(struct cno_connection_t *, const char payload[8]);

// With CNO_MANUAL_FLOW: `size` octets of this stream's body were used up. Windows are announced again
// when half of one is; what a stream held is given back to the connection when it ends.
int cno_open_flow(struct cno_connection_t *, uint32_t stream, uint32_t size);

#ifdef __cplusplus
}
#endif
