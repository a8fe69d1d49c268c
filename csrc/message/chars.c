// The character classes of HTTP and the field names that the engine knows. Knows no messages,
// frames or connections.
#include "message/chars.h"

#include <string.h>

#include "message/words.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

// ---- eight bytes at a time ---------------------------------------------------------------------
// Each byte of a word is tested in its own lane, without a carry into the next one: a lane is at
// most 0x7f before at most 0x80 is added. The result is the top bit of the lane.

#define LANES(x) (0x0101010101010101u * (uint64_t)(x))

// Bytes that a field value cannot have: those below 0x20 but HTAB, and DEL (RFC 9110 section 5.5).
static inline uint64_t not_in_value(uint64_t word) {
    uint64_t low = word & LANES(0x7f);
    uint64_t from_space = low + LANES(0x60);
    uint64_t not_tab = (low ^ LANES('\t')) + LANES(0x7f);
    uint64_t is_del = low + LANES(0x01);
    return ((~from_space & not_tab) | is_del) & ~word & LANES(0x80);
}

// Bytes that a request target cannot have: those up to 0x20, '#', DEL, and those above (RFC 9112
// section 3.2).
static inline uint64_t not_in_target(uint64_t word) {
    uint64_t low = word & LANES(0x7f);
    uint64_t above_space = low + LANES(0x5f);
    uint64_t not_hash = (low ^ LANES('#')) + LANES(0x7f);
    uint64_t is_del = low + LANES(0x01);
    return (~(above_space & not_hash) | is_del | word) & LANES(0x80);
}

// The index of the first lane, in memory order, whose top bit is set. `lanes` is not 0.
static inline size_t first_lane(uint64_t lanes) {
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (unsigned)__builtin_ctzll(lanes) / 8;
#else
    unsigned char top[sizeof(lanes)];
    memcpy(top, &lanes, sizeof(lanes));
    size_t i = 0;
    while (!top[i])
        i++;
    return i;
#endif
}

#ifdef __SSE2__
// The same for sixteen bytes: one bit each.
static inline unsigned not_in_value16(const char *data) {
    __m128i octets = _mm_loadu_si128((const __m128i *)data);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(octets, _mm_set1_epi8(0x1f)), octets);
    __m128i del = _mm_cmpeq_epi8(octets, _mm_set1_epi8(0x7f));
    unsigned bad = (unsigned)_mm_movemask_epi8(_mm_or_si128(control, del));
    if (bad)  // HTAB is rare
        bad &= ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(octets, _mm_set1_epi8('\t')));
    return bad;
}

// `first` is moved to the least signed byte, so that one comparison is enough.
static inline __m128i between16(__m128i octets, char first, char last) {
    return _mm_cmplt_epi8(_mm_add_epi8(octets, _mm_set1_epi8((char)(0x80 - first))),
                          _mm_set1_epi8((char)(0x81 - first + last)));
}

static inline unsigned not_in_target16(const char *data) {
    __m128i octets = _mm_loadu_si128((const __m128i *)data);
    __m128i hash = _mm_cmpeq_epi8(octets, _mm_set1_epi8('#'));
    return (unsigned)_mm_movemask_epi8(_mm_andnot_si128(hash, between16(octets, '!', '~'))) ^
           0xffff;
}
#endif

size_t cno__value_span(const char *data, size_t size) {
    size_t i = 0;
#ifdef __SSE2__
    for (size_t end = size & ~(size_t)15; i < end; i += 16) {
        unsigned bad = not_in_value16(data + i);
        if (bad)
            return i + (unsigned)__builtin_ctz(bad);
    }
#endif
    for (; size - i >= 8; i += 8) {
        uint64_t bad = not_in_value(cno__load8(data + i));
        if (bad)
            return i + first_lane(bad);
    }
    while (i < size && !not_in_value(LANES((unsigned char)data[i])))
        i++;
    return i;
}

size_t cno__target_span(const char *data, size_t size) {
    size_t i = 0;
#ifdef __SSE2__
    for (size_t end = size & ~(size_t)15; i < end; i += 16) {
        unsigned bad = not_in_target16(data + i);
        if (bad)
            return i + (unsigned)__builtin_ctz(bad);
    }
#endif
    for (; size - i >= 8; i += 8) {
        uint64_t bad = not_in_target(cno__load8(data + i));
        if (bad)
            return i + first_lane(bad);
    }
    while (i < size && !not_in_target(LANES((unsigned char)data[i])))
        i++;
    return i;
}

