// What libcno makes of large bodies and of many streams. It alone: others copy what they send.
//
//   bulk upload   h1|h2 MIB   one request with such a body, in reads of 64 KiB
//   bulk download h1|h2 MIB   one answer with such a body, in writes of 64 KiB; the sink only counts
//   bulk streams  h2    COUNT heap octets per stream that is open at the same time
//
// Prints key=value lines; callgrind counts inside hot_loop.
#include "core.h"

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 65536, FRAME = 16384, FRAME_HEADER = 9, MIB = 1 << 20, STREAMS = 1024 };

static unsigned long long received, sent;

static void die(const char *what) {
    fprintf(stderr, "bulk: %s: %s\n", what, cno_error()->text);
    exit(1);
}

static int on_writev(void *connection, const struct cno_buffer_t *pieces, size_t count) {
    (void)connection;
    for (size_t i = 0; i < count; i++)
        sent += pieces[i].size;
    return 0;
}

static int on_message_data(void *connection, uint32_t stream, const char *data, size_t size) {
    (void)connection, (void)stream, (void)data;
    received += size;
    return 0;
}

static const struct cno_vtable_t events = {
    .on_writev = on_writev,
    .on_message_data = on_message_data,
};

static void feed(struct cno_connection_t *c, const void *data, size_t size) {
    if (cno_consume(c, data, size))
        die("cno_consume");
}

// SETTINGS with the largest window for streams, WINDOW_UPDATE to the largest for the connection.
static const char handshake[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                "\0\0\6\4\0\0\0\0\0\0\4\x7f\xff\xff\xff"
                                "\0\0\4\10\0\0\0\0\0\x7f\xff\0\0";

// GET or POST / of example.com by indices of the static table, and one literal.
static size_t put_request(char *to, uint32_t stream, int post, int final) {
    const char block[] = {(char)(post ? 0x83 : 0x82), (char)0x84, (char)0x86, 0x01, 0x01, 'x'};
    const char header[FRAME_HEADER] = {0,
                                       0,
                                       sizeof(block),
                                       1,
                                       (char)(final ? 5 : 4),
                                       (char)(stream >> 24),
                                       (char)(stream >> 16),
                                       (char)(stream >> 8),
                                       (char)stream};
    memcpy(to, header, FRAME_HEADER);
    memcpy(to + FRAME_HEADER, block, sizeof(block));
    return FRAME_HEADER + sizeof(block);
}

static void begin(struct cno_connection_t *c, int h2) {
    cno_init(c, CNO_SERVER);
    c->cb_code = &events;
    c->cb_data = c;
    struct cno_settings_t settings = c->settings[CNO_LOCAL];
    settings.max_concurrent_streams = STREAMS;
    if (cno_configure(c, &settings) || cno_begin(c, h2 ? CNO_HTTP2 : CNO_HTTP1))
        die("cno_begin");
    if (h2)
        feed(c, handshake, sizeof(handshake) - 1);
}

// Not inlined: callgrind switches its counter on and off by this name.
__attribute__((noinline)) void hot_loop(struct cno_connection_t *c, const char *data, size_t size,
                                        int upload) {
    for (size_t at = 0; at < size; at += PIECE) {
        if (upload)
            feed(c, data + at, size - at < PIECE ? size - at : PIECE);
        else if (cno_write_data(c, 1, data, PIECE, 0) != PIECE)
            die("cno_write_data");
    }
}

static void upload(struct cno_connection_t *c, int h2, size_t size) {
    size_t frames = size / FRAME, at = 0;
    char *data = calloc(frames, FRAME + FRAME_HEADER), head[64];
    if (!data)
        die("no memory");
    static const char header[FRAME_HEADER] = {0, FRAME >> 8, 0, 0, 0, 0, 0, 0, 1};
    for (size_t i = 0; h2 && i < frames; i++, at += FRAME + FRAME_HEADER)
        memcpy(data + at, header, FRAME_HEADER);
    if (h2)
        feed(c, head, put_request(head, 1, 1, 0));
    else
        feed(c, head,
             (size_t)sprintf(head, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
                             size + 1));
    hot_loop(c, data, h2 ? at : size, 1);
    if (received != size)
        die("not every octet has come");
    free(data);
}

static void download(struct cno_connection_t *c, int h2, size_t size) {
    static char piece[PIECE];
    char head[64];
    const struct cno_message_t answer = {.code = 200};
    if (h2)
        feed(c, head, put_request(head, 1, 0, 1));
    else
        feed(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    if (cno_write_head(c, 1, &answer, 0))
        die("cno_write_head");
    sent = 0;
    hot_loop(c, piece, size, 0);
    if (sent < size)
        die("not every octet has gone");
}

static void streams(struct cno_connection_t *c, size_t count) {
    char head[64];
    feed(c, head, put_request(head, 1, 1, 0));
    size_t before = mallinfo2().uordblks;
    for (size_t i = 1; i < count; i++)
        feed(c, head, put_request(head, (uint32_t)(2 * i + 1), 1, 0));
    printf("octets=%zu\n", (mallinfo2().uordblks - before) / (count - 1));
}

int main(int argc, char **argv) {
    struct cno_connection_t c;
    if (argc != 4)
        return 2;
    int h2 = !strcmp(argv[2], "h2");
    size_t count = strtoul(argv[3], NULL, 10);
    begin(&c, h2);
    if (!strcmp(argv[1], "upload"))
        upload(&c, h2, count * MIB);
    else if (!strcmp(argv[1], "download"))
        download(&c, h2, count * MIB);
    else
        streams(&c, count);
    cno_fini(&c);
    return 0;
}
