// Flow-control windows (RFC 9113 section 5.2), as arithmetic on one signed number.
//
// A send window is what the peer lets us send; it may go below zero when the peer lowers
// SETTINGS_INITIAL_WINDOW_SIZE. A receive window is what we let the peer send; it is brought back
// to its target once half of it is used up, so that an upload costs two updates per window and not
// one per frame.
#pragma once

#include <stdint.h>

#define CNO__WINDOW_MAX 0x7fffffff

// Opens a send window. 0, or -1 when it would pass 2^31-1 (section 6.9.1).
static inline int cno__window_open(int64_t *window, int64_t delta) {
    if (*window + delta > CNO__WINDOW_MAX)
        return -1;
    *window += delta;
    return 0;
}

// Takes received octets out of a window. 0, or -1 when the peer sent more than it may; nothing it
// may always send, even where a smaller setting has left less than nothing (section 6.9.1).
static inline int cno__window_take(int64_t *window, uint32_t size) {
    if (size && *window < (int64_t)size)
        return -1;
    *window -= size;
    return 0;
}

// How much to announce now that `window` of `target` octets are left and `held` are not used up
// yet.
static inline uint32_t cno__window_due(int64_t window, uint32_t target, uint32_t held) {
    int64_t used = (int64_t)target - window - held;
    return used > 0 && used >= target / 2 ? (uint32_t)used : 0;
}
