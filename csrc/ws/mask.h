// PRIVATE: the mask of RFC 6455 section 5.3.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Copies `size` bytes from `from` to `to`, which may be the same place, and masks or unmasks them by
// `key`, beginning with its first byte. Returns whether all bytes written are ASCII.
int cno__ws_copy(char *to, const char *from, size_t size, const unsigned char key[4]);

// Does the same without the vector instructions of a processor.
int cno__ws_copy_portable(char *to, const char *from, size_t size, const unsigned char key[4]);

// Turns a key, so that it begins with the byte for the payload `size` bytes further on.
void cno__ws_turn(unsigned char key[4], uint64_t size);
