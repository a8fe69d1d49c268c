// Flow-control windows (RFC 9113 section 5.2), as arithmetic on one signed number.
//
// A send window is the number of bytes that the peer allows us to send; it may become negative when
// the peer lowers SETTINGS_INITIAL_WINDOW_SIZE. A receive window is the number of bytes that we
// allow the peer to send. It is raised to its target again once half of it is used up, so that an
// upload costs two updates per window and not one per frame.
#pragma once

#include <stdint.h>

#define CNO__WINDOW_MAX 0x7fffffff

// Raises a send window. Returns 0, or -1 when it would exceed 2^31-1 (section 6.9.1).
static inline int cno__window_open(int64_t *window, int64_t delta) {
    if (*window + delta > CNO__WINDOW_MAX)
        return -1;
    *window += delta;
    return 0;
}

// Subtracts received bytes from a window. Returns 0, or -1 when the peer sent more than it may. No
// bytes are always allowed, even in a window that a smaller setting has made negative (section
// 6.9.1).
static inline int cno__window_take(int64_t *window, uint32_t size) {
    if (size && *window < (int64_t)size)
        return -1;
    *window -= size;
    return 0;
}

// The increment to announce when `window` of `target` bytes are left and `held` bytes are not used
// up yet; 0 while it is below half of the target.
static inline uint32_t cno__window_due(int64_t window, uint32_t target, uint32_t held) {
    int64_t used = (int64_t)target - window - held;
    return used > 0 && used >= target / 2 ? (uint32_t)used : 0;
}
