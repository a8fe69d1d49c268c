// One HTTP connection, server or client, HTTP/1 or HTTP/2: bytes of the transport go in, events and
// bytes for the transport come out.
//
// The life of a connection: call cno_init, set cb_code and cb_data, call cno_begin; then call
// cno_consume with all bytes that the transport gave and cno_write_* to send messages; call cno_eof
// when the transport has ended, and cno_fini. The engine has no sockets, no clock and no threads. A
// connection may be used by one thread at a time.
#pragma once

#include "common.h"
#include "hpack.h"
#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

enum CNO_CONNECTION_KIND { CNO_SERVER = 0, CNO_CLIENT = 1 };

enum CNO_HTTP_VERSION { CNO_HTTP1 = 1, CNO_HTTP2 = 2 };

// Which of the two endpoints: the peer, or this one.
enum CNO_PEER_KIND { CNO_REMOTE = 0, CNO_LOCAL = 1 };

// The error codes of RFC 9113 section 7.
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

// The settings of an HTTP/2 endpoint (RFC 9113 section 6.5.2), in the order of their identifiers.
struct cno_settings_t {
    uint32_t header_table_size;
    uint32_t enable_push;
    uint32_t max_concurrent_streams;
    uint32_t initial_window_size;
    uint32_t max_frame_size;
    uint32_t max_header_list_size;
    uint32_t enable_connect_protocol;  // RFC 8441 section 3; sent by servers only
    uint32_t no_rfc7540_priorities;    // RFC 9218 section 2.1
};

// The limits of one connection that its caller may change. Their defaults are in config.h, with the
// reason for each. In cno_limit a member that is 0 leaves the limit as it is.
struct cno_limits_t {
    uint32_t fields;     // fields of a received message, pseudo-fields included; 4 to 512
    uint32_t line;       // HTTP/1: bytes of a request line
    uint32_t head;       // HTTP/1: bytes of a head
    uint32_t drain;      // HTTP/1: bytes of request body read after the response is complete
    uint32_t pipelined;  // HTTP/1: bytes kept while an exchange is unfinished
    uint32_t connection_window;  // HTTP/2: bytes of body the peer may send ahead; 65535 to 2^31-1
    uint32_t promises;           // HTTP/2 client: promised streams that have not ended
    uint32_t resets;             // HTTP/2: budget for streams reset before their response; to 65535
    uint32_t overhead;           // HTTP/2: budget for frames that carry no message; to 65535
};

enum CNO_MESSAGE_FLAGS {
    CNO_MESSAGE_FINAL = 1,     // received: no body and no trailers follow
    CNO_MESSAGE_EXPECT = 2,    // received: the client waits for 100 (RFC 9110 section 10.1.1)
    CNO_MESSAGE_HTTP1_0 = 4,   // received: the peer speaks HTTP/1.0
    CNO_MESSAGE_TRAILERS = 8,  // received: the client accepts trailers (RFC 9110 section 10.1.4)
    CNO_MESSAGE_UPGRADE =
        16,  // received: the request asks for a tunnel, or the response grants one
};

// The head of a request or a response. A request has the code 0. The fields of a received request
// begin with `:scheme` ("unknown" on HTTP/1) and `:authority`; `:method`, `:path` and `:status` are
// never among the fields. Names are lower-case in received messages, and must be in messages sent
// on HTTP/2.
struct cno_message_t {
    int code;  // status, 100-999
    struct cno_buffer_t
        method;                // of an HTTP/1 response: the reason phrase, empty for the usual one
    struct cno_buffer_t path;  // the request target as it was on the wire
    struct cno_header_t *headers;
    size_t headers_len;
    uint32_t flags;  // enum CNO_MESSAGE_FLAGS
};

