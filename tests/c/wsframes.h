// Frames of WebSocket from a short text, made without the library, and a log of what an endpoint tells.
//
// A script is frames separated by `|`. A frame is its first byte as two hexadecimal digits, then letters,
// then a space and the payload, with escapes \xHH. The letters: `m` changes whether the frame is masked,
// `w` and `q` write the length in 2 and 8 bytes whatever it is, `-` ends the frame behind its header.
// `*N` behind the letters repeats the payload N times. `!` begins raw bytes instead of a frame.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ws.h"

static const unsigned char FRAME_KEY[4] = {0x37, 0xfa, 0x21, 0x3d};

struct frames {
    char *data;
    size_t size;
};

static void frames_add(struct frames *f, const void *data, size_t size) {
    f->data = realloc(f->data, f->size + size + 1);
    if (!f->data)
        abort();
    if (size)
        memcpy(f->data + f->size, data, size);
    f->size += size;
}

static size_t frames_text(const char *text, size_t size, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        char hex[3] = {0};
        if (text[i] == '\\' && size - i >= 4 && text[i + 1] == 'x') {
            memcpy(hex, text + i + 2, 2);
            out[n++] = (char)strtol(hex, NULL, 16);
            i += 3;
        } else {
            out[n++] = text[i];
        }
    }
    return n;
}

static void frames_one(struct frames *f, const char *text, size_t size, int masked) {
    char head[16] = {0};
    char *payload = malloc(size + 1);
    if (!payload)
        abort();
    if (size && *text == '!') {
        frames_add(f, payload, frames_text(text + 1, size - 1, payload));
        free(payload);
        return;
    }
    size_t at = 2, n = 1, repeat = 1;
    int width = 0, cut = 0;
    head[0] = (char)strtol((char[3]){text[0], text[1], 0}, NULL, 16);
    for (; at < size && text[at] != ' '; at++) {
        if (text[at] == '*') {
            repeat = strtoul(text + at + 1, NULL, 10);
            at += strcspn(text + at, " ");
            break;
        }
        masked ^= text[at] == 'm';
        cut |= text[at] == '-';
        width = text[at] == 'w' ? 2 : text[at] == 'q' ? 8 : width;
    }
    size_t once = at < size ? frames_text(text + at + 1, size - at - 1, payload) : 0;
    size_t total = once * repeat;
    if (!width)
        width = total < 126 ? 1 : total < 65536 ? 2 : 8;
    head[n++] = (char)((masked ? 0x80 : 0) | (width == 1 ? (int)total : width == 2 ? 126 : 127));
    for (int i = width - 1; width > 1 && i >= 0; i--)
        head[n++] = (char)((unsigned long long)total >> 8 * i);
    if (masked) {
        memcpy(head + n, FRAME_KEY, 4);
        n += 4;
    }
    frames_add(f, head, n);
    for (size_t i = 0; !cut && i < total; i++) {
        char byte = (char)(payload[i % once] ^ (masked ? FRAME_KEY[i % 4] : 0));
        frames_add(f, &byte, 1);
    }
    free(payload);
}

// Makes the input of an endpoint of this role.
static struct frames frames_make(enum CNO_WS_ROLE role, const char *script) {
    struct frames f = {0};
    frames_add(&f, NULL, 0);
    for (size_t size; *script; script += size + (script[size] == '|')) {
        size = strcspn(script, "|");
        frames_one(&f, script, size, role == CNO_WS_SERVER);
    }
    return f;
}

// ---- a log -------------------------------------------------------------------------------------

struct log {
    char text[4096];
    size_t size;
    char *room;    // for on_room
    int own_room;  // whether the endpoint has on_room
    int fails;     // what callbacks return
    int told;
};

static void log_add(struct log *l, const char *what, const char *data, size_t size) {
    l->size += (size_t)snprintf(l->text + l->size, sizeof(l->text) - l->size, "%s:", what);
    for (size_t i = 0; i < size && i < 40; i++)
        l->size += (size_t)snprintf(l->text + l->size, sizeof(l->text) - l->size,
                                    data[i] >= ' ' && data[i] <= '~' ? "%c" : "\\x%02x",
                                    (unsigned char)data[i]);
    if (size > 40)
        l->size += (size_t)snprintf(l->text + l->size, sizeof(l->text) - l->size, "..%zu", size);
    l->size += (size_t)snprintf(l->text + l->size, sizeof(l->text) - l->size, ";");
    l->told++;
}

static char *log_room(void *data, const struct cno_ws_message_t *m) {
    struct log *l = data;
    l->room = cno__resize(l->room, m->size + 1);
    return l->room;
}

static int log_message(void *data, const struct cno_ws_message_t *m) {
    struct log *l = data;
    char what[16];
    snprintf(what, sizeof(what), "%s%s%s", m->opcode == CNO_WS_TEXT ? "text" : "binary",
             m->deflated ? "+z" : "", m->ascii ? "" : "+8");
    log_add(l, what, m->data, m->size);
    return l->fails;
}

static int log_ping(void *data, const char *payload, size_t size) {
    log_add(data, "ping", payload, size);
    return ((struct log *)data)->fails;
}

static int log_pong(void *data, const char *payload, size_t size) {
    log_add(data, "pong", payload, size);
    return ((struct log *)data)->fails;
}

static int log_close(void *data, uint32_t code, const char *reason, size_t size) {
    char what[24];
    snprintf(what, sizeof(what), "close:%u", (unsigned)code);
    log_add(data, what, reason, size);
    return ((struct log *)data)->fails;
}

static void log_fault(struct log *l) {
    const struct cno_error_t *e = cno_error();
    l->size += (size_t)snprintf(l->text + l->size, sizeof(l->text) - l->size, "%s:%u@%llu",
                                e->reason, (unsigned)e->wire, (unsigned long long)e->offset);
}

static const struct cno_ws_vtable_t LOG_ROOM = {log_room, log_message, log_ping, log_pong,
                                                log_close};
static const struct cno_ws_vtable_t LOG_PLAIN = {NULL, log_message, log_ping, log_pong, log_close};
