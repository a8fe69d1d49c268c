// WebSocket framing (RFC 6455): bytes of a tunnel go in, messages come out. Knows nothing of HTTP:
// the tunnel may be one of HTTP/1 (`Upgrade: websocket`), of HTTP/2 (RFC 8441), or any other.
//
// The life of an endpoint: call cno_ws_init, set cb_code and cb_data, call cno_ws_consume with the
// bytes of the tunnel, and cno_ws_fini. For sending there is no state: cno_ws_head makes the header
// of a frame, which the payload follows. An endpoint has no sockets, no clock and no threads, and
// may be used by one thread at a time.
#pragma once

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

enum CNO_WS_ROLE { CNO_WS_SERVER = 0, CNO_WS_CLIENT = 1 };

// The opcodes of RFC 6455 section 5.2.
enum CNO_WS_OPCODE {
    CNO_WS_CONTINUATION = 0,
    CNO_WS_TEXT = 1,
    CNO_WS_BINARY = 2,
    CNO_WS_CLOSE = 8,
    CNO_WS_PING = 9,
    CNO_WS_PONG = 10,
};

// Bits of the first byte of a frame, beside the opcode.
enum CNO_WS_BIT {
    CNO_WS_FIN = 0x80,   // the frame is the last one of its message
    CNO_WS_RSV1 = 0x40,  // on the first frame: the message is compressed (RFC 7692 section 6)
};

// The close codes of RFC 6455 section 7.4.1 and of its registry that the library mentions.
enum CNO_WS_CODE {
    CNO_WS_CODE_NORMAL = 1000,
    CNO_WS_CODE_GOING_AWAY = 1001,
    CNO_WS_CODE_PROTOCOL_ERROR = 1002,
    CNO_WS_CODE_NO_STATUS = 1005,  // never sent: a CLOSE frame without a code
    CNO_WS_CODE_ABNORMAL = 1006,   // never sent: the tunnel ended without a CLOSE frame
    CNO_WS_CODE_BAD_DATA = 1007,
    CNO_WS_CODE_TOO_BIG = 1009,
    CNO_WS_CODE_INTERNAL_ERROR = 1011,
};

enum CNO_WS_OPTIONS {
    // permessage-deflate (RFC 7692) was negotiated: RSV1 is allowed. The payload of a compressed
    // message is told as it came; the caller inflates it and checks the size and the UTF-8.
    CNO_WS_DEFLATE = 1,
};

// A message, all of its fragments together.
struct cno_ws_message_t {
    uint8_t opcode;    // CNO_WS_TEXT or CNO_WS_BINARY
    uint8_t deflated;  // RSV1 was set
    uint8_t ascii;     // no byte of the payload is above 0x7f
    const char *data;  // the payload, unmasked. UTF-8 in a text that is not deflated
    size_t size;
};

// The events of an endpoint: callbacks, any of which may be NULL. Memory that a pointer argument
// points to is valid until the callback returns. None may call cno_ws_consume or cno_ws_fini. A
// callback that returns non-zero makes cno_ws_consume return CNO_ERROR with that number as the
// code; the endpoint is over then.
struct cno_ws_vtable_t {
    // Asks for room for the payload of a message that has come whole in one frame, so that the
    // payload needs not be copied again. `data` of the message is NULL and `ascii` is 0. Returns
    // memory of the caller for `size` bytes, or NULL when there is none (the error NO_MEMORY).
    // on_message follows, with this memory as its data, unless the text is not UTF-8.
    char *(*on_room)(void *, const struct cno_ws_message_t *);
    int (*on_message)(void *, const struct cno_ws_message_t *);
    // At most 125 bytes. A PING is to be answered by a PONG with the same bytes.
    int (*on_ping)(void *, const char *data, size_t size);
    int (*on_pong)(void *, const char *data, size_t size);
    // The peer has sent its last frame. `code` is CNO_WS_CODE_NO_STATUS if there was none. The
    // reason is UTF-8 of at most 123 bytes.
    int (*on_close)(void *, uint32_t code, const char *reason, size_t size);
};

// How much may be told; cno_ws_consume subtracts what it has told. No frame of a message is read
// while `messages` is 0. The message that uses up `bytes` is the last one: after it `messages` is
// 0, too. So while `messages` is not 0 one message can be told, whatever its size. Control frames
// need no room, but wait behind a message that does.
struct cno_ws_room_t {
    size_t messages, bytes;
};

