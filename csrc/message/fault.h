// The faults of a peer as data. Functions that know no connection return a fault, and the
// connection responds to it.
#pragma once

#include <stdint.h>

#include "core.h"

struct cno__fault {
    uint16_t status;     // the status of an HTTP/1 server's response
    uint16_t code;       // the error code on HTTP/2 (RFC 9113 section 7)
    const char *reason;  // stable, for logs and tests
    const char *text;    // for a person; ends with the section of the rule
};

// The initializer of a fault. `code` is the name of an RFC 9113 error code, or NO_ERROR for a fault
// that only HTTP/1 has. `status` is 0 for a fault that no HTTP/1 server responds to.
#define CNO__FAULT(status, code, reason, text) \
    { status, CNO_RST_##code, reason, text }
