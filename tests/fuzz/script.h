// One connection and a peer that is only fuzz octets: these are a script of what the peer sends and of what
// the application does in between. Text and frames are built from compact octets, so that most of what is
// tried gets past the first check; raw octets stand between them.
#pragma once

#include "calls.h"

// ---- what the peer says ------------------------------------------------------------------------

static const char *const H1_TOKENS[] = {
    "GET / HTTP/1.1\r\n",
    "POST /p HTTP/1.1\r\n",
    "HEAD / HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n",
    "PUT /p HTTP/1.0\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "CONNECT h:80 HTTP/1.1\r\n",
    "GET http://h/x HTTP/1.1\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "Host: h\r\n",
    "Host: h\r\n\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 4096\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\n",
    "Upgrade: h2c\r\n",
    "Upgrade: websocket\r\nConnection: Upgrade\r\n",
    "HTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "Expect: 100-continue\r\n",
    "TE: trailers\r\n",
    "Cookie: a=b\r\n",
    "X-Long: yyyyyyyyyyyyyyyyyy\r\n",
    "\r\n",
    "hello",
    "5\r\nhello\r\n",
    "5;a=b\r\nhello\r\n",
    "fff\r\n",
    "0\r\n",
    "0\r\n\r\n",
    "0\r\nX-Sum: 1\r\n\r\n",
    "ffffffffffffffff\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204 \r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.1 404\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
    " ",
    "\n",
    "\r",
    ":",
    "\t",
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"};

// Fields by number: static index, literal name, literal value.
static const struct {
    const char *name, *value;
} H2_FIELDS[] = {{":method", "GET"},
                 {":method", "POST"},
                 {":method", "HEAD"},
                 {":method", "CONNECT"},
                 {":scheme", "http"},
                 {":path", "/"},
                 {":path", "*"},
                 {":authority", "h"},
                 {":authority", "h:80"},
                 {":status", "200"},
                 {":status", "100"},
                 {":status", "204"},
                 {":status", "101"},
                 {":protocol", "websocket"},
                 {"content-length", "5"},
                 {"content-length", "0"},
                 {"content-length", "100"},
                 {"te", "trailers"},
                 {"te", "gzip"},
                 {"connection", "close"},
                 {"cookie", "a=b"},
                 {"cookie", "c=d"},
                 {"host", "h"},
                 {"expect", "100-continue"},
                 {"transfer-encoding", "chunked"},
                 {"x-a", "1"},
                 {"X-A", "1"},
                 {"x-b", ""},
                 {"", "x"},
                 {"x-c", "a\nb"},
                 {":x", "y"},
                 {"priority", "u=1"}};

static inline void put_string(struct octets *o, const char *data, size_t size) {
    size_t rest = size;
    if (rest < 127) {
        put_number(o, rest, 1);
    } else {
        put_number(o, 127, 1);
        for (rest -= 127; rest >= 128; rest >>= 7)
            put_number(o, rest % 128 + 128, 1);
        put_number(o, rest, 1);
    }
    put(o, data, size);
}

// A header block of so many items: a known field as a literal, an index, or octets as they are.
static inline void put_block(struct octets *o, struct reader *r, unsigned kind) {
    static const char *const starts[] = {"\x82\x84\x86\x01\x01h",
                                         "\x83\x84\x86\x01\x01h",
                                         "\x88",
                                         "\x82\x84\x86\x41\x01h",
                                         "",
                                         ("\x08\x03"
                                          "103"),
                                         "\x3f\xe1\x1f",
                                         "\x20"};
    put_text(o, starts[kind & 7]);
    for (unsigned items = kind >> 3 & 7; items && r->size; items--) {
        unsigned item = take(r);
        if (item & 0x80) {
            put_number(o, item, 1);
        } else if (item >= 0x60) {
            struct reader run = take_run(r, item & 0x1f);
            put(o, run.data, run.size);
        } else {
            const char *name = H2_FIELDS[item & 0x1f].name, *value = H2_FIELDS[item & 0x1f].value;
            put_number(o, (unsigned[]){0x00, 0x40, 0x10}[item >> 5], 1);
            put_string(o, name, strlen(name));
            put_string(o, value, strlen(value));
        }
    }
}

static inline void put_frame_header(struct octets *o, size_t size, unsigned type, unsigned flags,
                                    uint32_t stream) {
    put_number(o, size, 3);
    put_number(o, type, 1);
    put_number(o, flags, 1);
    put_number(o, stream, 4);
}

static inline uint32_t take_stream(struct reader *r, const struct side *s) {
    unsigned octet = take(r);
    if (octet < 0x80)
        return octet & 0x3f;
    if (octet < 0xc0)  // the newest of either side
        return s->c.last_stream[octet & 1] - (octet >> 1 & 3) * 2;
    if (octet < 0xf0)  // the next of theirs
        return s->c.last_stream[CNO_REMOTE] + (octet & 0xf) +
               (s->c.last_stream[CNO_REMOTE] ? 0 : 1);
    return (uint32_t[]){0x7fffffff, 0x7ffffffe, 0x80000001, 0xffffffff}[octet & 3];
}

// HEADERS or PUSH_PROMISE, perhaps padded, with a priority, and cut into CONTINUATION.
static inline void put_headers(struct octets *o, struct reader *r, const struct side *s,
                               unsigned type) {
    struct octets block = {0};
    unsigned how = take(r);
    uint32_t stream = take_stream(r, s), promised = type == 5 ? take_stream(r, s) : 0;
    unsigned flags = how & 1, padding = how & 2 ? take(r) : 0,
             pieces = how & 4 ? take(r) % 12 + 2 : 1;
    put_block(&block, r, take(r));
    size_t cut = block.size / pieces, first = pieces > 1 ? cut : block.size;
    flags |= (how & 2 ? 0x8 : 0) | (pieces == 1 ? 0x4 : 0) | (how & 8 && type == 1 ? 0x20 : 0);
    size_t size =
        first + (how & 2 ? padding + 1 : 0) + (flags & 0x20 ? 5 : 0) + (type == 5 ? 4 : 0);
    put_frame_header(o, size, type, flags, stream);
    put_number(o, padding, how & 2 ? 1 : 0);
    put_number(o, 0x80000001, flags & 0x20 ? 4 : 0);
    put_number(o, 16, flags & 0x20 ? 1 : 0);
    put_number(o, promised, type == 5 ? 4 : 0);
    put(o, block.data, first);
    for (unsigned i = 0; i < padding; i++)
        put_number(o, 0, 1);
    for (unsigned i = 1; i < pieces; i++) {
        size_t from = i * cut, part = i == pieces - 1 ? block.size - from : cut;
        put_frame_header(o, part, 9, i == pieces - 1 && !(how & 16) ? 0x4 : 0, stream);
        put(o, block.data ? block.data + from : NULL, part);
    }
    free(block.data);
}

static inline void put_data(struct octets *o, struct reader *r, const struct side *s) {
    static const size_t sizes[] = {5, 0, 1, 100, 95, 7, 16384, 16385, 9000, 16379, 6, 2000};
    unsigned how = take(r);
    uint32_t stream = take_stream(r, s);
    size_t body = sizes[how >> 4 & 7 ? (how >> 4) % 12 : 0];
    unsigned padding = how & 2 ? take(r) : 0;
    put_frame_header(o, body + (how & 2 ? padding + 1 : 0), 0, (how & 1) | (how & 2 ? 8 : 0),
                     stream);
    put_number(o, how & 4 ? padding + 200 : padding, how & 2 ? 1 : 0);
    put(o, body_octets, body);
    for (unsigned i = 0; i < padding; i++)
        put_number(o, 0, 1);
}

static const uint32_t NUMBERS[] = {0,        1,          2,          5,         100,     4096,
                                   16383,    16384,      65535,      65536,     1 << 20, 16777215,
                                   16777216, 0x7fffffff, 0x80000000, 0xffffffff};

static inline void put_frame(struct octets *o, struct reader *r, const struct side *s) {
    unsigned type = take(r);
    uint32_t stream;
    switch (type % 12) {
        case 0:
            put_data(o, r, s);
            return;
        case 1:
        case 10:
            put_headers(o, r, s, 1);
            return;
        case 5:
            put_headers(o, r, s, 5);
            return;
        case 3:
        case 8:
            stream = take_stream(r, s);
            put_frame_header(o, 4, type % 12, 0, stream);
            put_number(o, NUMBERS[take(r) & 15], 4);
            return;
        case 4: {
            unsigned how = take(r), count = how & 0x80 ? 0 : how & 7;
            put_frame_header(o, 6 * count, 4, how >> 7, how & 0x40 ? 1 : 0);
            while (count--) {
                unsigned setting = take(r);
                put_number(o, setting >> 4, 2);
                put_number(o, NUMBERS[setting & 15], 4);
            }
            return;
        }
        case 6:
            put_frame_header(o, 8, 6, take(r) & 1, 0);
            put(o, "abcdefgh", 8);
            return;
        case 7:
            put_frame_header(o, 8, 7, 0, 0);
            put_number(o, take_stream(r, s), 4);
            put_number(o, take(r) & 15, 4);
            return;
        default: {  // any type, any size
            unsigned flags = take(r);
            stream = take_stream(r, s);
            struct reader run = take_run(r, take(r));
            put_frame_header(o, run.size, take(r) & 0x1f, flags, stream);
            put(o, run.data, run.size);
        }
    }
}

// ---- a script ----------------------------------------------------------------------------------

struct script {
    struct side *side;
    struct octets in;    // what was said and not read yet
    struct octets last;  // the latest piece
    uint64_t fed;
    int cutting;
    uint32_t seed;  // of the places to cut at
};

static inline void script_read(struct script *script) {
    struct octets *in = &script->in;
    size_t at = 0;
    script->fed += in->size;
    while (script->cutting && at < in->size) {
        script->seed = script->seed * 1664525 + 1013904223;
        size_t part =
            script->seed >> 30 ? 1 + (script->seed >> 16) % 11 : (script->seed >> 8) % 3000;
        part = part < in->size - at ? part : in->size - at;
        side_read(script->side, in->data + at, part);
        at += part;
    }
    if (!script->cutting || !in->size)
        side_read(script->side, in->data, in->size);
    in->size = 0;
}

static inline void script_said(struct script *script, size_t from) {
    script->last.size = 0;
    put(&script->last, script->in.data ? script->in.data + from : NULL, script->in.size - from);
}

static inline void script_step(struct script *script, struct reader *r, int http2) {
    struct side *s = script->side;
    struct octets *in = &script->in;
    size_t from = in->size;
    unsigned op = take(r);
    switch (op & 7) {
        case 0:
        case 1:
        case 2:
            if (http2 || s->c.version == CNO_HTTP2)
                put_frame(in, r, s);
            else
                put_text(in, H1_TOKENS[take(r) % (sizeof(H1_TOKENS) / sizeof(*H1_TOKENS))]);
            script_said(script, from);
            return;
        case 3: {
            struct reader run = take_run(r, op >> 3);
            put(in, run.data, run.size);
            script_said(script, from);
            return;
        }
        case 4:  // the latest piece again, or many times
            for (unsigned n = (unsigned[]){1, 2, 8, 130}[op >> 3 & 3];
                 n && in->size + script->last.size < 70000; n--)
                put(in, script->last.data, script->last.size);
            return;
        case 5:
            arm(s, r);
            return;
        case 6: {
            // Octets that were said come before the call.
            struct call call = take_call(r);
            script_read(script);
            apply(s, &call, 0);
            return;
        }
        default:
            script_read(script);
            if (op & 8)
                side_read(s, NULL, 0);
    }
}

// What was left over is read, then the transport ends, once or twice.
static inline void script_end(struct script *script) {
    script_read(script);
    side_read(script->side, NULL, 0);
    side_eof(script->side);
    side_eof(script->side);
    free(script->in.data);
    free(script->last.data);
}

// Options and setup from the first octets: the side before its first read.
static inline struct side *script_side(struct reader *r, enum CNO_CONNECTION_KIND kind,
                                       int *greeted) {
    unsigned how = take(r);
    struct side *s = side_new(kind, how & 3);
    if (how & 4) {
        struct call call = take_call(r);
        configure(s, &call);
    } else if (how & 8) {
        struct cno_settings_t settings = s->c.settings[CNO_LOCAL];
        settings.enable_push = 1;
        cno_configure(&s->c, &settings);
    }
    *greeted = !(how & 16);
    return s;
}

static inline void say_hello(struct script *script, int server) {
    struct octets *in = &script->in;
    if (server)
        put_text(in, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_frame_header(in, 0, 4, 0, 0);
    put_frame_header(in, 0, 4, 1, 0);
}
