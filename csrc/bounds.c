// The limits that a caller may change. Knows their defaults (config.h) and ranges, not what they limit.
#include "bounds.h"

#include <string.h>

#include "config.h"

#define COUNT (sizeof(struct cno_limits_t) / sizeof(uint32_t))

const struct cno_limits_t cno__limits_default = {
    .fields = CNO_MAX_HEADERS,
    .line = CNO_MAX_H1_LINE,
    .head = CNO_MAX_H1_HEAD,
    .drain = CNO_MAX_H1_DRAIN,
    .pipelined = CNO_MAX_PIPELINED,
    .connection_window = CNO_DEFAULT_CONNECTION_WINDOW,
    .promises = CNO_MAX_PROMISES,
    .resets = CNO_BUDGET_RESETS,
    .overhead = CNO_BUDGET_OVERHEAD,
};

// A request has at least four pseudo-fields; a connection window is never below 65535 (RFC 9113
// section 6.9.2); a budget is kept in 16 bits.
static const struct cno_limits_t LOWEST = {4, 16, 64, 1, 1, 65535, 1, 1, 1};
static const struct cno_limits_t HIGHEST = {
    .fields = CNO_MAX_HEADERS_STORED,
    .line = INT32_MAX,
    .head = INT32_MAX,
    .drain = INT32_MAX,
    .pipelined = INT32_MAX,
    .connection_window = INT32_MAX,
    .promises = INT32_MAX,
    .resets = UINT16_MAX,
    .overhead = UINT16_MAX,
};

int cno__limits_set(struct cno_limits_t *to, const struct cno_limits_t *from) {
    uint32_t now[COUNT], want[COUNT], low[COUNT], high[COUNT];
    memcpy(now, to, sizeof(now));
    memcpy(want, from, sizeof(want));
    memcpy(low, &LOWEST, sizeof(low));
    memcpy(high, &HIGHEST, sizeof(high));
    for (size_t i = 0; i < COUNT; i++) {
        if (!want[i])
            continue;
        if (want[i] < low[i] || want[i] > high[i])
            return -1;
        now[i] = want[i];
    }
    memcpy(to, now, sizeof(now));
    return 0;
}