// Tunnels. A request asks for a tunnel by CONNECT (RFC 9110 section 9.3.6; with `:protocol` on
// HTTP/2, RFC 8441), which any 2xx response grants, or by an HTTP/1.1 Upgrade (section 7.8), which
// a 101 response grants. Such a request has no body. On HTTP/1 the bytes behind its head are not
// interpreted until the response is written. In a granted tunnel, on_message_data and
// cno_write_data carry bytes without framing (DATA frames on HTTP/2). On HTTP/1 the first endpoint
// to end the tunnel, by cno_write_data or cno_eof, ends the connection; on HTTP/2 each direction
// ends by itself. After any other response the exchange remains one of HTTP: on HTTP/1 the tail of
// the request is told when that response is written, and after a response to CONNECT the connection
// ends.

// A list of fields that its reader does not own.
struct cno_fields_t {
    const struct cno_header_t *list;
    size_t count;
};

// The trailer section of a message.
struct cno_tail_t {
    struct cno_header_t *headers;
    size_t headers_len;
};

// The priority that a client gives to a response (RFC 9218 section 4).
struct cno_priority_t {
    uint8_t urgency;  // 0 is wanted first, 7 last
    uint8_t
        incremental;  // whether a part of the response is of use: then share bandwidth with others
};

struct cno_connection_t;

// The events of a connection: callbacks, any of which may be NULL. Memory that a pointer argument
// points to is valid until the callback returns.
//
// A callback that returns non-zero makes the call that fired it return CNO_ERROR with that number
// as the code. If that call was cno_consume, or the callback was on_writev, the connection is over,
// because bytes are lost. A stream whose on_stream_start failed is gone. Callbacks other than
// on_writev may call cno_write_* and cno_open_flow; none may call cno_consume, cno_eof or cno_fini.
struct cno_vtable_t {
    // Bytes for the transport, in order. Fired once per public call, more often only for a body of
    // more than CNO_MAX_GATHER frames. The bytes of a body are the caller's own, not a copy.
    int (*on_writev)(void *, const struct cno_buffer_t *, size_t count);
    // No more bytes will be sent or interpreted: close the transport when all output is written.
    int (*on_close)(void *);
    int (*on_stream_start)(void *, uint32_t stream);
    // `side` closed the stream last; `code` is of RFC 9113 section 7, and 0 after a complete
    // exchange. REFUSED_STREAM from the remote side means that a request of this client was not
    // processed (section 8.7), by RST_STREAM or because a GOAWAY excluded it; the request may be
    // repeated on another connection.
    int (*on_stream_end)(void *, uint32_t stream, uint32_t code, enum CNO_PEER_KIND side);
    // More body may be written: on one stream, or (stream 0) on all.
    int (*on_flow_increase)(void *, uint32_t stream);
    int (*on_message_head)(void *, uint32_t stream, const struct cno_message_t *);
    // The message is complete. The tail is NULL if it had no trailer section. Fields that are not
    // allowed in trailers are left out.
    int (*on_message_tail)(void *, uint32_t stream, const struct cno_tail_t *);
    int (*on_message_data)(void *, uint32_t stream, const char *data, size_t size);
    // Client: the server promises the response to this request on `stream` (RFC 9113 section 8.4).
    int (*on_message_push)(void *, uint32_t stream, const struct cno_message_t *, uint32_t parent);
    // HTTP/2: settings of the peer have come.
    int (*on_settings)(void *);
    // HTTP/2: the peer has acknowledged a PING of cno_write_ping.
    int (*on_pong)(void *, const char payload[8]);
    // Server: the client has changed the priority of this stream. The priority a request begins
    // with is not told: cno_priority returns it from on_message_head on.
    int (*on_priority)(void *, uint32_t stream, const struct cno_priority_t *);
    // Input of the peer was refused: on one stream, or (stream 0) with the whole connection. For
    // logs; cno_refused returns the request.
    int (*on_fault)(void *, uint32_t stream, const struct cno_error_t *);
};

struct cno_stream_t;
struct cno__early;
struct cno__protocol;

