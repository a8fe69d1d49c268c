// Feeds one incomplete or complete input in pieces of a given size, for callgrind to count:
//
//   split KIND SIZE PIECE    KIND: head, fields, chunk, trailers, body, block, data
//
// SIZE is of the input in octets, PIECE of each read. What is counted is inside feed_pieces.
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct input {
    char *data;
    size_t size, skipped;  // the first octets are read before anything is counted
};

static void put(struct input *in, const char *data, size_t size) {
    memcpy(in->data + in->size, data, size);
    in->size += size;
}

static void put_text(struct input *in, const char *text) {
    put(in, text, strlen(text));
}

static void put_many(struct input *in, const char *text, size_t size) {
    while (in->size < size)
        put_text(in, text);
}

static void put_frame(struct input *in, size_t size, int type, int flags, int stream) {
    const char header[9] = {(char)(size >> 16), (char)(size >> 8), (char)size, (char)type,
                            (char)flags, 0, 0, 0, (char)stream};
    put(in, header, sizeof(header));
}

// Small field lines as browsers send them, of 32 octets.
#define LINE "x-header-name: a value like any\r\n"

static int make(struct input *in, const char *kind, size_t size) {
    static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0";
    static const char post[] = "\0\0\5\1\4\0\0\0\1\x83\x86\x84\x41\0";
    in->data = malloc(size + 4096);
    if (!strcmp(kind, "head")) {
        put_text(in, "GET / HTTP/1.1\r\nHost: h\r\ncookie: ");
        put_many(in, "0123456789abcdef", size - 4);
        put_text(in, "\r\n\r\n");
    } else if (!strcmp(kind, "fields")) {
        put_text(in, "GET / HTTP/1.1\r\nHost: h\r\n");
        put_many(in, LINE, size - 34);
        put_text(in, "\r\n");
    } else if (!strcmp(kind, "chunk") || !strcmp(kind, "trailers") || !strcmp(kind, "body")) {
        put_text(in, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        in->skipped = in->size;
        put_text(in, *kind == 'c' ? "1;" : *kind == 't' ? "0\r\na: " : "ffffff\r\n");
        put_many(in, "0123456789abcdef", in->skipped + size);
    } else if (!strcmp(kind, "block") || !strcmp(kind, "data")) {
        put(in, hello, sizeof(hello) - 1);
        if (*kind == 'd')
            put(in, post, 14);
        in->skipped = in->size;
        if (*kind == 'd') {
            while (in->size < in->skipped + size) {
                put_frame(in, 1024, 0, 0, 1);
                put_many(in, "0123456789abcdef", in->size + 1024);
            }
            return 1;
        }
        put_frame(in, size, 1, 5, 1);
        put(in, "\x82\x86\x84\x41\1h", 6);
        while (in->size < in->skipped + size - 20)
            put(in, "\0\3abc\012012345679", 16);
    } else {
        return 0;
    }
    return 1;
}

__attribute__((noinline)) void feed_pieces(struct cno_connection_t *c, const struct input *in,
                                           size_t piece) {
    for (size_t at = in->skipped; at < in->size; at += piece)
        if (cno_consume(c, in->data + at, in->size - at < piece ? in->size - at : piece))
            break;
}

int main(int argc, char **argv) {
    struct cno_connection_t c;
    struct input in = {0};
    struct cno_limits_t limits = {.fields = 512, .head = 1 << 24, .line = 1 << 24};
    struct cno_settings_t settings;
    if (argc < 4 || !make(&in, argv[1], strtoul(argv[2], NULL, 10))) {
        fprintf(stderr, "split KIND SIZE PIECE\n");
        return 2;
    }
    cno_init(&c, CNO_SERVER);
    settings = c.settings[CNO_LOCAL];
    settings.initial_window_size = 1 << 24;
    settings.max_header_list_size = 1 << 24;
    if (cno_limit(&c, &limits) || cno_configure(&c, &settings) || cno_begin(&c, CNO_HTTP1) ||
        cno_consume(&c, in.data, in.skipped)) {
        fprintf(stderr, "%s\n", cno_error()->text);
        return 1;
    }
    feed_pieces(&c, &in, strtoul(argv[3], NULL, 10));
    cno_fini(&c);
    free(in.data);
    return 0;
}
