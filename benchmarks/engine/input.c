#include "input.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Octets that one request, head and frame header, can take at most.
enum { REQUEST_ROOM = 1024, FRAME_HEADER = 9, PATH_ROOM = 64, ID_ROOM = 64 };

// The same eight as BROWSER in benchmarks/cases.py.
static const char *const browser[][2] = {
    {"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
                   "Chrome/131.0.0.0 Safari/537.36"},
    {"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"},
    {"accept-language", "en-US,en;q=0.9"},
    {"accept-encoding", "gzip, deflate, br, zstd"},
    {"cookie", "session=4f1c8a0d9be2437fa6d05c11; theme=dark; _ga=GA1.1.1734502984.1717430400; "
               "consent=accepted"},
    {"referer", "https://www.example.com/"},
    {"sec-fetch-mode", "navigate"},
    {"upgrade-insecure-requests", "1"},
};

enum { BROWSER_FIELDS = sizeof(browser) / sizeof(browser[0]), PSEUDO_FIELDS = 4 };

static const char authority[] = "www.example.com";

// What differs from request to request.
struct varying {
    char path[PATH_ROOM];
    char id[ID_ROOM];  // empty: no x-request-id
};

static void vary(struct varying *to, enum scenario scenario, size_t number) {
    // Knuth's multiplicative hash: digits that differ everywhere, the same in every run.
    uint32_t mixed = (uint32_t)number * 2654435761u;
    strcpy(to->path, "/");
    to->id[0] = 0;
    if (scenario != SCENARIO_A)
        snprintf(to->path, sizeof(to->path), "/articles/%08x/comments", mixed);
    if (scenario == SCENARIO_C)
        snprintf(to->id, sizeof(to->id), "%08x%08x%08x%08x", mixed, ~mixed, mixed * 7, mixed * 31);
}

static void put(struct input *in, const void *data, size_t size) {
    memcpy(in->data + in->size, data, size);
    in->size += size;
}

static void put_line(struct input *in, const char *name, const char *value) {
    char line[REQUEST_ROOM];
    int size = snprintf(line, sizeof(line), "%s: %s\r\n", name, value);
    put(in, line, (size_t)size);
}

static void put_h1(struct input *in, const struct varying *with) {
    char line[REQUEST_ROOM];
    put(in, line, (size_t)snprintf(line, sizeof(line), "GET %s HTTP/1.1\r\n", with->path));
    put_line(in, "Host", authority);
    for (size_t i = 0; i < BROWSER_FIELDS; i++)
        put_line(in, browser[i][0], browser[i][1]);
    if (with->id[0])
        put_line(in, "x-request-id", with->id);
    put(in, "\r\n", 2);
}

static nghttp2_nv pair(const char *name, const char *value) {
    return (nghttp2_nv){
        .name = (uint8_t *)name,
        .value = (uint8_t *)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NONE,
    };
}

static void frame_header(unsigned char to[FRAME_HEADER], size_t size, int type, int flags,
                         uint32_t stream) {
    const unsigned char octets[FRAME_HEADER] = {
        (unsigned char)(size >> 16),   (unsigned char)(size >> 8),   (unsigned char)size,
        (unsigned char)type,           (unsigned char)flags,         (unsigned char)(stream >> 24),
        (unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream,
    };
    memcpy(to, octets, FRAME_HEADER);
}

static void put_h2(struct input *in, nghttp2_hd_deflater *deflater, uint32_t stream,
                   const struct varying *with) {
    nghttp2_nv fields[PSEUDO_FIELDS + BROWSER_FIELDS + 1];
    size_t count = 0;
    fields[count++] = pair(":method", "GET");
    fields[count++] = pair(":scheme", "https");
    fields[count++] = pair(":authority", authority);
    fields[count++] = pair(":path", with->path);
    for (size_t i = 0; i < BROWSER_FIELDS; i++)
        fields[count++] = pair(browser[i][0], browser[i][1]);
    if (with->id[0])
        fields[count++] = pair("x-request-id", with->id);

    uint8_t block[REQUEST_ROOM - FRAME_HEADER];
    ssize_t size = nghttp2_hd_deflate_hd(deflater, block, sizeof(block), fields, count);
    if (size < 0)
        die("input", nghttp2_strerror((int)size));
    unsigned char header[FRAME_HEADER];
    frame_header(header, (size_t)size, NGHTTP2_HEADERS,
                 NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, stream);
    put(in, header, FRAME_HEADER);
    put(in, block, (size_t)size);
}

// Push off, a large window for the connection (a browser does the same), and the ACK of the server's
// SETTINGS, which it has sent when the connection was opened.
static void make_handshake(struct input *in) {
    static const char octets[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                 "\0\0\6\4\0\0\0\0\0\0\2\0\0\0\0"
                                 "\0\0\4\10\0\0\0\0\0\x3f\xff\0\0"
                                 "\0\0\0\4\1\0\0\0\0";
    in->handshake_size = sizeof(octets) - 1;
    in->handshake = malloc(in->handshake_size);
    if (in->handshake == NULL)
        die("input", "out of memory");
    memcpy(in->handshake, octets, in->handshake_size);
}

void input_make(struct input *in, enum version version, enum scenario scenario, size_t requests,
                size_t per_read) {
    nghttp2_hd_deflater *deflater = NULL;
    *in = (struct input){
        .data = malloc(requests * REQUEST_ROOM),
        .ends = malloc(requests * sizeof(size_t)),
    };
    if (in->data == NULL || in->ends == NULL || nghttp2_hd_deflate_new(&deflater, 4096))
        die("input", "out of memory");
    if (version == HTTP2)
        make_handshake(in);
    for (size_t i = 0; i < requests; i++) {
        struct varying with;
        vary(&with, scenario, i);
        if (version == HTTP2)
            put_h2(in, deflater, (uint32_t)(2 * i + 1), &with);
        else
            put_h1(in, &with);
        if ((i + 1) % per_read == 0 || i + 1 == requests)
            in->ends[in->reads++] = in->size;
    }
    nghttp2_hd_deflate_del(deflater);
}

void input_free(struct input *in) {
    free(in->handshake);
    free(in->data);
    free(in->ends);
}
