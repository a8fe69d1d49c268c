// The character classes of HTTP and the field names that the engine knows. Pure functions of bytes.
#pragma once

#include <stddef.h>
#include <stdint.h>

// The field names that a rule of the engine mentions.
enum CNO_NAME {
    CNO_NAME_OTHER,
    CNO_NAME_P_AUTHORITY,  // the pseudo-fields of RFC 9113 section 8.3 and RFC 8441 come first
    CNO_NAME_P_METHOD,
    CNO_NAME_P_PATH,
    CNO_NAME_P_PROTOCOL,
    CNO_NAME_P_SCHEME,
    CNO_NAME_P_STATUS,
    CNO_NAME_P_UNKNOWN,  // any other name that starts with a colon
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
    CNO_NAME_REPEATED,  // only in out.c: a second Content-Length with the same value
};

// The lower-case form of each tchar (RFC 9110 section 5.6.2), and 0 for any other byte.
extern const unsigned char cno__tchar_lower[256];

// The value of a hexadecimal digit in any case, or -1.
static inline int cno__hex_digit(char c) {
    char lower = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Writes the lower-case form of the token (RFC 9110 section 5.6.2) at `data` to `lower`, which has
// room for `size` bytes. Returns the size of the token.
size_t cno__token_lower(const char *data, size_t size, char *lower);

// Writes the lower-case form of a name to `lower`, which has room for `size` bytes. The first
// character may be a colon. Returns 0 if the name is not a token. Sets *changed if there were
// capitals.
int cno__name_lower(const char *name, size_t size, char *lower, int *changed);

// The id of a name, which must be lower-case.
enum CNO_NAME cno__name_id(const char *name, size_t size);

// Whether a name is a lower-case token, perhaps behind one colon, and not empty (RFC 9113 section
// 8.2.1).
int cno__name_is_valid_h2(const char *name, size_t size);

// Whether a name is a token, in any case and not empty (RFC 9110 section 5.6.2).
int cno__name_is_token(const char *name, size_t size);

// Whether a value has no control character but HTAB, and no white space at either end (RFC 9110
// section 5.5).
int cno__value_is_valid(const char *value, size_t size);

// Whether that is uri-host [ ":" port ] (RFC 9110 section 7.2, RFC 3986 section 3.2.2) without user
// information and without ','. May be empty unless a port is needed (CONNECT, RFC 9112 section
// 3.2.3).
int cno__host_is_valid(const char *host, size_t size, int needs_port);

// The length of the longest prefix that a field value can have (VCHAR, obs-text, SP, HTAB).
size_t cno__value_span(const char *data, size_t size);

// The length of the longest prefix that a request target can have: VCHAR without '#' (RFC 9112
// section 3.2; raw bytes above 0x7f are refused).
size_t cno__target_span(const char *data, size_t size);

// Parses 1*DIGIT. Returns 0, or -1 for an empty string, another character, or a number above
// 2^63-1.
int cno__parse_uint(const char *data, size_t size, uint64_t *out);

// ASCII case-insensitive equality; `lower` is a lower-case literal.
int cno__equals_icase(const char *data, size_t size, const char *lower);

// ASCII case-insensitive equality of two strings of `size` bytes.
int cno__same_icase(const char *a, const char *b, size_t size);

// Whether a comma-separated list has an element, in any case; `lower` is a lower-case literal.
int cno__list_has(const char *data, size_t size, const char *lower);

// Iterates over a comma-separated list (RFC 9110 section 5.6.1): sets the next element, which is
// trimmed and not empty, and returns 1; returns 0 at the end. Start with *pos = 0.
int cno__list_next(const char *data, size_t size, size_t *pos, const char **item,
                   size_t *item_size);
