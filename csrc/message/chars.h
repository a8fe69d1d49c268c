// Character classes of HTTP and the names the engine knows. A pure leaf: octets in, answers out.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Field names that some rule of the engine mentions. 0 is any other name.
enum CNO_NAME {
    CNO_NAME_OTHER,
    CNO_NAME_P_AUTHORITY,  // the pseudo-fields of RFC 9113 section 8.3 and RFC 8441 come first
    CNO_NAME_P_METHOD,
    CNO_NAME_P_PATH,
    CNO_NAME_P_PROTOCOL,
    CNO_NAME_P_SCHEME,
    CNO_NAME_P_STATUS,
    CNO_NAME_P_UNKNOWN,  // starts with a colon and is none of the above
    CNO_NAME_CONNECTION,
    CNO_NAME_CONTENT_LENGTH,
    CNO_NAME_COOKIE,
    CNO_NAME_DATE,
    CNO_NAME_EXPECT,
    CNO_NAME_HOST,
    CNO_NAME_HTTP2_SETTINGS,
    CNO_NAME_KEEP_ALIVE,
    CNO_NAME_PRIORITY,
    CNO_NAME_PROXY_CONNECTION,
    CNO_NAME_SERVER,
    CNO_NAME_TE,
    CNO_NAME_TRANSFER_ENCODING,
    CNO_NAME_UPGRADE,
    CNO_NAME_REPEATED,  // only in message_out.c: a second Content-Length that says the same
};

// RFC 9110 section 5.6.2: for a tchar its lower-case form, for any other octet 0.
extern const unsigned char cno__tchar_lower[256];

// The value of a hexadecimal digit in any case, or -1.
static inline int cno__hex_digit(char c) {
    char lower = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Writes the lower-case form of the token (RFC 9110 section 5.6.2) at `data` to `lower`, which has
// room for `size` octets. Returns how long it is.
size_t cno__token_lower(const char *data, size_t size, char *lower);

// Writes the lower-case form of a name to `lower`, which has room for `size` octets. Returns 0 when
// it is no token; an octet in front may be a colon. *changed is set if there were capitals.
int cno__name_lower(const char *name, size_t size, char *lower, int *changed);

// Which of the names above this is. Compares exactly: `name` must be lower-case already.
enum CNO_NAME cno__name_id(const char *name, size_t size);

// RFC 9113 section 8.2.1: a lower-case token, optionally after one colon; not empty.
int cno__name_is_valid_h2(const char *name, size_t size);

// RFC 9110 section 5.6.2: a token in any case; not empty.
int cno__name_is_token(const char *name, size_t size);

// RFC 9110 section 5.5: no control octets but HTAB, and no white space at either end.
int cno__value_is_valid(const char *value, size_t size);

// uri-host [ ":" port ] (RFC 9110 section 7.2; RFC 3986 section 3.2.2, but no list): no user
// information. May be empty unless it needs a port (CONNECT, RFC 9112 section 3.2.3).
int cno__host_is_valid(const char *host, size_t size, int needs_port);

// Length of the longest prefix of octets that may stand in a field value (VCHAR, obs-text, SP,
// HTAB).
size_t cno__value_span(const char *data, size_t size);

// Length of the longest prefix of octets that may stand in a request target: VCHAR without '#'
// (RFC 9112 section 3.2; raw octets above 0x7f are refused).
size_t cno__target_span(const char *data, size_t size);

// 1*DIGIT to a number. 0 on success, -1 on an empty string, another octet, or above 2^63-1.
int cno__parse_uint(const char *data, size_t size, uint64_t *out);

// ASCII case-insensitive equality; `lower` is a lower-case literal.
int cno__equals_icase(const char *data, size_t size, const char *lower);

// ASCII case-insensitive equality of two runs of `size` octets.
int cno__same_icase(const char *a, const char *b, size_t size);

// Whether a comma-separated list has this element, in any case; `lower` is a lower-case literal.
int cno__list_has(const char *data, size_t size, const char *lower);

// Walks a comma-separated list (RFC 9110 section 5.6.1): sets the next non-empty, trimmed element
// and returns 1, or returns 0 at the end. Start with *pos = 0.
int cno__list_next(const char *data, size_t size, size_t *pos, const char **item,
                   size_t *item_size);
