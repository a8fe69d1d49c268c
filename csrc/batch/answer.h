// The private functions of answer.c.
#pragma once

#include "batch.h"

// The list of default fields. The pointer stays valid when the fields are replaced. NULL for NULL.
const struct cno_fields_t *cno__defaults_fields(const struct cno_defaults_t *);
