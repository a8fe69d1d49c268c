// The frames that are received (RFC 6455 section 5), from their headers to whole messages. Owns the
// state of an endpoint, and the one buffer of the message under way.
#include <string.h>

#include "config.h"
#include "message/utf8.h"
#include "ws.h"
#include "ws/mask.h"

// What an internal step returns besides CNO_OK and CNO_ERROR.
enum { STOP = 1 };  // the input, or the room, is used up

struct fault {
    uint32_t code;  // of the CLOSE frame to send
    const char *reason, *text;
};

static const struct fault BAD_BITS = {1002, "bad-bits", "RSV bits without a meaning (5.2)"};
static const struct fault BAD_OPCODE = {1002, "bad-opcode", "a reserved opcode (5.2)"};
static const struct fault BAD_FRAGMENT = {1002, "bad-control", "a control frame in parts (5.5)"};
static const struct fault BAD_CONTROL = {1002, "bad-control",
                                         "a control frame of more than 125 bytes (5.5)"};
static const struct fault NO_MESSAGE = {1002, "no-message", "a continuation of no message (5.4)"};
static const struct fault INTERRUPTED = {1002, "interrupted-message",
                                         "a new message inside a message (5.4)"};
static const struct fault NOT_MASKED = {1002, "bad-mask", "a frame of a client not masked (5.1)"};
static const struct fault MASKED = {1002, "bad-mask", "a frame of a server masked (5.1)"};
static const struct fault BAD_LENGTH = {1002, "bad-length",
                                        "a length not in its shortest form (5.2)"};
static const struct fault TOO_LONG = {1002, "bad-length", "a length above 2^63-1 (5.2)"};
static const struct fault TOO_BIG = {1009, "too-big", "a message above the limit (7.4.1)"};
static const struct fault BAD_TEXT = {1007, "bad-utf8", "a text that is not UTF-8 (8.1)"};
static const struct fault BAD_CLOSE = {1002, "bad-close", "a CLOSE frame of one byte (5.5.1)"};
static const struct fault BAD_CODE = {1002, "bad-close", "a close code that may not be sent (7.4)"};
static const struct fault BAD_REASON = {1007, "bad-utf8", "a reason that is not UTF-8 (5.5.1)"};

// The input that is being read. `take` advances ws->offset with it.
struct input {
    const char *data;
    size_t size;
};

static void take(struct cno_ws_t *ws, struct input *in, size_t size) {
    if (!size)
        return;  // there may be no input at all
    in->data += size;
    in->size -= size;
    ws->offset += size;
}

static int refuse(const struct fault *fault, uint64_t offset) {
    cno_error_set(CNO_ERRNO_PROTOCOL, fault->reason, "%s", fault->text);
    return cno_error_set_wire(fault->code, offset);
}

// Keeps the result of a callback for cno_error(). CNO_ERROR stands for a call that failed inside of
// the callback, which has set cno_error() already.
static int fired(int result) {
    if (!result)
        return CNO_OK;
    return result == CNO_ERROR ? CNO_ERROR
                               : cno_error_set(result, "event", "an event returned %d", result);
}

// ---- headers -----------------------------------------------------------------------------------

static const struct fault *check_first(const struct cno_ws_t *ws, unsigned first) {
    unsigned opcode = first & 15;
    int compresses =
        (ws->options & CNO_WS_DEFLATE) && (opcode == CNO_WS_TEXT || opcode == CNO_WS_BINARY);
    if (first & (compresses ? 0x30 : 0x70))
        return &BAD_BITS;
    if (opcode & 8)
        return opcode > CNO_WS_PONG ? &BAD_OPCODE : !(first & CNO_WS_FIN) ? &BAD_FRAGMENT : NULL;
    if (opcode > CNO_WS_BINARY)
        return &BAD_OPCODE;
    if (!opcode == !ws->opcode)
        return opcode ? &INTERRUPTED : &NO_MESSAGE;
    return NULL;
}

static uint64_t read_number(const unsigned char *at, size_t size) {
    uint64_t number = 0;
    while (size--)
        number = number << 8 | *at++;
    return number;
}

