// Compile-time limits: name, unit, why this number. Nothing else lives here. What says "default" can
// be changed for a connection: struct cno_limits_t, or struct cno_settings_t.
#pragma once

// ---- fields ------------------------------------------------------------------------------------

// Default: fields per message, pseudo-fields and cookie crumbs counted one by one. Apache and hyper
// take 100, HAProxy 101. One more is answered 431 and an HTTP/2 connection lives.
#define CNO_MAX_HEADERS 128

// As many fields as that default can be raised to: 40 octets of stack each while a head is read.
#define CNO_MAX_HEADERS_STORED 512

// Fields per HTTP/2 block that are still decoded (not stored) to keep HPACK in sync. One more ends
// the connection: nobody honest sends it (h2o, nginx: 1000).
#define CNO_MAX_HEADERS_HARD 1000

// Default, octets: name + value + 32 per field of an HTTP/2 block, summed; advertised as
// SETTINGS_MAX_HEADER_LIST_SIZE. Above it: 431.
#define CNO_MAX_HEADER_LIST_SIZE 65536

// Default, octets of an HTTP/1 request line. RFC 9110 section 4.1 asks for 8000 at least.
#define CNO_MAX_H1_LINE 8192

// Default, octets of an HTTP/1 head, start line and blank line included. Above it: 431.
#define CNO_MAX_H1_HEAD 65536

// Octets of one HTTP/1 chunk-size line, extensions included.
#define CNO_MAX_H1_CHUNK_LINE 4096

// Octets of chunk extensions over one whole body (CVE-2023-39326: framing larger than the content).
#define CNO_MAX_H1_CHUNK_EXTENSIONS 16384

// Octets and fields of an HTTP/1 trailer section.
#define CNO_MAX_H1_TRAILERS 8192
#define CNO_MAX_H1_TRAILER_FIELDS 64

// Blank lines tolerated before a request line (RFC 9112 section 2.2 asks for one at least).
#define CNO_MAX_H1_BLANK_LINES 4

// Default, octets of a request body that are read and dropped after the answer is complete, so that the
// connection can be kept. Longer ones close it.
#define CNO_MAX_H1_DRAIN 262144

// ---- HTTP/2 ------------------------------------------------------------------------------------

// CONTINUATION frames per block (nghttp2: 8), and octets of a whole encoded block.
#define CNO_MAX_CONTINUATIONS 8
#define CNO_MAX_HEADER_BLOCK 131072

// Octets of dynamic table we use when encoding, even where the peer offers more.
#define CNO_MAX_ENCODER_TABLE 4096

// Defaults: what we advertise (RFC 9113 section 6.5.2), and the window of the connection.
#define CNO_DEFAULT_MAX_CONCURRENT_STREAMS 100
#define CNO_DEFAULT_STREAM_WINDOW 65535
#define CNO_DEFAULT_CONNECTION_WINDOW 1048576

// Octets of SETTINGS in the HTTP2-Settings of a request (RFC 7540 section 3.2.1): twice as many as there
// are settings with a meaning.
#define CNO_MAX_H2C_SETTINGS 96

// Defaults: units of work that a peer may cause for nothing before GOAWAY ENHANCE_YOUR_CALM. RESETS counts
// streams that the client resets before their response begins, and streams that we reset because the
// client broke a rule on them. See budget.h for what spends and what refills each.
#define CNO_BUDGET_RESETS 200
#define CNO_BUDGET_OVERHEAD 10000

// Default: streams that a server has promised and not finished. Promises do not count for
// MAX_CONCURRENT_STREAMS (RFC 9113 section 5.1.2), so they need a limit of their own: the same.
#define CNO_MAX_PROMISES 100

// Streams not begun yet of which a PRIORITY_UPDATE is kept (RFC 9218 section 7 leaves the number to
// us; above MAX_CONCURRENT_STREAMS it is an error of the client's). 8 octets each, while there are any.
#define CNO_MAX_EARLY_PRIORITIES 128

// Fields per message that a caller may send.
#define CNO_MAX_HEADERS_OUT 256

// Fields that a batch adds to every answer, and what that and a Content-Length leave for others.
#define CNO_MAX_DEFAULTS 16
#define CNO_MAX_ANSWER_FIELDS (CNO_MAX_HEADERS_OUT - CNO_MAX_DEFAULTS - 1)

// Default, octets kept while an HTTP/1 exchange is unfinished (pipelined requests) before cno_consume says
// WOULD_BLOCK. One read is always taken.
#define CNO_MAX_PIPELINED 1048576

// Octets that reading may make a batch say (acknowledgements, window updates, resets) while nobody
// takes them. One read is always answered. nghttp2 queues 1000 acknowledgements, Go 10000 frames.
#define CNO_MAX_QUEUED_REPLIES 262144

// Octets of body below which a DATA frame or a chunk of a request counts as overhead. The shortest
// frame of WebSocket or gRPC with something in it is as long.
#define CNO_TINY_DATA 7

// Octets of body from which on a DATA frame of the peer refills the budget of overhead: a frame
// that carries more than a few times what is charged with it (nginx: an eighth of all octets).
#define CNO_USEFUL_DATA 256

// ---- memory ------------------------------------------------------------------------------------

// Octets of spare capacity a buffer may keep while it is empty.
#define CNO_BUFFER_KEEP 1024

// Octets of an HTTP/1 head up to which its names are lowered on the stack: as many as a request line may
// have. The names of a longer one are on the heap while it is told.
#define CNO_INLINE_HEAD 8192

// DATA frames that one on_writev gathers.
#define CNO_MAX_GATHER 16

// Body pieces up to this many octets are copied next to their frame header rather than referenced.
#define CNO_INLINE_BODY 1024
