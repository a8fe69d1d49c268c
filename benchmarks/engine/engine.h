// What the harness asks of an engine, and what it gives to one. An engine is one source file that
// defines `engine`; everything else is shared, so that both are measured over the same loop.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum version { HTTP1 = 1, HTTP2 = 2 };

// A server connection of some engine. Functions end the program when the engine reports an error.
struct engine {
    const char *name;
    size_t struct_size;  // octets of the connection object where the caller embeds it, else 0
    int versions;        // the enum version values it speaks, or-ed
    // Makes a connection and lets it say what it says first. Every octet it keeps is on the heap.
    void *(*open)(enum version);
    // Gives it what one read returned. It answers every request that is complete, through `respond`
    // below, and hands its output to sink_write.
    void (*feed)(void *connection, const char *data, size_t size);
    void (*close)(void *connection);
};

extern const struct engine engine;

// The response: 200, these fields, this body.
struct field {
    const char *name, *value;
    size_t name_size, value_size;
};

enum { RESPONSE_FIELDS = 5, RESPONSE_BODY_SIZE = 13 };

extern const struct field response_fields[RESPONSE_FIELDS];
extern const char response_body[RESPONSE_BODY_SIZE + 1];

// The fields of the request under way, as views; an engine stores every field it reports here.
enum { REQUEST_FIELDS_MAX = 64 };

struct request {
    struct field fields[REQUEST_FIELDS_MAX];
    size_t count;
};

// Everything that the harness counts. One connection is fed at a time, so one of each is enough.
struct tally {
    uint64_t requests;  // heads answered
    uint64_t fields;    // fields they had, pseudo-fields included
    uint64_t written;   // octets of output
};

extern struct request current;
extern struct tally tally;

static inline void store_field(const char *name, size_t name_size, const char *value,
                               size_t value_size) {
    if (current.count < REQUEST_FIELDS_MAX)
        current.fields[current.count++] = (struct field){name, value, name_size, value_size};
}

static inline void count_request(void) {
    tally.requests++;
    tally.fields += current.count;
    current.count = 0;
}

// Copies output into a 64 KiB ring, as a socket buffer would take it.
void sink_write(const void *data, size_t size);

// Prints the message and ends the program.
_Noreturn void die(const char *what, const char *why);
