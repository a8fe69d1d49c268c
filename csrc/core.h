// One HTTP connection, either side, HTTP/1 or HTTP/2: octets in, events and octets out.
//
// The life of a connection: cno_init, set cb_code and cb_data, cno_begin, then cno_consume for
// whatever was read and cno_write_* for whatever is to be said, cno_eof when the transport is gone,
// cno_fini. No sockets, no clock, no threads. A connection belongs to one thread at a time.
#pragma once

#include "common.h"
#include "hpack.h"

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

// RFC 9113 section 6.5.2, by identifier minus one.
struct cno_settings_t {
    uint32_t header_table_size;
    uint32_t enable_push;
    uint32_t max_concurrent_streams;
    uint32_t initial_window_size;
    uint32_t max_frame_size;
    uint32_t max_header_list_size;
};

enum CNO_MESSAGE_FLAGS {
    CNO_MESSAGE_FINAL = 1,     // in: no body and no trailers follow
    CNO_MESSAGE_EXPECT = 2,    // in: the client waits for 100 (RFC 9110 section 10.1.1)
    CNO_MESSAGE_HTTP1_0 = 4,   // in: the peer speaks HTTP/1.0
    CNO_MESSAGE_TRAILERS = 8,  // in: the client takes trailers (RFC 9110 section 10.1.4)
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

struct cno_tail_t {
    struct cno_header_t *headers;
    size_t headers_len;
};

struct cno_connection_t;

// The events. Any may be NULL. What a pointer argument points to is gone when the callback returns.
// A callback that returns non-zero ends the call it was made in, which returns CNO_ERROR with that
// code; if that was cno_consume, or the callback on_writev, the connection is over, for octets are
// lost. A stream whose start failed is gone. Calling cno_write_* and cno_open_flow from inside is
// fine, except from on_writev; cno_consume and cno_eof are not.
struct cno_vtable_t {
    // Octets for the transport, in order: once per public call, more often only for bodies beyond
    // CNO_MAX_GATHER frames. The views of a body are the caller's own octets.
    int (*on_writev)(void *, const struct cno_buffer_t *, size_t count);
    // Nothing more will be said or understood: close the transport when all is written.
    int (*on_close)(void *);
    int (*on_stream_start)(void *, uint32_t stream);
    // `side` closed the stream last; `code` is of RFC 9113 section 7, 0 after a complete exchange.
    int (*on_stream_end)(void *, uint32_t stream, uint32_t code, enum CNO_PEER_KIND side);
    // More may be written: on one stream, or (0) on all.
    int (*on_flow_increase)(void *, uint32_t stream);
    int (*on_message_head)(void *, uint32_t stream, const struct cno_message_t *);
    // The message is complete. NULL: it had no trailer section.
    int (*on_message_tail)(void *, uint32_t stream, const struct cno_tail_t *);
    int (*on_message_data)(void *, uint32_t stream, const char *data, size_t size);
    int (*on_message_push)(void *, uint32_t stream, const struct cno_message_t *, uint32_t parent);
    int (*on_settings)(void *);
    int (*on_pong)(void *, const char payload[8]);
    // Something the peer sent was refused: on one stream, or (0) with the whole connection. For
    // logs.
    int (*on_fault)(void *, uint32_t stream, const struct cno_error_t *);
};

struct cno_stream_t;

enum CNO_CONNECTION_OPTIONS {
    CNO_MANUAL_FLOW = 1,         // the windows of streams are reopened by cno_open_flow alone
    CNO_NO_PRIOR_KNOWLEDGE = 2,  // an HTTP/1 server does not turn to HTTP/2 at its preface
};

// Reserve one, zeroed by cno_init. Only the first three members are the caller's; the rest is
// private.
struct cno_connection_t {
    const struct cno_vtable_t *cb_code;
    void *cb_data;
    uint32_t options;  // enum CNO_CONNECTION_OPTIONS; between cno_init and cno_begin

