// The Huffman code of RFC 7541 appendix B. Pure functions of bytes.
#pragma once

#include <stddef.h>

// The largest size that `size` bytes of input can decode to: the shortest code has 5 bits.
#define CNO__HUFFMAN_MAX_DECODED(size) ((size) / 5 * 8 + (size) % 5 * 8 / 5)

enum CNO__HUFFMAN_ERROR {
    CNO__HUFFMAN_EOS = -1,      // the EOS code is in the string
    CNO__HUFFMAN_PADDING = -2,  // after the last code: more than 7 bits, or not all ones
};

// The size of the encoded form.
size_t cno__huffman_size(const char *data, size_t size);

// Writes cno__huffman_size(data, size) bytes and returns their end.
char *cno__huffman_encode(char *out, const char *data, size_t size);

// Decodes to `out`. Returns the size that was written, at most CNO__HUFFMAN_MAX_DECODED(size), or
// an error.
ptrdiff_t cno__huffman_decode(char *out, const char *data, size_t size);
