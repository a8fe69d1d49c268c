// Extensible priorities (RFC 9218): what the value of a priority field says. Pure: octets in, a
// number out.
#pragma once

#include <stddef.h>
#include <stdint.h>

// One octet per stream: the urgency in the lower three bits, and these.
enum {
    CNO__PRIORITY_DEFAULT = 3,  // section 4: urgency 3, not incremental
    CNO__PRIORITY_URGENCY = 7,
    CNO__PRIORITY_INCREMENTAL = 8,
    CNO__PRIORITY_FRAME = 16,  // a PRIORITY_UPDATE said it, which a field does not change
};

// Reads a Dictionary (RFC 8941 section 3.2) into *priority, where it changes what it mentions.
// Unknown members are passed over, known ones of another type or out of range mean the default (RFC
// 9218 section 4). Returns 0, or -1 and no change when it is no Dictionary.
int cno__priority_parse(const char *data, size_t size, uint8_t *priority);
