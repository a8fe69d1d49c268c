// What a peer can do wrong, as data: the functions that know no connection return one of these, and
// the connection answers with it.
#pragma once

#include <stdint.h>

#include "core.h"

struct cno__fault {
    uint16_t status;     // HTTP/1 server: the status it is answered with
    uint16_t code;       // HTTP/2: the code of RFC 9113 section 7
    const char *reason;  // stable, for logs and tests
    const char *text;    // for a person; ends with the section that was broken
};

// The initializer of one. `code` is the name of an RFC 9113 error code, NO_ERROR where only HTTP/1
// has the fault; `status` is 0 where no server answers HTTP/1 with it.
#define CNO__FAULT(status, code, reason, text) \
    { status, CNO_RST_##code, reason, text }
