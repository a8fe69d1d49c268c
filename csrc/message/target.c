// The destination of a request: targets, schemes, hosts and ports.
#include "message/head.h"

#include <string.h>

const struct cno__fault cno__bad_target =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-target",
               "request target of a form that its method cannot have (RFC 9112 3.2)");
const struct cno__fault cno__no_host =
    CNO__FAULT(400, PROTOCOL_ERROR, "missing-host", "no Host (RFC 9112 3.2)");
const struct cno__fault cno__two_hosts =
    CNO__FAULT(400, PROTOCOL_ERROR, "repeated-host", "Host more than once (RFC 9112 3.2)");
const struct cno__fault cno__bad_host = CNO__FAULT(
    400, PROTOCOL_ERROR, "bad-host", "Host is not a host with an optional port (RFC 9110 7.2)");

// ---- hosts and schemes -------------------------------------------------------------------------

// A valid host and port, without a port that is empty or the default of the scheme (RFC 3986
// section 6.2.3).
static struct cno_buffer_t without_default_port(struct cno_buffer_t host,
                                                struct cno_buffer_t scheme) {
    size_t digits = 0;
    while (digits < host.size && host.data[host.size - digits - 1] >= '0' &&
           host.data[host.size - digits - 1] <= '9')
        digits++;
    if (digits == host.size || host.data[host.size - digits - 1] != ':')
        return host;
    struct cno_buffer_t port = {host.data + host.size - digits, digits};
    int is_default = !digits ||
                     (cno__is(port, "80") && cno__equals_icase(scheme.data, scheme.size, "http")) ||
                     (cno__is(port, "443") && cno__equals_icase(scheme.data, scheme.size, "https"));
    return (struct cno_buffer_t){host.data, is_default ? host.size - digits - 1 : host.size};
}

int cno__same_host(struct cno_buffer_t a, struct cno_buffer_t b, struct cno_buffer_t scheme) {
    a = without_default_port(a, scheme);
    b = without_default_port(b, scheme);
    return a.size == b.size && cno__same_icase(a.data, b.data, a.size);
}

int cno__is_scheme(struct cno_buffer_t scheme) {
    for (size_t i = 0; i < scheme.size; i++) {
        char c = scheme.data[i], letter = (char)(c | 0x20);
        int alpha = letter >= 'a' && letter <= 'z';
        if (!alpha && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
            return 0;
    }
    return scheme.size != 0;
}

// ---- targets -----------------------------------------------------------------------------------

int cno__is_path(struct cno_buffer_t method, struct cno_buffer_t target) {
    return target.size &&
           (target.data[0] == '/' || (cno__is(target, "*") && cno__is(method, "OPTIONS")));
}

const struct cno__fault *cno__check_target(struct cno_buffer_t method, struct cno_buffer_t target) {
    if (!cno__is_path(method, target) || cno__target_span(target.data, target.size) != target.size)
        return &cno__bad_target;
    return NULL;
}

struct cno_buffer_t cno__authority_of(struct cno_buffer_t target) {
    size_t scheme = target.size > 7 && cno__equals_icase(target.data, 7, "http://")    ? 7
                    : target.size > 8 && cno__equals_icase(target.data, 8, "https://") ? 8
                                                                                       : 0;
    if (!scheme)
        return (struct cno_buffer_t){0};
    size_t end = scheme;
    while (end < target.size && target.data[end] != '/' && target.data[end] != '?')
        end++;
    return (struct cno_buffer_t){target.data + scheme, end - scheme};
}

int cno__target_is_valid_h2(struct cno_buffer_t method, struct cno_buffer_t target) {
    return cno__method(method) == CNO__METHOD_CONNECT || !cno__check_target(method, target);
}

int cno__target_is_valid_h1(struct cno_buffer_t method, struct cno_buffer_t target) {
    struct cno_buffer_t authority = cno__authority_of(target);
    return authority.data ? authority.size && cno__is_host(authority)
                          : cno__target_is_valid_h2(method, target);
}
