// What batch.c needs of batch_answer.c beside the public calls.
#pragma once

#include "batch.h"

// The default fields, which stay where they are when they are replaced. NULL for NULL.
const struct cno_fields_t *cno__defaults_fields(const struct cno_defaults_t *);
