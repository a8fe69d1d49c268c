// The limits of the engine: name, unit and reason of each number. The value of a limit that is
// called a default can be changed for one connection, by struct cno_limits_t or struct
// cno_settings_t.
#pragma once

// ---- fields ------------------------------------------------------------------------------------

// Default: fields per received message; pseudo-fields and cookie crumbs count one by one. Apache
// and hyper accept 100, HAProxy 101. A message with more gets a 431 response, and an HTTP/2
// connection goes on.
#define CNO_MAX_HEADERS 128

// The highest value that CNO_MAX_HEADERS can be raised to. Each field takes 40 bytes of stack while
// a head is read.
#define CNO_MAX_HEADERS_STORED 512

// Fields per HTTP/2 header block that are decoded, though not stored, to keep the HPACK table in
// sync. A block with more ends the connection: no honest client sends one (h2o and nginx: 1000).
#define CNO_MAX_HEADERS_HARD 1000

// Default, bytes: the sum of name + value + 32 over the fields of an HTTP/2 header block;
// advertised as SETTINGS_MAX_HEADER_LIST_SIZE. A larger one gets a 431 response.
#define CNO_MAX_HEADER_LIST_SIZE 65536

// Default, bytes of an HTTP/1 request line. RFC 9110 section 4.1 asks for at least 8000.
#define CNO_MAX_H1_LINE 8192

// Default, bytes of an HTTP/1 head, start line and blank line included. A larger one gets a 431
// response.
#define CNO_MAX_H1_HEAD 65536

// Bytes of one HTTP/1 chunk-size line, extensions included.
#define CNO_MAX_H1_CHUNK_LINE 4096

// Bytes of chunk extensions in one whole body (CVE-2023-39326: framing that is larger than the
// content).
#define CNO_MAX_H1_CHUNK_EXTENSIONS 16384

// Bytes and fields of an HTTP/1 trailer section.
#define CNO_MAX_H1_TRAILERS 8192
#define CNO_MAX_H1_TRAILER_FIELDS 64

// Blank lines that are skipped before a request line (RFC 9112 section 2.2 asks for at least one).
#define CNO_MAX_H1_BLANK_LINES 4

// Default, bytes of a request body that are read and dropped after the response is complete, so
// that the connection can be kept. A longer rest closes the connection.
#define CNO_MAX_H1_DRAIN 262144

// ---- HTTP/2 ------------------------------------------------------------------------------------

// CONTINUATION frames per header block (nghttp2: 8), and bytes of a whole encoded block.
#define CNO_MAX_CONTINUATIONS 8
#define CNO_MAX_HEADER_BLOCK 131072

// Bytes of dynamic table that the encoder uses, even where the peer offers more.
#define CNO_MAX_ENCODER_TABLE 4096

// Defaults of the settings that are advertised (RFC 9113 section 6.5.2), and of the connection
// window in bytes.
#define CNO_DEFAULT_MAX_CONCURRENT_STREAMS 100
#define CNO_DEFAULT_STREAM_WINDOW 65535
#define CNO_DEFAULT_CONNECTION_WINDOW 1048576

// Bytes of SETTINGS in the HTTP2-Settings field of a request (RFC 7540 section 3.2.1): room for
// twice as many settings as have a meaning.
#define CNO_MAX_H2C_SETTINGS 96

// Defaults: units of work that a peer may cause for nothing before GOAWAY ENHANCE_YOUR_CALM. RESETS
// counts streams that the client resets before their response begins, and streams that the engine
// resets because the client broke a rule on them. See conn.h for what spends and what refills each.
#define CNO_BUDGET_RESETS 200
#define CNO_BUDGET_OVERHEAD 10000

// Default: streams that a server has promised and not finished. Promises do not count for
// MAX_CONCURRENT_STREAMS (RFC 9113 section 5.1.2), so they have a limit of their own, of the same
// size.
#define CNO_MAX_PROMISES 100

// Streams that have not begun and whose PRIORITY_UPDATE is kept (RFC 9218 section 7 leaves the
// number open; more than MAX_CONCURRENT_STREAMS is an error of the client). Each takes 8 bytes,
// while there are any.
#define CNO_MAX_EARLY_PRIORITIES 128

// Fields per message that a caller may send.
#define CNO_MAX_HEADERS_OUT 256

// Default fields of a batch, and the number of fields that these and Content-Length leave for an
// application.
#define CNO_MAX_DEFAULTS 16
#define CNO_MAX_ANSWER_FIELDS (CNO_MAX_HEADERS_OUT - CNO_MAX_DEFAULTS - 1)

// Default, bytes kept while an HTTP/1 exchange is unfinished (pipelined requests), beyond which
// cno_consume fails with WOULD_BLOCK. One read is always taken, whatever its size.
#define CNO_MAX_PIPELINED 1048576

// Bytes of output that reads may cause in a batch (acknowledgements, window updates, resets) while
// the caller takes none. One read is always answered. nghttp2 queues 1000 acknowledgements, Go
// 10000 frames.
#define CNO_MAX_QUEUED_REPLIES 262144

// Bytes of body below which a DATA frame or a chunk of a request counts as overhead. The shortest
// frame of WebSocket or gRPC with a payload is as long.
#define CNO_TINY_DATA 7

// Bytes of body from which on a DATA frame of the peer refills the budget for overhead: a frame
// whose payload is a few times as large as its overhead (nginx: an eighth of all bytes).
#define CNO_USEFUL_DATA 256

// ---- memory ------------------------------------------------------------------------------------

// Bytes of capacity that a buffer may keep while it is empty.
#define CNO_BUFFER_KEEP 1024

// Bytes of an HTTP/1 head up to which its lower-case names are on the stack: as many as a request
// line may have. The names of a longer head are on the heap while it is told.
#define CNO_INLINE_HEAD 8192

// DATA frames that one call of on_writev gathers.
#define CNO_MAX_GATHER 16

// Bytes of body up to which a piece is copied behind its frame header; longer pieces are given to
// on_writev as they are.
#define CNO_INLINE_BODY 1024

// Bytes of capacity that the buffer of a WebSocket may keep between two messages. A message that
// has come whole in one read needs no buffer, so that only the one at the end of a read is kept.
#define CNO_WS_KEEP 4096

// Bytes: the highest limit that the messages of a WebSocket of a batch can have. The events of one
// call must have less than 2^31 bytes together.
#define CNO_WS_MAX_SIZE 1073741824
