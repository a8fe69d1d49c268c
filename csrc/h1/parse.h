// HTTP/1 syntax (RFC 9112): start lines, field lines, chunk sizes. Pure: octets in, structs out.
//
// Nothing here is lenient: lines end with CRLF, fields do not fold, names are followed by the
// colon.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "message/message.h"

// Looks for the end of a head in data[0..size), of which data[0..*scanned) was seen before. Returns
// the length of the head with its blank line, or 0 when there is more to come. A fault that needs
// no complete head (a first octet that no start line has, a bare LF, a size) comes at once in
// *fault, and the octet it is about in *scanned. What it says does not depend on how the input was
// cut. `max_line` and `max_head` are in octets; with 0 the first line may be as long as the rest.
size_t cno__h1_find_head(const char *data, size_t size, uint32_t *scanned, uint32_t max_line,
                         uint32_t max_head, const struct cno__fault **fault);

// Whether data[0..size) surely holds the end of a head.
int cno__h1_ends_head(const char *data, size_t size);

// Parses a head; `data` holds its end. `list` has room for `capacity` fields and `names` for `size`
// octets: names are written there in lower case; everything else points into `data`. *at is set to
// the length of the head with its blank line, or on a fault to the octet it is about.
const struct cno__fault *cno__h1_parse_head(const char *data, size_t size, int is_request,
                                            struct cno__h1_head *head, struct cno_header_t *list,
                                            size_t capacity, char *names, size_t *at);

// Sets method and path of a request whose head was refused, for a log: each as far as it is
// well-formed, else empty. `data` begins with its request line, and may end anywhere.
void cno__h1_peek_request(const char *data, size_t size, struct cno_message_t *);

// Parses field lines up to the blank line, which `data` holds: the rest of a head, or a trailer
// section. *count and *at are set.
const struct cno__fault *cno__h1_parse_fields(const char *data, size_t size,
                                              struct cno_header_t *list, size_t capacity,
                                              size_t *count, char *names, size_t *at);

// Parses a chunk-size line (RFC 9112 section 7.1) without its CRLF. *extensions is set to how many
// octets of it are not the size.
const struct cno__fault *cno__h1_parse_chunk(const char *line, size_t size, uint64_t *chunk,
                                             size_t *extensions);

extern const struct cno__fault cno__h1_too_many_fields, cno__h1_head_too_large, cno__h1_bare_lf;
