// A batch that is a server, its input, and marshalled lists of fields, for the tests of batches.
#pragma once

#include "batch.h"
#include "check.h"
#include "wire.h"

// A marshalled list and its size, as two arguments. `count` is a string of one byte.
#define LIST(count, fields) "[" count "\0\0\0" fields, sizeof("[" count "\0\0\0" fields) - 1

static struct cno_batch_t *start(int http2, uint32_t flags) {
    struct cno_batch_t *b = cno_batch_new(CNO_SERVER, flags);
    CHECK(b && !cno_begin(&b->conn, http2 ? CNO_HTTP2 : CNO_HTTP1));
    return b;
}

// Escaped text on HTTP/1; frames, separated by `;`, on HTTP/2.
static int feed(struct cno_batch_t *b, const char *text) {
    struct wire w = {0};
    size_t mark;
    if (cno_version(&b->conn) == CNO_HTTP2) {
        char line[512];
        for (size_t size; *text; text += size + (text[size] == ';')) {
            size = strcspn(text, ";");
            snprintf(line, sizeof(line), "%.*s", (int)size, text);
            wire_frame(&w, line);
        }
    } else {
        wire_text(&w, text, strlen(text), &mark);
    }
    b->events_size = b->out_size = 0;
    int r = cno_batch_consume(b, w.data, w.size);
    wire_free(&w);
    return r;
}
