// What the tests put on the wire: escaped text and HTTP/2 frames, in the notation of
// tests/vectors/README.md. Built here from the RFCs; nothing of the engine is used.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- a growing run of octets -------------------------------------------------------------------

struct wire {
    char *data;
    size_t size, room;
};

static inline void wire_put(struct wire *w, const void *data, size_t size) {
    if (w->room - w->size < size + 1) {
        w->room = (w->size + size + 64) * 2;
        w->data = realloc(w->data, w->room);
        if (!w->data)
            abort();
    }
    if (size)
        memcpy(w->data + w->size, data, size);
    w->size += size;
    w->data[w->size] = 0;
}

static inline void wire_free(struct wire *w) {
    free(w->data);
    *w = (struct wire){0};
}

// Appends what `once` holds that many times, and frees it.
static inline void wire_repeat(struct wire *w, struct wire *once, unsigned long times) {
    while (times--)
        wire_put(w, once->data, once->size);
    wire_free(once);
}

static inline void wire_number(struct wire *w, uint64_t number, int octets) {
    while (octets--) {
        char octet = (char)(number >> 8 * octets);
        wire_put(w, &octet, 1);
    }
}

static inline int wire_is(const char *text, size_t size, const char *word) {
    return size == strlen(word) && !memcmp(text, word, size);
}

static inline int wire_hex(const char *two) {
    char digits[3] = {two[0], two[1], 0}, *end;
    long octet = strtol(digits, &end, 16);
    if (*end || end == digits) {
        printf("not two hexadecimal digits: %.8s\n", two);
        exit(2);
    }
    return (int)octet;
}

// ---- escaped text ------------------------------------------------------------------------------

// Appends `text` without its escapes. `\^` puts no octet; where it stood is noted in *mark.
static inline void wire_text(struct wire *w, const char *text, size_t size, size_t *mark) {
    static const char escapes[] = "r\rn\nt\ts \\\\{{", *found;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '{') {
            char *star;
            unsigned long times = strtoul(text + i + 1, &star, 10);
            const char *end = memchr(text + i, '}', size - i);
            if (*star != '*' || !end) {
                printf("not {N*text}: %s\n", text + i);
                exit(2);
            }
            struct wire once = {0};
            wire_text(&once, star + 1, (size_t)(end - star - 1), mark);
            wire_repeat(w, &once, times);
            i = (size_t)(end - text);
        } else if (text[i] != '\\') {
            wire_put(w, text + i, 1);
        } else if (text[++i] == 'x') {
            wire_number(w, (uint64_t)wire_hex(text + i + 1), 1);
            i += 2;
        } else if (text[i] == '^') {
            *mark = w->size;
        } else if ((found = strchr(escapes, text[i])) && (found - escapes) % 2 == 0) {
            wire_put(w, found + 1, 1);
        } else {
            printf("no such escape: \\%s\n", text + i);
            exit(2);
        }
    }
}

// Appends octets the way the vectors spell a word of expected text.
static inline void wire_escape(struct wire *w, const char *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)data[i];
        char code[8];
        if (c > ' ' && c < 0x7f && c != '\\' && c != '{') {
            wire_put(w, data + i, 1);
        } else {
            int length = snprintf(code, sizeof(code), c == ' ' ? "\\s" : "\\x%02x", c);
            wire_put(w, code, (size_t)length);
        }
    }
}

// Cuts the next word out of a line. Returns NULL at its end.
static inline const char *wire_word(const char **line, size_t *size) {
    *line += strspn(*line, " ");
    const char *word = *line;
    *size = strcspn(word, " ");
    *line += *size;
    return *size ? word : NULL;
}

// ---- HTTP/2 ------------------------------------------------------------------------------------

#define WIRE_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static const char *const WIRE_TYPES[] = {"DATA",          "HEADERS",      "PRIORITY", "RST_STREAM",
                                         "SETTINGS",      "PUSH_PROMISE", "PING",     "GOAWAY",
                                         "WINDOW_UPDATE", "CONTINUATION"};

static const char *const WIRE_CODES[] = {"NO_ERROR",
                                         "PROTOCOL_ERROR",
                                         "INTERNAL_ERROR",
                                         "FLOW_CONTROL_ERROR",
                                         "SETTINGS_TIMEOUT",
                                         "STREAM_CLOSED",
                                         "FRAME_SIZE_ERROR",
                                         "REFUSED_STREAM",
                                         "CANCEL",
                                         "COMPRESSION_ERROR",
                                         "CONNECT_ERROR",
                                         "ENHANCE_YOUR_CALM",
                                         "INADEQUATE_SECURITY",
                                         "HTTP_1_1_REQUIRED"};

static const struct {
    const char *name;
    int bit;
    unsigned types;  // by 1 << type: where it has this name
} WIRE_FLAGS[] = {{"END_STREAM", 0x1, 0x003},
                  {"ACK", 0x1, 0x050},
                  {"END_HEADERS", 0x4, 0x222},
                  {"PADDED", 0x8, 0x023},
                  {"PRIORITY", 0x20, 0x002}};

// A name of a table, or a number.
static inline uint32_t wire_named(const char *word, size_t size, const char *const *names,
                                  size_t count) {
    for (size_t i = 0; i < count; i++)
        if (wire_is(word, size, names[i]))
            return (uint32_t)i;
    char *end;
    unsigned long number = strtoul(word, &end, 0);
    if (end != word + size) {
        printf("no such name: %.*s\n", (int)size, word);
        exit(2);
    }
    return (uint32_t)number;
}

