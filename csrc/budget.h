// What a peer may cost us for nothing, without a clock (RFC 9113 section 10.5).
//
// Two counters per connection. `resets` is spent by RST_STREAM of a client on a stream whose response
// has not begun (CVE-2023-44487: work for nothing), and by every stream that we reset because of what
// the peer did, however far its response is (CVE-2025-8671). A client that leaves a response after its
// final head was written spends nothing: a browser does so with every stream of events. `overhead` is spent by frames that carry no message: SETTINGS, PING, GOAWAY,
// PRIORITY, WINDOW_UPDATE, unknown types, empty or tiny DATA and CONTINUATION, 1xx, frames on dead
// streams. Both are refilled by useful work (an answer that is complete, a body that moves), so an
// honest client never runs dry however long it stays. An empty budget is ENHANCE_YOUR_CALM.
#pragma once

#include <stdint.h>

// Spends one unit. 0, or -1 when there is none left.
static inline int cno__budget_spend(uint16_t *budget) {
    if (!*budget)
        return -1;
    --*budget;
    return 0;
}

// `limit` fits in 16 bits.
static inline void cno__budget_refill(uint16_t *budget, uint32_t units, uint32_t limit) {
    *budget = (uint16_t)(limit - *budget < units ? limit : *budget + units);
}
