// The limits that a caller may change (struct cno_limits_t): defaults, ranges. Pure: knows no
// connection.
#pragma once

#include "core.h"

extern const struct cno_limits_t cno__limits_default;

// Takes over those members of `from` that are not 0. Returns 0, or -1 when one is out of its range;
// then nothing has changed.
int cno__limits_set(struct cno_limits_t *to, const struct cno_limits_t *from);