static inline int is_blank(char c) {
    return c == ' ' || c == '\t';
}

int cno__value_is_valid(const char *value, size_t size) {
    if (!size)
        return 1;
    if (is_blank(value[0]) || is_blank(value[size - 1]))
        return 0;
    if (size <= 8)
        return !not_in_value(cno__load_upto8(value, size));
#ifdef __SSE2__
    if (size >= 16) {
        unsigned any = not_in_value16(value + size - 16);
        for (size_t i = 0; i < size - 16; i += 16)
            any |= not_in_value16(value + i);
        return !any;
    }
#endif
    uint64_t bad = not_in_value(cno__load8(value + size - 8));
    for (size_t i = 0; i < size - 8; i += 8)
        bad |= not_in_value(cno__load8(value + i));
    return !bad;
}

// ---- names -------------------------------------------------------------------------------------

const unsigned char cno__tchar_lower[256] = {
    ['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*',
    ['+'] = '+', ['-'] = '-', ['.'] = '.', ['^'] = '^', ['_'] = '_', ['`'] = '`',   ['|'] = '|',
    ['~'] = '~', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4',   ['5'] = '5',
    ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b',   ['c'] = 'c',
    ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i',   ['j'] = 'j',
    ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p',   ['q'] = 'q',
    ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w',   ['x'] = 'x',
    ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd',   ['E'] = 'e',
    ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k',   ['L'] = 'l',
    ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r',   ['S'] = 's',
    ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y',   ['Z'] = 'z',
};

// `literal` must have as many characters as the case label above it says.
#define IS(literal) (!memcmp(name, literal, sizeof(literal) - 1))

static enum CNO_NAME pseudo_id(const char *name, size_t size) {
    switch (size) {
        case 5:
            return IS(":path") ? CNO_NAME_P_PATH : CNO_NAME_P_UNKNOWN;
        case 7:
            return IS(":method")   ? CNO_NAME_P_METHOD
                   : IS(":scheme") ? CNO_NAME_P_SCHEME
                   : IS(":status") ? CNO_NAME_P_STATUS
                                   : CNO_NAME_P_UNKNOWN;
        case 9:
            return IS(":protocol") ? CNO_NAME_P_PROTOCOL : CNO_NAME_P_UNKNOWN;
        case 10:
            return IS(":authority") ? CNO_NAME_P_AUTHORITY : CNO_NAME_P_UNKNOWN;
        default:
            return CNO_NAME_P_UNKNOWN;
    }
}

enum CNO_NAME cno__name_id(const char *name, size_t size) {
    if (size && name[0] == ':')
        return pseudo_id(name, size);
    switch (size) {
        case 2:
            return IS("te") ? CNO_NAME_TE : CNO_NAME_OTHER;
        case 4:
            return IS("date") ? CNO_NAME_DATE : IS("host") ? CNO_NAME_HOST : CNO_NAME_OTHER;
        case 6:
            return IS("cookie")   ? CNO_NAME_COOKIE
                   : IS("expect") ? CNO_NAME_EXPECT
                   : IS("server") ? CNO_NAME_SERVER
                                  : CNO_NAME_OTHER;
        case 7:
            return IS("upgrade") ? CNO_NAME_UPGRADE : CNO_NAME_OTHER;
        case 8:
            return IS("priority") ? CNO_NAME_PRIORITY : CNO_NAME_OTHER;
        case 10:
            return IS("connection")   ? CNO_NAME_CONNECTION
                   : IS("keep-alive") ? CNO_NAME_KEEP_ALIVE
                                      : CNO_NAME_OTHER;
        case 14:
            return IS("content-length")   ? CNO_NAME_CONTENT_LENGTH
                   : IS("http2-settings") ? CNO_NAME_HTTP2_SETTINGS
                                          : CNO_NAME_OTHER;
        case 16:
            return IS("proxy-connection") ? CNO_NAME_PROXY_CONNECTION : CNO_NAME_OTHER;
        case 17:
            return IS("transfer-encoding") ? CNO_NAME_TRANSFER_ENCODING : CNO_NAME_OTHER;
        default:
            return CNO_NAME_OTHER;
    }
}

int cno__name_is_valid_h2(const char *name, size_t size) {
    const unsigned char *u = (const unsigned char *)name;
    size_t i = size && u[0] == ':';
    if (i == size)
        return 0;
    for (; i < size; i++)
        if (!u[i] || cno__tchar_lower[u[i]] != u[i])
            return 0;
    return 1;
}

int cno__name_is_token(const char *name, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (!cno__tchar_lower[(unsigned char)name[i]])
            return 0;
    return size != 0;
}

// Almost all names consist of letters, digits and '-'. Setting this bit in each byte makes letters
// lower-case; digits and '-' have the bit already.
#define LOWER LANES(0x20)

// The lanes of other bytes.
static inline uint64_t not_common(uint64_t word) {
    uint64_t low = word & LANES(0x7f), lower = low | LOWER;
    uint64_t is_letter = (lower + LANES(0x80 - 'a')) & ~(lower + LANES(0x7f - 'z'));
    uint64_t is_digit = (low + LANES(0x80 - '0')) & ~(low + LANES(0x7f - '9'));
    uint64_t not_dash = (low ^ LANES('-')) + LANES(0x7f);
    return ((~is_letter & ~is_digit & not_dash) | word) & LANES(0x80);
}

#ifdef __SSE2__
// The same for sixteen bytes: one bit each.
static inline unsigned not_common16(__m128i octets) {
    __m128i lower = _mm_or_si128(octets, _mm_set1_epi8(0x20));
    __m128i letter = between16(lower, 'a', 'z'), digit = between16(octets, '0', '9');
    __m128i dash = _mm_cmpeq_epi8(octets, _mm_set1_epi8('-'));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(letter, digit), dash)) ^ 0xffff;
}
#endif

