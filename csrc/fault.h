// What a peer can do wrong, as data: the pure leaves return one of these, core.c answers with it.
#pragma once

#include <stdint.h>

struct cno__fault {
    uint16_t status;     // HTTP/1 server: the status it is answered with
    uint16_t code;       // HTTP/2: the code of RFC 9113 section 7
    const char *reason;  // stable, for logs and tests
    const char *text;    // for a person; ends with the section that was broken
};
