// The form in which a gateway, an application server for ASGI or WSGI, is given a request: the path
// decoded and without the query, `host` for `:authority`, cookies joined, the method in upper case.
// Knows no events.
#include "batch/gateway.h"

#include <string.h>

#include "config.h"
#include "message/chars.h"

// Writes one cookie field that joins all cookie fields (RFC 9113 section 8.2.3), in place of the
// first.
static void put_cookies(struct cno__writer *w, const struct cno_header_t *list, size_t first,
                        size_t count) {
    size_t size = 0, after = 0;
    for (size_t i = first; i < count; i++)
        if (list[i].id == CNO_NAME_COOKIE)
            size += list[i].value.size + (i == first ? 0 : 2);
    cno__put_tuple(w, 2);
    cno__put_bytes(w, "cookie", 6);
    after = w->size;
    cno__put_raw(w, "s\0\0\0\0", 5);
    cno__put_count(w, after + 1, (uint32_t)size);
    for (size_t i = first; i < count; i++) {
        if (list[i].id != CNO_NAME_COOKIE)
            continue;
        if (i != first)
            cno__put_raw(w, "; ", 2);
        cno__put_raw(w, list[i].value.data, list[i].value.size);
    }
}

static void put_gateway_fields(struct cno__writer *w, const struct cno_header_t *list, size_t count,
                               int h2) {
    size_t at = cno__put_list(w);
    uint32_t kept = 0;
    int has_authority = 0, has_cookie = 0;
    for (size_t i = 0; i < count; i++) {
        switch (list[i].id) {
            case CNO_NAME_P_AUTHORITY:
                if (list[i].flags & CNO_HEADER_IMPLIED)
                    continue;
                has_authority = 1;
                cno__put_pair(w, (struct cno_buffer_t){"host", 4}, list[i].value);
                break;
            case CNO_NAME_P_SCHEME:
            case CNO_NAME_P_PROTOCOL:
                continue;
            case CNO_NAME_HOST:
                if (has_authority)
                    continue;
                cno__put_pair(w, list[i].name, list[i].value);
                break;
            case CNO_NAME_COOKIE:
                if (h2 && has_cookie++)
                    continue;
                if (h2)
                    put_cookies(w, list, i, count);
                else
                    cno__put_pair(w, list[i].name, list[i].value);
                break;
            default:
                cno__put_pair(w, list[i].name, list[i].value);
        }
        kept++;
    }
    cno__put_count(w, at, kept);
}

// Writes a path with %XX decoded once (RFC 3986 section 2.4). A % that begins no escape stays.
static void put_decoded(struct cno__writer *w, struct cno_buffer_t path) {
    char text[CNO_MAX_H1_LINE], *decoded = text, *heap = NULL;
    if (!memchr(path.data, '%', path.size)) {
        cno__put_text(w, path.data, path.size);
        return;
    }
    if (path.size > sizeof(text) && !(decoded = heap = cno__resize(NULL, path.size))) {
        w->failed = 1;
        return;
    }
    size_t size = 0;
    for (size_t i = 0; i < path.size; i++) {
        int high = path.data[i] == '%' && i + 2 < path.size ? cno__hex_digit(path.data[i + 1]) : -1;
        int low = high >= 0 ? cno__hex_digit(path.data[i + 2]) : -1;
        decoded[size++] = low >= 0 ? (char)(high << 4 | low) : path.data[i];
        i += low >= 0 ? 2 : 0;
    }
    cno__put_text(w, decoded, size);
    cno__release(heap);
}

// The target without scheme and authority (absolute-form, RFC 9112 section 3.2.2).
static struct cno_buffer_t origin_form(struct cno_buffer_t target) {
    const char *colon =
        target.size && target.data[0] != '/' ? memchr(target.data, ':', target.size) : NULL;
    size_t start = colon ? (size_t)(colon - target.data) : target.size;
    if (target.size < start + 3 || memcmp(colon, "://", 3))
        return target;
    for (start += 3; start < target.size && target.data[start] != '/' && target.data[start] != '?';)
        start++;
    return (struct cno_buffer_t){target.data + start, target.size - start};
}

static void put_target(struct cno__writer *w, struct cno_buffer_t target) {
    target = origin_form(target);
    const char *mark = target.size ? memchr(target.data, '?', target.size) : NULL;
    struct cno_buffer_t path = {target.data, mark ? (size_t)(mark - target.data) : target.size};
    struct cno_buffer_t query = {mark ? mark + 1 : "", mark ? target.size - path.size - 1 : 0};
    if (!path.size)
        path = (struct cno_buffer_t){"/", 1};
    cno__put_bytes(w, path.data, path.size);
    put_decoded(w, path);
    cno__put_bytes(w, query.data, query.size);
}

int cno__gateway_is_connect(const struct cno_message_t *msg) {
    return msg->method.size == 7 && !memcmp(msg->method.data, "CONNECT", 7);
}

int cno__gateway_asks_websocket(const struct cno_message_t *msg, int http2) {
    uint8_t id = http2 ? CNO_NAME_P_PROTOCOL : CNO_NAME_UPGRADE;
    for (size_t i = 0; i < msg->headers_len; i++) {
        struct cno_buffer_t value = msg->headers[i].value;
        if (msg->headers[i].id == id && cno__list_has(value.data, value.size, "websocket"))
            return 1;
    }
    return 0;
}

int cno__gateway_may_upgrade(const struct cno_message_t *msg, int http2) {
    return http2 || (msg->method.size == 3 && !memcmp(msg->method.data, "GET", 3));
}

// Makes a method upper-case, as ASGI and WSGI demand.
static void upper(struct cno__writer *w, size_t size) {
    if (w->failed)
        return;
    for (char *at = w->data + w->size - size; at < w->data + w->size; at++)
        if (*at >= 'a' && *at <= 'z')
            *at = (char)(*at & ~0x20);
}

void cno__gateway_put_request(struct cno__writer *w, const struct cno_message_t *msg, int http2) {
    cno__put_ascii(w, msg->method.data, msg->method.size);
    upper(w, msg->method.size);
    put_target(w, msg->path);
    put_gateway_fields(w, msg->headers, msg->headers_len, http2);
}
