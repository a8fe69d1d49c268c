// The syntax of HTTP/1 (RFC 9112): start lines, field lines, chunk sizes. Pure functions from bytes
// to structures, which know no connection.
//
// The parser is strict: every line ends with CRLF, no field is folded, and no space is between a
// name and its colon.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "message/message.h"

// Searches for the end of a head in data[0..size), of which data[0..*scanned) was searched before.
// Returns the length of the head with its blank line, or 0 when the end has not come. A fault that
// needs no complete head (a first byte that no start line has, a bare LF, a size) is set in *fault
// at once, and the byte that is wrong in *scanned. The fault does not depend on how the input was
// split. `max_line` and `max_head` are in bytes; a `max_line` of 0 sets no limit to the first line
// alone.
size_t cno__h1_find_head(const char *data, size_t size, uint32_t *scanned, uint32_t max_line,
                         uint32_t max_head, const struct cno__fault **fault);

// Whether data[0..size) ends with the end of a head.
int cno__h1_ends_head(const char *data, size_t size);

// Parses a head whose end is in `data`. `list` has room for `capacity` fields, and `names` for
// `size` bytes, where the names are written in lower case; everything else points into `data`. Sets
// *at to the length of the head with its blank line, or with a fault to the byte that is wrong.
const struct cno__fault *cno__h1_parse_head(const char *data, size_t size, int is_request,
                                            struct cno__h1_head *head, struct cno_header_t *list,
                                            size_t capacity, char *names, size_t *at);

// Sets method and path of a request whose head was refused, for a log. Each stays empty if it is
// not well-formed. `data` begins with the request line and may end anywhere.
void cno__h1_peek_request(const char *data, size_t size, struct cno_message_t *);

// Parses field lines up to the blank line, which is in `data`: the rest of a head, or a trailer
// section. Sets *count to the number of fields, and *at as cno__h1_parse_head does.
const struct cno__fault *cno__h1_parse_fields(const char *data, size_t size,
                                              struct cno_header_t *list, size_t capacity,
                                              size_t *count, char *names, size_t *at);

// Parses a chunk-size line (RFC 9112 section 7.1) without its CRLF. Sets *extensions to the number
// of its bytes that are not the size.
const struct cno__fault *cno__h1_parse_chunk(const char *line, size_t size, uint64_t *chunk,
                                             size_t *extensions);

extern const struct cno__fault cno__h1_too_many_fields, cno__h1_head_too_large, cno__h1_bare_lf;
