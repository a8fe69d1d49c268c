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

// A view of bytes that somebody else owns.
struct cno_buffer_t {
    const char *data;
    size_t size;
};

// ---- errors ------------------------------------------------------------------------------------

enum CNO_ERRNO {
    CNO_ERRNO_ASSERTION = 1,  // the caller broke the contract of the function; nothing was sent
    CNO_ERRNO_NO_MEMORY = 2,  // an allocation failed
    CNO_ERRNO_NOT_IMPLEMENTED = 3,
    CNO_ERRNO_PROTOCOL = 4,        // the peer broke the protocol; the connection is over
    CNO_ERRNO_INVALID_STREAM = 6,  // the stream is gone or was never there; only this call fails
    CNO_ERRNO_WOULD_BLOCK = 7,     // not now: try again after an event
    CNO_ERRNO_DISCONNECT = 9,      // the connection is over, or accepts no more requests
};

struct cno_error_t {
    int code;            // enum CNO_ERRNO, or what a callback returned
    uint32_t wire;       // the code of RFC 9113 section 7 or the HTTP status sent to the peer; or 0
    uint64_t offset;     // PROTOCOL: bytes of input before the one that was wrong
    const char *reason;  // a stable word for logs and tests, such as "bad-chunk-size"; never NULL
    char text[192];      // what was wrong, for a person
};

// The last error of this thread. Valid until the next failing call.
const struct cno_error_t *cno_error(void);

// Sets the last error of this thread and returns CNO_ERROR.
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
int cno_error_set(int code, const char *reason, const char *format, ...);

// Adds `wire` and `offset` of struct cno_error_t to the error that was just set. Returns CNO_ERROR.
int cno_error_set_wire(uint32_t wire, uint64_t offset);

// ---- memory ------------------------------------------------------------------------------------

// `resize` behaves like realloc(3) for sizes above 0, `release` like free(3).
struct cno_allocator_t {
    void *(*resize)(void *data, size_t size);
    void (*release)(void *data);
};

// Replaces the allocator of the whole library; NULL restores realloc and free. Call before the
// first connection is made, because memory is released by the allocator that is set at that time.
void cno_set_allocator(const struct cno_allocator_t *allocator);

void *cno__resize(void *data, size_t size);  // NULL and the error NO_MEMORY when there is none
void cno__release(void *data);

// A growing buffer of bytes, consumed from its front. {0} is an empty one.
struct cno__bytes {
    char *data;    // the first byte in use; NULL while nothing was ever stored
    size_t size;   // bytes in use
    size_t front;  // bytes consumed before `data` in the same allocation
    size_t room;   // bytes from `data` to the end of the allocation
};

// Makes room for `more` bytes behind data + size.
int cno__bytes_reserve(struct cno__bytes *, size_t more);
int cno__bytes_append(struct cno__bytes *, const void *data, size_t size);
// Removes `size` bytes from the front.
void cno__bytes_consume(struct cno__bytes *, size_t size);
// Makes the buffer empty; keeps at most CNO_BUFFER_KEEP bytes of capacity.
void cno__bytes_clear(struct cno__bytes *);
void cno__bytes_free(struct cno__bytes *);

#ifdef __cplusplus
}
#endif