enum CNO_CONNECTION_OPTIONS {
    // The receive window of a stream is reopened only by cno_open_flow.
    CNO_MANUAL_FLOW = 1,
    // An HTTP/1 server does not change to HTTP/2 when a client begins with the HTTP/2 preface.
    CNO_NO_PRIOR_KNOWLEDGE = 2,
    // A server is told of Upgrade: such a request has CNO_MESSAGE_UPGRADE, and no tail before its
    // response.
    CNO_OFFER_UPGRADE = 4,
    // HTTP/1 changes to HTTP/2 by Upgrade (RFC 7540 section 3.2): a server when the client asks for
    // it; a client asks with its first request, if that has no body.
    CNO_H2C_UPGRADE = 8,
    // With CNO_MANUAL_FLOW, the connection window too is reopened only by cno_open_flow, so that
    // the unused body of all streams together is bounded by that window. A stream that is not read
    // then blocks the others.
    CNO_MANUAL_CONNECTION_FLOW = 16,
};

// A connection. The caller provides the memory, which cno_init fills; it must not be moved. The
// first four members are the caller's to set; the others are private.
struct cno_connection_t {
    const struct cno_vtable_t *cb_code;
    void *cb_data;
    // Server: fields such as `date` and `server` for the responses that the engine writes by itself
    // to requests that it refuses (400, 414, 431, 501, 505); NULL for none. The structure and the
    // fields are the caller's, may change between calls, and are read whenever such a response is
    // written. Names are lower-case. Fields about the content, the framing and the connection are
    // left out; if any field cannot be sent, or there are more than CNO_MAX_DEFAULTS, all are.
    const struct cno_fields_t *refusal_fields;
    uint32_t options;  // enum CNO_CONNECTION_OPTIONS; between cno_init and cno_begin

    uint8_t kind;     // enum CNO_CONNECTION_KIND
    uint8_t mode;     // enum CNO_MODE of conn.h
    uint8_t read;     // the next input: enum CNO_H1_READ of h1/h1.h or CNO_H2_READ of h2/h2.h
    uint8_t flags;    // enum CNO_CONN_FLAGS of conn.h
    uint8_t depth;    // public calls under way, nested ones included
    uint8_t version;  // enum CNO_HTTP_VERSION
    uint8_t blank;    // h1: blank lines skipped before the request line
    uint16_t continuations;   // h2: CONTINUATION frames of the header block under way
    uint32_t last_stream[2];  // the highest stream id begun, by enum CNO_PEER_KIND
    uint32_t goaway[2];  // the last id that will be served, by which side sent it; CNO__NO_GOAWAY
    uint32_t stream_count[2];
    uint32_t bucket_mask;
    const struct cno__protocol
        *protocol;  // functions of h1/ or h2/, as `mode`; NULL before cno_begin
    struct cno_stream_t **buckets;
    struct cno_stream_t *spare;           // freed streams, for reuse
    struct cno_stream_t *dead;            // streams to free when the outermost call returns
    struct cno_stream_t *current;         // h1: the exchange under way
    struct cno__early *early;             // h2: priorities of streams not begun; NULL if none
    const struct cno_message_t *refused;  // during on_fault: what cno_refused returns
    char *offer;                          // h1 client: protocols of the last Upgrade; NULL if none
    struct cno_settings_t settings[2];    // in force, by whose they are
    struct cno_settings_t pending;        // our settings that the peer has not acknowledged
    uint32_t settings_unacked;
    uint32_t block_stream;    // h2: the stream whose header block is being collected
    uint32_t block_promised;  // h2 client: the stream that its PUSH_PROMISE promises; else 0
    uint32_t data_stream;     // h2: the stream whose DATA frame is being read
    uint32_t data_left;       // h2: bytes of that frame to come, padding excluded
    uint32_t pad_left;        // h2: bytes of its padding to come
    uint8_t block_flags, data_flags;
    uint16_t budget_resets, budget_overhead;
    uint16_t early_count, early_room;  // of `early`
    int64_t window_recv, window_send;  // of the connection
    uint32_t held;                     // bytes of window_recv that all streams hold
    struct cno_limits_t limits;
    uint32_t head_scanned;      // h1: bytes of the head under way that do not contain its end
    uint64_t offset;            // bytes of input interpreted so far
    uint64_t body_left;         // h1: bytes of body or chunk to come
    uint64_t drained;           // h1: bytes of body read after the response was complete
    uint32_t chunk_extensions;  // h1: bytes of chunk extensions in this body
    uint8_t closed[64];         // h2: how the latest remote streams ended, two bits each
    uint64_t cancelled;         // h2: which of our latest streams we reset, a bit each
    struct cno__bytes in;       // input that is not interpreted yet
    struct cno__bytes block;    // h2: fragments of a header block
    struct cno__bytes out;      // output that was not given to on_writev yet
    struct cno_hpack_t decoder, encoder;
};