// Whether two words have no other bytes.
static inline int are_common(uint64_t first, uint64_t last) {
#ifdef __SSE2__
    return !not_common16(_mm_set_epi64x((long long)last, (long long)first));
#else
    return !(not_common(first) | not_common(last));
#endif
}

// How many bytes at `data` are letters, digits and '-', counted in whole words: there may be more.
static inline size_t common_name(const char *data, size_t size, char *lower) {
    size_t i = 0;
    uint64_t word, others;
#ifdef __SSE2__
    for (; size - i >= 16; i += 16) {
        __m128i octets = _mm_loadu_si128((const __m128i *)(data + i));
        unsigned bad = not_common16(octets);
        _mm_storeu_si128((__m128i *)(lower + i), _mm_or_si128(octets, _mm_set1_epi8(0x20)));
        if (bad)
            return i + (unsigned)__builtin_ctz(bad);
    }
#endif
    for (; size - i >= 8; i += 8) {
        word = cno__load8(data + i);
        others = not_common(word);
        cno__store8(lower + i, word | LOWER);
        if (others)
            return i + first_lane(others);
    }
    if (i == size || size < 8)
        return i;
    word = cno__load8(data + size - 8);
    others = not_common(word);
    cno__store8(lower + size - 8, word | LOWER);
    return others ? size - 8 + first_lane(others) : size;
}

size_t cno__token_lower(const char *data, size_t size, char *lower) {
    size_t i = common_name(data, size, lower);
    for (unsigned char c; i < size && (c = cno__tchar_lower[(unsigned char)data[i]]); i++)
        lower[i] = (char)c;
    return i;
}

// cno__name_lower for a name of any length and any bytes.
static int any_name_lower(const char *name, size_t size, char *lower, int *changed) {
    size_t i = size && name[0] == ':';
    if (i == size)
        return 0;
    lower[0] = ':';
    if (i + cno__token_lower(name + i, size - i, lower + i) < size)
        return 0;
    *changed = !cno__same(name, lower, size);
    return 1;
}

int cno__name_lower(const char *name, size_t size, char *lower, int *changed) {
    if (size < 4 || size > 16)
        return any_name_lower(name, size, lower, changed);
    int is_word = size < 8;
    uint64_t first = is_word ? cno__load_upto8(name, size) : cno__load8(name);
    uint64_t last = is_word ? first : cno__load8(name + size - 8);
    if (!are_common(first, last))
        return any_name_lower(name, size, lower, changed);
    *changed = (first & last & LOWER) != LOWER;
    if (is_word) {
        uint32_t start = (uint32_t)(first | LOWER), end = (uint32_t)((last | LOWER) >> 32);
        memcpy(lower, &start, sizeof(start));
        memcpy(lower + size - 4, &end, sizeof(end));
    } else {
        cno__store8(lower, first | LOWER);
        cno__store8(lower + size - 8, last | LOWER);
    }
    return 1;
}

