// The frames that are sent: headers and the payload of CLOSE (RFC 6455 sections 5.2, 5.5.1 and 7.4).
// Has no state.
#include <string.h>

#include "message/utf8.h"
#include "ws.h"

static int bad_frame(const char *what) {
    return cno_error_set(CNO_ERRNO_ASSERTION, "bad-frame", "%s", what);
}

int cno_ws_head(char out[14], uint32_t first, uint64_t size, const char mask[4]) {
    uint32_t opcode = first & 15;
    if (first & ~(uint32_t)(CNO_WS_FIN | CNO_WS_RSV1 | 15) ||
        (opcode > CNO_WS_BINARY && opcode < CNO_WS_CLOSE) || opcode > CNO_WS_PONG)
        return bad_frame("there is no such frame");
    if (opcode >= CNO_WS_CLOSE && (size > 125 || (first & ~opcode) != CNO_WS_FIN))
        return bad_frame("a control frame has at most 125 bytes, FIN and no other bit");
    if (!opcode && first & CNO_WS_RSV1)
        return bad_frame("a continuation without RSV1 belongs to a compressed message as well");
    if (size >> 63)
        return bad_frame("a frame has at most 2^63-1 bytes");
    size_t width = size <= 125 ? 0 : size <= 65535 ? 2 : 8, at = 2 + width;
    out[0] = (char)first;
    out[1] = (char)((width == 0 ? size : width == 2 ? 126 : 127) | (mask ? 128 : 0));
    for (size_t i = 0; i < width; i++)
        out[2 + i] = (char)(size >> 8 * (width - 1 - i));
    if (mask) {
        memcpy(out + at, mask, 4);
        at += 4;
    }
    return (int)at;
}

int cno_ws_code_is_valid(uint32_t code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

int cno_ws_close(char out[125], uint32_t code, const char *reason, size_t size) {
    if (code == CNO_WS_CODE_NO_STATUS && !size)
        return 0;
    if (!cno_ws_code_is_valid(code))
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-close",
                             "the close code %u may not be sent (RFC 6455 7.4)", (unsigned)code);
    if (size > 123 || !cno__utf8_is_valid(reason, size))
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-close",
                             "a close reason is UTF-8 of at most 123 bytes (RFC 6455 5.5.1)");
    out[0] = (char)(code >> 8);
    out[1] = (char)code;
    if (size)
        memcpy(out + 2, reason, size);
    return (int)(2 + size);
}