// Understands the header at `at`, of which `size` bytes are there (at least 1), and which begins
// `offset` bytes into the input. Returns its size, or 0 if it is not whole, or CNO_ERROR.
static int read_header(struct cno_ws_t *ws, const unsigned char *at, size_t size, uint64_t offset) {
    const struct fault *fault = check_first(ws, at[0]);
    if (fault)
        return refuse(fault, offset);
    if (size < 2)
        return 0;
    uint64_t length = at[1] & 127;
    size_t head = 2;
    if (!(at[1] & 128) != (ws->role == CNO_WS_CLIENT))
        return refuse(ws->role == CNO_WS_CLIENT ? &MASKED : &NOT_MASKED, offset + 1);
    if (length > 125) {
        if (at[0] & 8)
            return refuse(&BAD_CONTROL, offset + 1);
        size_t width = length == 126 ? 2 : 8;
        if (size < 2 + width)
            return 0;
        length = read_number(at + 2, width);
        if (length >> 63)
            return refuse(&TOO_LONG, offset + 2);
        if (length < (width == 2 ? 126 : 65536))
            return refuse(&BAD_LENGTH, offset + 2);
        head += width;
    }
    if (!(at[0] & 8) && length > ws->max_size - ws->message.size)
        return refuse(&TOO_BIG, offset + 1);
    if (ws->role == CNO_WS_CLIENT) {
        memset(ws->key, 0, 4);
    } else {
        if (size < head + 4)
            return 0;
        memcpy(ws->key, at + head, 4);
        head += 4;
    }
    ws->left = length;
    return (int)head;
}

// The header of a frame is whole.
static int begin_frame(struct cno_ws_t *ws, unsigned char first) {
    ws->in_frame = 1;
    ws->first = first;
    ws->head_size = 0;
    ws->control_size = 0;
    if (first & 15 && !(first & 8)) {
        ws->opcode = first & 15;
        ws->deflated = (first & CNO_WS_RSV1) != 0;
        ws->ascii = 1;
        ws->utf8 = 0;
    }
    return CNO_OK;
}

// Reads a header that has not come whole, byte by byte.
static int read_cut_header(struct cno_ws_t *ws, struct input *in) {
    while (in->size) {
        ws->head[ws->head_size++] = (unsigned char)*in->data;
        take(ws, in, 1);
        int size = read_header(ws, ws->head, ws->head_size, ws->offset - ws->head_size);
        if (size)
            return size < 0 ? CNO_ERROR : begin_frame(ws, ws->head[0]);
    }
    return STOP;
}

static int read_frame(struct cno_ws_t *ws, struct input *in, const struct cno_ws_room_t *room) {
    if (!in->size)
        return STOP;
    if (ws->head_size)
        return read_cut_header(ws, in);
    const unsigned char *at = (const unsigned char *)in->data;
    if (!(at[0] & 8) && !room->messages)
        return STOP;
    int size = read_header(ws, at, in->size, ws->offset);
    if (size < 0)
        return CNO_ERROR;
    if (!size)
        return read_cut_header(ws, in);
    unsigned char first = at[0];
    take(ws, in, (size_t)size);
    return begin_frame(ws, first);
}

// ---- messages ----------------------------------------------------------------------------------

// Checks the next piece of a text. ASCII behind a whole character needs no second look.
static int check_text(struct cno_ws_t *ws, const char *data, size_t size, int ascii, int ends) {
    if (ws->opcode != CNO_WS_TEXT || ws->deflated)
        return CNO_OK;
    size_t good = ascii && !ws->utf8 ? size : cno__utf8_check(&ws->utf8, data, size);
    if (good == size && !(ends && ws->utf8))
        return CNO_OK;
    return refuse(&BAD_TEXT, ws->offset + good);
}

static int tell(struct cno_ws_t *ws, struct cno_ws_room_t *room, const char *data, size_t size) {
    struct cno_ws_message_t message = {ws->opcode, ws->deflated, ws->ascii, data, size};
    ws->opcode = 0;
    ws->in_frame = 0;
    room->messages--;
    if (room->bytes > size)
        room->bytes -= size;
    else
        room->bytes = room->messages = 0;
    if (!ws->cb_code || !ws->cb_code->on_message)
        return CNO_OK;
    return fired(ws->cb_code->on_message(ws->cb_data, &message));
}

// Reads a message whose payload is all in the input.
static int read_whole(struct cno_ws_t *ws, struct input *in, struct cno_ws_room_t *room) {
    size_t size = (size_t)ws->left;
    struct cno_ws_message_t message = {ws->opcode, ws->deflated, 0, NULL, size};
    char *to;
    if (ws->cb_code && ws->cb_code->on_room) {
        if (!(to = ws->cb_code->on_room(ws->cb_data, &message)))
            return cno_error_set(CNO_ERRNO_NO_MEMORY, "no-memory", "no room for %zu bytes", size);
    } else {
        if (cno__bytes_reserve(&ws->message, size + 1))
            return CNO_ERROR;
        to = ws->message.data;
    }
    ws->ascii = (uint8_t)cno__ws_copy(to, in->data, size, ws->key);
    if (check_text(ws, to, size, ws->ascii, 1))
        return CNO_ERROR;
    take(ws, in, size);
    return tell(ws, room, to, size);
}

// Empties the buffer of a message that was told, and releases a large one.
static void clear(struct cno_ws_t *ws) {
    if (ws->message.room > CNO_WS_KEEP)
        cno__bytes_free(&ws->message);
    ws->message.size = 0;
}