// ---- life --------------------------------------------------------------------------------------

// Initializes a connection. Never fails and allocates nothing.
void cno_init(struct cno_connection_t *, enum CNO_CONNECTION_KIND);

// Releases all memory of a connection. Fires no events.
void cno_fini(struct cno_connection_t *);

// Replaces the settings of this endpoint (RFC 9113 section 6.5.2). On a running HTTP/2 connection
// they are sent, and take effect when the peer acknowledges them. Errors: ASSERTION for a value out
// of its range, and for a change that is not allowed (enable_connect_protocol back to 0,
// no_rfc7540_priorities); WOULD_BLOCK until the settings before are acknowledged.
int cno_configure(struct cno_connection_t *, const struct cno_settings_t *);

// The number of our SETTINGS frames that the peer has not acknowledged. A caller that has waited
// for 0 long enough may end the connection by cno_write_reset(c, 0, CNO_RST_SETTINGS_TIMEOUT) (RFC
// 9113 section 6.5.3).
uint32_t cno_settings_unacked(const struct cno_connection_t *);

// Changes limits, between cno_init and cno_begin. Errors: ASSERTION when a limit is out of its
// range or cno_begin was called; no limit has changed then.
int cno_limit(struct cno_connection_t *, const struct cno_limits_t *);

// The transport is connected. With CNO_HTTP1 a server also accepts the HTTP/2 preface (RFC 9113
// section 3.3) unless CNO_NO_PRIOR_KNOWLEDGE is set; CNO_HTTP2 is for a transport on which ALPN, or
// the caller of a client, chose HTTP/2.
int cno_begin(struct cno_connection_t *, enum CNO_HTTP_VERSION);

// Takes bytes of the transport, always all of them. An empty call continues with bytes that were
// kept while an HTTP/1 exchange was unfinished (see cno_pending). Errors: PROTOCOL after the peer
// was told of its fault, WOULD_BLOCK when too many bytes are kept already (no bytes were taken),
// DISCONNECT when the connection is over.
int cno_consume(struct cno_connection_t *, const char *data, size_t size);

// In on_fault of a server: the request that was refused, for an access log. Method and path are
// empty if they are not known or have bytes that they cannot have; of a request line above the
// limit the path may be only the beginning. There are no fields. NULL when the fault was not about
// the head of a request, and outside of on_fault.
const struct cno_message_t *cno_refused(const struct cno_connection_t *);

// The number of bytes that are kept until the HTTP/1 exchange before them is over, or its tunnel
// granted.
size_t cno_pending(const struct cno_connection_t *);

// The transport gives no more bytes. Ends every stream with CANCEL; then fires on_close, or returns
// the error PROTOCOL when streams were cut short.
int cno_eof(struct cno_connection_t *);

// Accepts no new streams; on_close is fired when the last stream has ended. On HTTP/2 a GOAWAY is
// sent: with `final` = 1 it names the last stream of the peer that is served; with `final` = 0 (id
// 2^31-1, RFC 9113 section 6.8) it refuses none yet: a server goes on serving until the call with
// 1, a client still takes promised responses. On HTTP/1, with either value, the response under way,
// or the next, says `connection: close`. A client's requests fail with DISCONNECT `closing` from
// then on, as they do after a GOAWAY of the server.
int cno_shutdown(struct cno_connection_t *, int final);

// Whether a client's request would fail with DISCONNECT: before cno_begin, after the end, and after
// either endpoint has announced the end. Streams may still be under way.
int cno_closing(const struct cno_connection_t *);