// ---- values ------------------------------------------------------------------------------------

// The characters of a reg-name: unreserved and sub-delims but ',' (RFC 3986 section 2.2).
static const unsigned char IN_HOST[256] = {
    ['!'] = 1, ['$'] = 1, ['&'] = 1, ['\''] = 1, ['('] = 1, [')'] = 1, ['*'] = 1, ['+'] = 1,
    ['-'] = 1, ['.'] = 1, ['0'] = 1, ['1'] = 1,  ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1,
    ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1,  [';'] = 1, ['='] = 1, ['A'] = 1, ['B'] = 1,
    ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1,  ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1,
    ['K'] = 1, ['L'] = 1, ['M'] = 1, ['N'] = 1,  ['O'] = 1, ['P'] = 1, ['Q'] = 1, ['R'] = 1,
    ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1,  ['W'] = 1, ['X'] = 1, ['Y'] = 1, ['Z'] = 1,
    ['_'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1,  ['d'] = 1, ['e'] = 1, ['f'] = 1, ['g'] = 1,
    ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1,  ['l'] = 1, ['m'] = 1, ['n'] = 1, ['o'] = 1,
    ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,  ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1,
    ['x'] = 1, ['y'] = 1, ['z'] = 1, ['~'] = 1,
};

// The size of the IP-literal (section 3.2.2) at `host`, or 0 if there is none.
static size_t ip_literal(const char *host, size_t size) {
    size_t i = 1;
    while (i < size && (cno__hex_digit(host[i]) >= 0 || host[i] == ':' || host[i] == '.'))
        i++;
    return i > 1 && i < size && host[i] == ']' ? i + 1 : 0;
}

// The size of the reg-name or IPv4 address at `host`, up to the first byte that neither can have.
static size_t reg_name(const char *host, size_t size) {
    size_t i = 0;
    for (;;) {
        while (i < size && IN_HOST[(unsigned char)host[i]])
            i++;
        if (size - i < 3 || host[i] != '%' || cno__hex_digit(host[i + 1]) < 0 ||
            cno__hex_digit(host[i + 2]) < 0)
            return i;
        i += 3;
    }
}

int cno__host_is_valid(const char *host, size_t size, int needs_port) {
    size_t i = size && host[0] == '[' ? ip_literal(host, size) : reg_name(host, size);
    size_t port = i + 1;
    if (i < size && host[i] == ':' && (i || !needs_port))
        for (i++; i < size && host[i] >= '0' && host[i] <= '9';)
            i++;
    return i == size && (!needs_port || port < size);
}

int cno__parse_uint(const char *data, size_t size, uint64_t *out) {
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        if (data[i] < '0' || data[i] > '9')
            return -1;
        uint64_t digit = (uint64_t)(data[i] - '0');
        if (number > ((uint64_t)INT64_MAX - digit) / 10)
            return -1;
        number = number * 10 + digit;
    }
    if (!size)
        return -1;
    *out = number;
    return 0;
}

static inline char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

int cno__same_icase(const char *a, const char *b, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (to_lower(a[i]) != to_lower(b[i]))
            return 0;
    return 1;
}

int cno__equals_icase(const char *data, size_t size, const char *lower) {
    for (size_t i = 0; i < size; i++) {
        // The end of `lower` is a NUL; a NUL in `data` must not match it and go on.
        if (!lower[i] || to_lower(data[i]) != lower[i])
            return 0;
    }
    return !lower[size];
}

int cno__list_next(const char *data, size_t size, size_t *pos, const char **item,
                   size_t *item_size) {
    size_t i = *pos;
    while (i < size && (data[i] == ',' || is_blank(data[i])))
        i++;
    size_t start = i;
    while (i < size && data[i] != ',')
        i++;
    *pos = i;
    if (i == start)
        return 0;
    while (is_blank(data[i - 1]))
        i--;
    *item = data + start;
    *item_size = i - start;
    return 1;
}

int cno__list_has(const char *data, size_t size, const char *lower) {
    const char *item;
    for (size_t pos = 0, length; cno__list_next(data, size, &pos, &item, &length);)
        if (cno__equals_icase(item, length, lower))
            return 1;
    return 0;
}
