// Buffers, errors and the allocator hook. Knows nothing of HTTP.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Every function that returns int returns CNO_OK, or CNO_ERROR after it has set cno_error().
#define CNO_OK 0
#define CNO_ERROR (-1)

// A view of somebody else's octets.
struct cno_buffer_t {
    const char *data;
    size_t size;
};

// ---- errors ------------------------------------------------------------------------------------

enum CNO_ERRNO {
    CNO_ERRNO_ASSERTION = 1,  // the caller did what the contract forbids; nothing was sent
    CNO_ERRNO_NO_MEMORY = 2,  // an allocation failed
    CNO_ERRNO_NOT_IMPLEMENTED = 3,
    CNO_ERRNO_PROTOCOL = 4,        // the peer broke the protocol; the connection is over
    CNO_ERRNO_INVALID_STREAM = 6,  // this stream is gone or never was; only this call fails
    CNO_ERRNO_WOULD_BLOCK = 7,     // not now: try again after an event
    CNO_ERRNO_DISCONNECT = 9,      // the connection takes no more of this
};

struct cno_error_t {
    int code;  // enum CNO_ERRNO, or what a callback returned
    uint32_t
        wire;  // what the peer was told: an RFC 9113 section 7 code or an HTTP status; 0: nothing
    uint64_t offset;     // PROTOCOL: octets of input before the one that was wrong
    const char *reason;  // a stable word for logs and tests, such as "bad-chunk-size"; never NULL
    char text[192];      // what was wrong, for a person
};

// The last error of this thread. Valid until the next failing call.
const struct cno_error_t *cno_error(void);

// Sets the error of this thread and returns CNO_ERROR.
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
int cno_error_set(int code, const char *reason, const char *format, ...);

// Completes the error just set with `wire` and `offset` (struct cno_error_t). Returns CNO_ERROR.
int cno_error_set_wire(uint32_t wire, uint64_t offset);

// ---- memory ------------------------------------------------------------------------------------

// `resize` behaves like realloc(3) for sizes above 0, `release` like free(3).
struct cno_allocator_t {
    void *(*resize)(void *data, size_t size);
    void (*release)(void *data);
};

// Replaces the allocator for everything allocated from then on. NULL restores realloc and free.
// Call before the first connection is made: memory is released by whichever allocator is set at
// that time.
void cno_set_allocator(const struct cno_allocator_t *allocator);

void *cno__resize(void *data, size_t size);  // NULL and the error NO_MEMORY when there is none
void cno__release(void *data);

// A growing run of octets, consumed from its front. {0} is empty.
struct cno__bytes {
    char *data;    // the first octet that counts; NULL when nothing was ever stored
    size_t size;   // octets that count
    size_t front;  // octets consumed before `data` in the same allocation
    size_t room;   // octets from `data` to the end of the allocation
};

// Makes room for `more` octets behind data + size.
int cno__bytes_reserve(struct cno__bytes *, size_t more);
int cno__bytes_append(struct cno__bytes *, const void *data, size_t size);
void cno__bytes_consume(struct cno__bytes *, size_t size);
void cno__bytes_clear(
    struct cno__bytes *);  // empty; keeps at most CNO_BUFFER_KEEP octets of capacity
void cno__bytes_free(struct cno__bytes *);

#ifdef __cplusplus
}
#endif
