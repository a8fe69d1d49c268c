// The octets that a client sends: the same for every engine, made before anything is measured.
#pragma once

#include "engine.h"

// A: identical requests. B: the path differs each time, as a literal. C: the path and an indexed
// x-request-id differ, so that the dynamic tables fill up and evict.
enum scenario { SCENARIO_A = 'A', SCENARIO_B = 'B', SCENARIO_C = 'C' };

struct input {
    char *handshake;  // HTTP/2: preface, SETTINGS, WINDOW_UPDATE, SETTINGS ACK; HTTP/1: empty
    size_t handshake_size;
    char *data;  // the requests, one after another
    size_t size;
    size_t *ends;  // where each read ends in `data`
    size_t reads;
};

// A GET with 4 pseudo-fields (HTTP/1: request line and Host) and 8 browser fields, `requests` times, in
// reads of `per_read` requests. HTTP/2 header blocks come from nghttp2's deflater.
void input_make(struct input *, enum version, enum scenario, size_t requests, size_t per_read);

void input_free(struct input *);