// The HTTP version of the connection: enum CNO_HTTP_VERSION.
int cno_version(const struct cno_connection_t *);

// Server, HTTP/2: the priority of a stream by the `priority` field of its request, or by the latest
// PRIORITY_UPDATE; urgency 3 and not incremental for a stream of which nothing is known.
struct cno_priority_t cno_priority(const struct cno_connection_t *, uint32_t stream);

// ---- writing -----------------------------------------------------------------------------------
// Errors of all these functions: INVALID_STREAM when the stream is gone; ASSERTION for a call that
// the contract forbids (bytes that a field cannot hold, a body longer or shorter than its
// content-length, a second head); DISCONNECT when the connection is over; NO_MEMORY. Only NO_MEMORY
// ends the connection.

// Client: the id of the next request. Server: the id of the next push. Above 2^31-1 no id is left,
// and requests fail with DISCONNECT `no-stream-ids`.
uint32_t cno_next_stream(const struct cno_connection_t *);

// Writes the head of a request or a response; `final` when nothing follows.
//
// The path of a request begins with `/`, or is `*` for OPTIONS, or on HTTP/1 a whole http or https
// URI. A response, and 1xx heads before it, can be written from on_message_head of the request on.
// The engine does the framing: it drops transfer-encoding and connection-specific fields of the
// caller (but honours `connection: close` on HTTP/1), adds chunked or content-length: 0 where
// needed, and the connection options for `upgrade` and `te`.
//
// A request for a tunnel (CONNECT, whose target is the path, `:authority`, or both; `upgrade` on
// HTTP/1) has no body, and on HTTP/1 `final` has no meaning for it. `:protocol` needs HTTP/2 and
// the setting ENABLE_CONNECT_PROTOCOL of the peer: WOULD_BLOCK until the peer's settings are known.
int cno_write_head(struct cno_connection_t *, uint32_t stream, const struct cno_message_t *,
                   int final);

// Writes a head and its body, or as much of the body as the windows allow, in one call:
// cno_write_head, then cno_write_data. Returns how many bytes of the body were taken.
// Content-Length is checked against the body before anything is written.
int cno_write_message(struct cno_connection_t *, uint32_t stream, const struct cno_message_t *,
                      const char *data, size_t size, int final);

// Promises a response on a new stream. Does nothing where push is impossible or unwanted.
int cno_write_push(struct cno_connection_t *, uint32_t parent, const struct cno_message_t *);

// Writes a part of a body. Returns how many bytes were taken: all, or on HTTP/2 as many as the
// windows allow. `final` applies only if all were taken; if not, wait for on_flow_increase and
// write the rest. WOULD_BLOCK on the tunnel of an HTTP/1 client that is not granted yet.
int cno_write_data(struct cno_connection_t *, uint32_t stream, const char *data, size_t size,
                   int final);

// Ends the message with trailers (RFC 9110 section 6.5). ASSERTION for fields that are not allowed
// behind the content (framing, routing, authentication, request and response controls, content
// format; section 6.5.1). On HTTP/1 trailers are dropped unless the body is chunked.
int cno_write_tail(struct cno_connection_t *, uint32_t stream, const struct cno_tail_t *);

// Resets a stream: RST_STREAM on HTTP/2, the end of the connection on HTTP/1. Stream 0 stands for
// the connection: GOAWAY with this code, every stream ends with the code, on_close; with NO_ERROR
// the same as cno_shutdown(c, 1).
int cno_write_reset(struct cno_connection_t *, uint32_t stream, enum CNO_RST_STREAM_CODE);

// Sends a PING, which on_pong answers. Does nothing on HTTP/1.
int cno_write_ping(struct cno_connection_t *, const char payload[8]);

// With CNO_MANUAL_FLOW: `size` bytes of this stream's body were used up. A window is announced
// again when half of it is used up. When a stream ends, the bytes that it held are given back to
// the connection.
int cno_open_flow(struct cno_connection_t *, uint32_t stream, uint32_t size);

#ifdef __cplusplus
}
#endif