static int read_data(struct cno_ws_t *ws, struct input *in, struct cno_ws_room_t *room) {
    if (!room->messages)
        return STOP;
    size_t size = in->size < ws->left ? in->size : (size_t)ws->left;
    int ends = size == ws->left && (ws->first & CNO_WS_FIN), r = CNO_OK;
    if (ends && !ws->message.size) {
        r = read_whole(ws, in, room);
        clear(ws);
        return r;
    }
    if (cno__bytes_reserve(&ws->message, size))
        return CNO_ERROR;
    if (size) {
        char *to = ws->message.data + ws->message.size;
        int ascii = cno__ws_copy(to, in->data, size, ws->key);
        ws->ascii &= (uint8_t)ascii;
        if (check_text(ws, to, size, ascii, 0))
            return CNO_ERROR;
        ws->message.size += size;
        cno__ws_turn(ws->key, size);
        ws->left -= size;
        take(ws, in, size);
    }
    if (ws->left)
        return STOP;
    ws->in_frame = 0;
    if (!ends)
        return CNO_OK;
    if (check_text(ws, NULL, 0, 1, 1))
        return CNO_ERROR;
    r = tell(ws, room, ws->message.data, ws->message.size);
    clear(ws);
    return r;
}

// ---- control frames ----------------------------------------------------------------------------

static int read_close(struct cno_ws_t *ws) {
    const unsigned char *payload = (const unsigned char *)ws->control;
    size_t size = ws->control_size;
    uint32_t code = CNO_WS_CODE_NO_STATUS, state = 0;
    uint64_t start = ws->offset - size;
    if (size == 1)
        return refuse(&BAD_CLOSE, start);
    if (size) {
        code = (uint32_t)read_number(payload, 2);
        if (!cno_ws_code_is_valid(code))
            return refuse(&BAD_CODE, start);
        size_t good = cno__utf8_check(&state, ws->control + 2, size - 2);
        if (good < size - 2 || state)
            return refuse(&BAD_REASON, start + 2 + good);
    }
    ws->over = 1;
    cno__bytes_free(&ws->message);
    if (!ws->cb_code || !ws->cb_code->on_close)
        return CNO_OK;
    return fired(ws->cb_code->on_close(ws->cb_data, code, ws->control + 2, size ? size - 2 : 0));
}

static int read_control(struct cno_ws_t *ws, struct input *in) {
    size_t size = in->size < ws->left ? in->size : (size_t)ws->left;
    cno__ws_copy(ws->control + ws->control_size, in->data, size, ws->key);
    cno__ws_turn(ws->key, size);
    ws->control_size += (uint8_t)size;
    ws->left -= size;
    take(ws, in, size);
    if (ws->left)
        return STOP;
    ws->in_frame = 0;
    if ((ws->first & 15) == CNO_WS_CLOSE)
        return read_close(ws);
    int (*event)(void *, const char *, size_t) = !ws->cb_code ? NULL
                                                 : (ws->first & 15) == CNO_WS_PING
                                                     ? ws->cb_code->on_ping
                                                     : ws->cb_code->on_pong;
    return event ? fired(event(ws->cb_data, ws->control, ws->control_size)) : CNO_OK;
}

// ---- the endpoint ------------------------------------------------------------------------------

void cno_ws_init(struct cno_ws_t *ws, enum CNO_WS_ROLE role, size_t max_size, uint32_t options) {
    *ws =
        (struct cno_ws_t){.role = (uint8_t)role, .max_size = max_size, .options = (uint8_t)options};
}

void cno_ws_fini(struct cno_ws_t *ws) {
    cno__bytes_free(&ws->message);
    ws->over = 1;
}

struct cno_ws_t *cno_ws_new(enum CNO_WS_ROLE role, size_t max_size, uint32_t options) {
    struct cno_ws_t *ws = cno__resize(NULL, sizeof(*ws));
    if (ws)
        cno_ws_init(ws, role, max_size, options);
    return ws;
}

void cno_ws_free(struct cno_ws_t *ws) {
    if (ws)
        cno_ws_fini(ws);
    cno__release(ws);
}

int cno_ws_consume(struct cno_ws_t *ws, const char *data, size_t size, struct cno_ws_room_t *room) {
    struct input in = {data, size};
    struct cno_ws_room_t endless = {SIZE_MAX, SIZE_MAX};
    if (size > INT32_MAX)
        return cno_error_set(CNO_ERRNO_ASSERTION, "too-large",
                             "more than 2^31-1 bytes in one call");
    int r = CNO_OK;
    while (!r && !ws->over) {
        if (!ws->in_frame)
            r = read_frame(ws, &in, room ? room : &endless);
        if (!r)
            r = ws->first & 8 ? read_control(ws, &in) : read_data(ws, &in, room ? room : &endless);
    }
    if (r < 0) {
        cno_ws_fini(ws);
        return CNO_ERROR;
    }
    if (ws->over)
        take(ws, &in, in.size);
    return (int)(size - in.size);
}