// An endpoint. The caller provides the memory, which cno_ws_init fills; it may be moved between
// calls. The first two members are the caller's to set; the others are private.
struct cno_ws_t {
    const struct cno_ws_vtable_t *cb_code;
    void *cb_data;
    size_t max_size;
    uint64_t offset;            // bytes of input interpreted so far
    uint64_t left;              // bytes of payload of the frame under way to come
    struct cno__bytes message;  // the payload of the message under way
    uint32_t utf8;              // the state of its UTF-8
    uint8_t role;               // enum CNO_WS_ROLE
    uint8_t options;            // enum CNO_WS_OPTIONS
    uint8_t over;               // CLOSE has come, or a call has failed
    uint8_t in_frame;           // the header of a frame was read, and not all of its payload
    uint8_t first;              // the first byte of that frame
    uint8_t opcode;             // of the message under way; 0 if there is none
    uint8_t deflated;           // of the message under way
    uint8_t ascii;              // of its payload so far
    uint8_t head_size;          // bytes of `head`
    uint8_t control_size;       // bytes of `control`
    unsigned char key[4];       // the mask of the frame under way, turned to the next byte
    unsigned char head[14];     // a header that has not come whole
    char control[125];          // the payload of a control frame
};

// ---- receiving ---------------------------------------------------------------------------------

// Initializes an endpoint. Never fails and allocates nothing. `max_size` is the limit in bytes of a
// message, all of its fragments together; `options` are enum CNO_WS_OPTIONS.
void cno_ws_init(struct cno_ws_t *, enum CNO_WS_ROLE, size_t max_size, uint32_t options);

// Releases the memory that an endpoint holds. Fires no events.
void cno_ws_fini(struct cno_ws_t *);

// cno_ws_init with memory of the library. NULL when there is none.
struct cno_ws_t *cno_ws_new(enum CNO_WS_ROLE, size_t max_size, uint32_t options);
void cno_ws_free(struct cno_ws_t *);

// Takes bytes of the tunnel. Returns how many were taken: all, unless `room` was used up; the
// caller gives the others again, in front of later bytes, when there is room. NULL stands for room
// without limit. After CLOSE and after an error all bytes are taken and ignored.
//
// Errors: PROTOCOL when the peer broke the protocol, with the close code to send as `wire`
// (messages in front of the fault were told); NO_MEMORY; what a callback returned; ASSERTION
// `too-large` for more than 2^31-1 bytes in one call, of which none was taken.
//
// A frame costs the receiver work in proportion to its bytes, header included. A fragment, empty or
// not, is appended to the one buffer of its message, so that no number of fragments takes more
// memory than the payload does.
int cno_ws_consume(struct cno_ws_t *, const char *data, size_t size, struct cno_ws_room_t *room);

// ---- sending -----------------------------------------------------------------------------------

// Writes the header of a frame with `size` bytes of payload. `first` is an opcode and enum
// CNO_WS_BIT. `mask` is 4 random bytes for a client, whose payload is then changed by cno_ws_mask,
// and NULL for a server. Returns the size of the header. Errors: ASSERTION `bad-frame` for an
// opcode or bits that do not exist, for a control frame that is larger than 125 bytes or not FIN,
// and for more than 2^63-1 bytes.
int cno_ws_head(char out[14], uint32_t first, uint64_t size, const char mask[4]);

// Masks or unmasks a part of a payload, of which `offset` bytes were in front.
void cno_ws_mask(char *data, size_t size, const char mask[4], uint64_t offset);

// Writes the payload of a CLOSE frame: a code, which may be CNO_WS_CODE_NO_STATUS if there is no
// reason, and a reason. Returns its size. Errors: ASSERTION `bad-close` for a code that may not be
// sent, and for a reason that is not UTF-8 or longer than 123 bytes.
int cno_ws_close(char out[125], uint32_t code, const char *reason, size_t size);

// Whether a CLOSE frame may have this code: 1000 to 1003, 1007 to 1014, 3000 to 4999.
int cno_ws_code_is_valid(uint32_t code);

// ---- the opening handshake ---------------------------------------------------------------------

// Writes the value of Sec-WebSocket-Accept for a value of Sec-WebSocket-Key (RFC 6455 section
// 4.2.2). Errors: PROTOCOL `bad-key`, with the HTTP status 400 as `wire`, for a key that is not the
// base64 form of 16 bytes.
int cno_ws_accept(const char *key, size_t size, char out[28]);

#ifdef __cplusplus
}
#endif
