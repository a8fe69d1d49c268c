// UTF-8 (RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF), checked piece by
// piece. Knows bytes only.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Checks the next piece of a text. *state begins as 0, and is 0 again behind each whole character.
// Returns the number of bytes in front of the first one that no text can go on with; `size` if
// there is none.
size_t cno__utf8_check(uint32_t *state, const char *data, size_t size);

// Whether these bytes are a whole text.
int cno__utf8_is_valid(const char *data, size_t size);
