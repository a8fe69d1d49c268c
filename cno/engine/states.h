// States that C and Python share: cno/engine/_fast*.c include this file, and Python reads the numbers
// through the binding (tools/ffi_build.py).
#pragma once

// How far a response is; cno/server/reply.py says what each state means.
enum CNO_REPLY_STATE {
    CNO_REPLY_WAITING = 0,
    CNO_REPLY_HELD = 1,
    CNO_REPLY_BODY = 2,
    CNO_REPLY_DONE = 3,
    CNO_REPLY_FAILED = 4,
};
