// Extensible priorities (RFC 9218): the value of a priority field as a number.
#pragma once

#include <stddef.h>
#include <stdint.h>

// A priority in one byte: the urgency in the lower three bits, and these flags.
enum {
    CNO__PRIORITY_DEFAULT = 3,  // section 4: urgency 3, not incremental
    CNO__PRIORITY_URGENCY = 7,
    CNO__PRIORITY_INCREMENTAL = 8,
    CNO__PRIORITY_FRAME = 16,  // set by a PRIORITY_UPDATE, which a field does not override
};

// Parses a Dictionary (RFC 8941 section 3.2) and changes those parts of *priority that it has
// members for. Unknown members are ignored; known ones of another type or out of range mean the
// default (RFC 9218 section 4). Returns 0, or -1 without a change for a malformed Dictionary.
int cno__priority_parse(const char *data, size_t size, uint8_t *priority);