    uint8_t kind;             // enum CNO_CONNECTION_KIND
    uint8_t mode;             // enum CNO_MODE of conn.h
    uint8_t read;             // what the next octets are: enum CNO_H1_READ or CNO_H2_READ of conn.h
    uint8_t flags;            // enum CNO_CONN_FLAGS of conn.h
    uint8_t depth;            // public calls under way, nested ones included
    uint8_t version;          // enum CNO_HTTP_VERSION
    uint8_t blank;            // h1: blank lines skipped before the request line
    uint16_t continuations;   // h2: frames of the header block under way
    uint32_t last_stream[2];  // the highest stream id begun, by CNO_PEER_KIND
    uint32_t goaway[2];       // the last id that will be served, by who announced it
    uint32_t stream_count[2];
    uint32_t bucket_mask;
    struct cno_stream_t **buckets;
    struct cno_stream_t *spare;         // freed streams, for the next ones
    struct cno_stream_t *dead;          // to be freed when the outermost call returns
    struct cno_stream_t *current;       // h1: the exchange under way
    struct cno_settings_t settings[2];  // in force, by whose they are
    struct cno_settings_t pending;      // ours that the peer has not acknowledged
    uint32_t settings_unacked;
    uint32_t block_stream;    // h2: whose header block is being collected
    uint32_t block_promised;  // h2 client: what its PUSH_PROMISE promises; else 0
    uint32_t reset_request;   // h2 client: the newest request that we reset
    uint32_t data_stream;     // h2: whose DATA frame is being read
    uint32_t data_left;       // h2: octets of it to come, padding excluded
    uint32_t pad_left;        // h2: octets of padding to come
    uint8_t block_flags, data_flags;
    uint16_t budget_resets, budget_overhead;
    int64_t window_recv, window_send;  // of the connection
    uint32_t window_target;            // what window_recv is brought back to
    uint32_t head_scanned;             // h1: octets of the head under way that hold no end of it
    uint64_t offset;                   // octets of input understood so far
    uint64_t body_left;                // h1: octets of body or chunk to come
    uint64_t drained;                  // h1: octets of body read after the answer was complete
    uint32_t chunk_extensions;         // h1: octets of them in this body
    uint8_t closed[64];                // h2: how the latest remote streams ended, two bits each
    struct cno__bytes in;              // input that waits for more
    struct cno__bytes block;           // h2: fragments of a header block
    struct cno__bytes out;             // output that was not handed over yet
    struct cno_hpack_t decoder, encoder;
};

// ---- life --------------------------------------------------------------------------------------

// Never fails and allocates nothing.
void cno_init(struct cno_connection_t *, enum CNO_CONNECTION_KIND);

// Releases everything. No events.
void cno_fini(struct cno_connection_t *);

// Replaces our settings (RFC 9113 section 6.5.2); on a running HTTP/2 connection they are sent and
// take effect when acknowledged. Errors: ASSERTION when a value is out of its range.
int cno_configure(struct cno_connection_t *, const struct cno_settings_t *);

// The transport is up. CNO_HTTP1 on a server also accepts the HTTP/2 preface (RFC 9113 section 3.3)
// unless CNO_NO_PRIOR_KNOWLEDGE is set; CNO_HTTP2 is what ALPN or a client chose.
int cno_begin(struct cno_connection_t *, enum CNO_HTTP_VERSION);

// Octets from the transport; takes all of them. An empty call goes on with what was kept while an
// HTTP/1 exchange was unfinished (cno_pending tells). Errors: PROTOCOL after the peer was told,
// WOULD_BLOCK when too much is kept already (nothing was taken), DISCONNECT after the end.
int cno_consume(struct cno_connection_t *, const char *data, size_t size);

// Octets that are kept until the exchange before them is over.
size_t cno_pending(const struct cno_connection_t *);

// The transport will give no more. Ends every stream with CANCEL, then either on_close or the error
// PROTOCOL when streams were cut.
int cno_eof(struct cno_connection_t *);

// No new streams. HTTP/2: GOAWAY, `final` = 0 announces it without refusing anything yet (id
// 2^31-1, RFC 9113 section 6.8), `final` = 1 names the last stream served. HTTP/1: the answer under
// way, or the next, says `connection: close`. on_close when the last stream has ended.
int cno_shutdown(struct cno_connection_t *, int final);

// Which version is spoken: enum CNO_HTTP_VERSION.
int cno_version(const struct cno_connection_t *);

// ---- writing -----------------------------------------------------------------------------------
// Errors of all: INVALID_STREAM when the stream is gone, ASSERTION for what the contract forbids
// (octets that a field cannot hold, a body longer or shorter than its content-length, a head
// twice), DISCONNECT after the end. None of these harms the connection; NO_MEMORY ends it.

// Client: the id for the next request. Server: for the next push.
uint32_t cno_next_stream(const struct cno_connection_t *);

// A request or response head; `final` when nothing follows. 1xx heads may come before the final
// one. Framing is the engine's: transfer-encoding and connection-specific fields of the caller are
// dropped (but `connection: close` is honoured on HTTP/1), chunked or content-length: 0 added where
// needed.
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
// only if all were taken; if not, wait for on_flow_increase and write the rest.
int cno_write_data(struct cno_connection_t *, uint32_t stream, const char *data, size_t size,
                   int final);

// Ends the message with trailers (RFC 9110 section 6.5). HTTP/1: dropped unless the body is
// chunked.
int cno_write_tail(struct cno_connection_t *, uint32_t stream, const struct cno_tail_t *);

// RST_STREAM; on HTTP/1 the connection ends. Stream 0: the same as cno_shutdown(c, 1).
int cno_write_reset(struct cno_connection_t *, uint32_t stream, enum CNO_RST_STREAM_CODE);

// PING (on_pong answers). HTTP/1: nothing.
int cno_write_ping(struct cno_connection_t *, const char payload[8]);

// With CNO_MANUAL_FLOW: `size` octets of this stream's body were used up.
int cno_open_flow(struct cno_connection_t *, uint32_t stream, uint32_t size);

#ifdef __cplusplus
}
#endif