#define WIRE_NAMED(word, size, names) \
    wire_named(word, size, names, sizeof(names) / sizeof(*(names)))

static inline int wire_flags(const char *word, size_t size) {
    static const char *const names[] = {"END_STREAM", "ACK", "END_HEADERS", "PADDED", "PRIORITY"};
    int flags = 0;
    for (size_t part; size && !wire_is(word, size, "-"); word += part, size -= part) {
        part = strcspn(word, "| ");
        part = part < size ? part : size;
        uint32_t at = WIRE_NAMED(word, part, names);
        flags |= word[0] >= '0' && word[0] <= '9' ? (int)at : WIRE_FLAGS[at].bit;
        part += part < size;
    }
    return flags;
}

// A string literal without Huffman coding (RFC 7541 section 5.2), of escaped text.
static inline void wire_string(struct wire *w, const char *text, size_t size) {
    struct wire plain = {0};
    size_t mark;
    wire_text(&plain, text, size, &mark);
    size_t rest = plain.size;
    if (rest < 127) {
        wire_number(w, rest, 1);
    } else {
        wire_number(w, 127, 1);
        for (rest -= 127; rest >= 128; rest >>= 7)
            wire_number(w, rest % 128 + 128, 1);
        wire_number(w, rest, 1);
    }
    wire_put(w, plain.data, plain.size);
    wire_free(&plain);
}

// name=value as a literal field with a literal name (RFC 7541 section 6.2).
static inline void wire_field(struct wire *w, const char *word, size_t size) {
    int indexed = word[0] == '+';
    word += indexed;
    size -= (size_t)indexed;
    const char *equals = memchr(word, '=', size);
    if (!equals) {
        printf("neither octets nor a field: %.*s\n", (int)size, word);
        exit(2);
    }
    wire_number(w, indexed ? 0x40 : 0x00, 1);
    wire_string(w, word, (size_t)(equals - word));
    wire_string(w, equals + 1, (size_t)(word + size - equals - 1));
}

// One word of a payload.
static inline void wire_item(struct wire *w, const char *word, size_t size) {
    static const struct {
        const char *name, *fields;
    } macros[] = {{"@get", ":method=GET :scheme=http :path=/ :authority=h"},
                  {"@post", ":method=POST :scheme=http :path=/ :authority=h"},
                  {"@ok", ":status=200"}};
    for (size_t i = 0, n; i < sizeof(macros) / sizeof(*macros); i++) {
        const char *line = macros[i].fields, *part;
        while (wire_is(word, size, macros[i].name) && (part = wire_word(&line, &n)))
            wire_item(w, part, n);
        if (wire_is(word, size, macros[i].name))
            return;
    }
    char *star;
    unsigned long times = strtoul(word, &star, 10);
    size_t mark, used = (size_t)(star - word);
    if (used && *star == '*') {
        struct wire once = {0};
        wire_item(&once, star + 1, size - used - 1);
        wire_repeat(w, &once, times);
    } else if (!memcmp(word, "t:", 2)) {
        wire_text(w, word + 2, size - 2, &mark);
    } else if (!memcmp(word, "x:", 2)) {
        for (size_t i = 2; i < size; i += 2)
            wire_number(w, (uint64_t)wire_hex(word + i), 1);
    } else if (size > 3 && word[0] == 'u' && strchr("1368", word[1]) && memchr(word, ':', 4)) {
        const char *colon = strchr(word, ':');
        wire_number(w, strtoul(colon + 1, NULL, 0), atoi(word + 1) / 8);
    } else if (!memcmp(word, "s:", 2)) {
        char *equals;
        wire_number(w, strtoul(word + 2, &equals, 0), 2);
        wire_number(w, strtoul(equals + 1, NULL, 0), 4);
    } else {
        wire_field(w, word, size);
    }
}

// TYPE STREAM FLAGS payload..., or PREFACE, or RAW payload...
static inline void wire_frame(struct wire *w, const char *line) {
    size_t size, length = SIZE_MAX;
    const char *word = wire_word(&line, &size);
    struct wire payload = {0};
    uint32_t type = 0, stream = 0;
    int flags = 0, raw = wire_is(word, size, "RAW");
    if (wire_is(word, size, "PREFACE")) {
        wire_put(w, WIRE_PREFACE, strlen(WIRE_PREFACE));
        return;
    }
    if (!raw) {
        type = WIRE_NAMED(word, size, WIRE_TYPES);
        stream = (uint32_t)strtoul(line, (char **)&line, 0);
        if ((word = wire_word(&line, &size)))
            flags = wire_flags(word, size);
    }
    while ((word = wire_word(&line, &size))) {
        if (!memcmp(word, "len:", size < 4 ? size : 4))
            length = strtoul(word + 4, NULL, 0);
        else
            wire_item(&payload, word, size);
    }
    if (!raw) {
        wire_number(w, length == SIZE_MAX ? payload.size : length, 3);
        wire_number(w, type, 1);
        wire_number(w, (uint64_t)flags, 1);
        wire_number(w, stream, 4);
    }
    wire_put(w, payload.data, payload.size);
    wire_free(&payload);
}
