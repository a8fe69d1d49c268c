// Feeds one engine, and says what that took.
//
//   bench run  h1|h2 A|B|C PER_READ REQUESTS   the loop to measure; callgrind counts inside hot_loop
//   bench idle h1|h2                           heap octets per connection, over 200 of them
//
// Prints key=value lines.
#include "engine.h"
#include "input.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RING_SIZE = 65536, IDLE_CONNECTIONS = 200, IDLE_REQUESTS = 100 };

#define TEXT(name, value)                                                                          \
    { name, value, sizeof(name) - 1, sizeof(value) - 1 }

const struct field response_fields[RESPONSE_FIELDS] = {
    TEXT("date", "Sun, 22 Nov 2026 12:00:00 GMT"),
    TEXT("server", "bench"),
    TEXT("content-type", "text/plain"),
    TEXT("content-length", "13"),
    TEXT("cache-control", "no-cache"),
};
const char response_body[RESPONSE_BODY_SIZE + 1] = "Hello, world!";

struct request current;
struct tally tally;

static char ring[RING_SIZE];
static size_t ring_at;

void die(const char *what, const char *why) {
    fprintf(stderr, "%s: %s: %s\n", engine.name, what, why);
    exit(1);
}

void sink_write(const void *data, size_t size) {
    const char *from = data;
    tally.written += size;
    while (size) {
        size_t part = size < RING_SIZE - ring_at ? size : RING_SIZE - ring_at;
        memcpy(ring + ring_at, from, part);
        ring_at = (ring_at + part) % RING_SIZE;
        from += part;
        size -= part;
    }
}

// Not inlined: callgrind switches its counter on and off by this name.
__attribute__((noinline)) void hot_loop(void *connection, const struct input *in) {
    size_t at = 0;
    for (size_t i = 0; i < in->reads; i++) {
        engine.feed(connection, in->data + at, in->ends[i] - at);
        at = in->ends[i];
    }
}

static void *open_ready(enum version version, const struct input *in) {
    void *connection = engine.open(version);
    if (in->handshake_size)
        engine.feed(connection, in->handshake, in->handshake_size);
    return connection;
}

static double now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static void run(enum version version, enum scenario scenario, size_t per_read, size_t requests) {
    struct input in;
    input_make(&in, version, scenario, requests, per_read);
    void *connection = open_ready(version, &in);
    tally = (struct tally){0};

    double start = now_ns();
    hot_loop(connection, &in);
    double took = now_ns() - start;

    if (tally.requests != requests)
        die("run", "not every request was answered");
    printf("requests=%zu\nns=%.0f\nread=%zu\n", requests, took, in.size);
    printf("fields=%llu\nwritten=%llu\n", (unsigned long long)tally.fields,
           (unsigned long long)tally.written);
    engine.close(connection);
    input_free(&in);
}

static void print_heap(const char *key, size_t before) {
    printf("%s=%zu\n", key, (mallinfo2().uordblks - before) / IDLE_CONNECTIONS);
}

static void feed_all(void *const *connections, const struct input *in) {
    for (size_t i = 0; i < IDLE_CONNECTIONS; i++)
        hot_loop(connections[i], in);
}

static void idle(enum version version) {
    void *connections[IDLE_CONNECTIONS];
    struct input one, many;
    input_make(&one, version, SCENARIO_A, 1, 1);
    input_make(&many, version, SCENARIO_C, IDLE_REQUESTS, 1);
    engine.close(open_ready(version, &one));  // whatever is allocated once for all

    size_t before = mallinfo2().uordblks;
    for (size_t i = 0; i < IDLE_CONNECTIONS; i++)
        connections[i] = engine.open(version);
    print_heap("created", before);
    for (size_t i = 0; i < IDLE_CONNECTIONS && one.handshake_size; i++)
        engine.feed(connections[i], one.handshake, one.handshake_size);
    print_heap("handshake", before);
    feed_all(connections, &one);
    print_heap("one_request", before);
    for (size_t i = 0; i < IDLE_CONNECTIONS; i++)
        engine.close(connections[i]);

    // New connections: the peer's table starts empty again in `many`.
    before = mallinfo2().uordblks;
    for (size_t i = 0; i < IDLE_CONNECTIONS; i++)
        connections[i] = open_ready(version, &many);
    feed_all(connections, &many);
    print_heap("many_requests", before);
    for (size_t i = 0; i < IDLE_CONNECTIONS; i++)
        engine.close(connections[i]);
    printf("struct=%zu\n", engine.struct_size);
    input_free(&one);
    input_free(&many);
}

int main(int argc, char **argv) {
    if (argc < 3)
        die("usage", "run h1|h2 A|B|C PER_READ REQUESTS, or idle h1|h2");
    enum version version = strcmp(argv[2], "h2") ? HTTP1 : HTTP2;
    if (!(engine.versions & (int)version))
        die("usage", "this engine does not speak that version");
    if (!strcmp(argv[1], "idle") && argc == 3) {
        idle(version);
    } else if (!strcmp(argv[1], "run") && argc == 6) {
        size_t per_read = strtoul(argv[4], NULL, 10), requests = strtoul(argv[5], NULL, 10);
        if (!per_read || !requests)
            die("usage", "PER_READ and REQUESTS are positive numbers");
        run(version, (enum scenario)argv[3][0], per_read, requests);
    } else {
        die("usage", "run or idle");
    }
    return 0;
}
