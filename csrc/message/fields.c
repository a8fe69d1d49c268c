// Which fields are allowed where: in trailers, and on HTTP/2.
#include "message/head.h"

#include <string.h>

#include "message/priority.h"

const struct cno__fault cno__bad_name =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-field-name", "malformed field name (RFC 9113 8.2.1)");
const struct cno__fault cno__bad_value =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-field-value", "malformed field value (RFC 9113 8.2.1)");
const struct cno__fault cno__bad_pseudo =
    CNO__FAULT(400, PROTOCOL_ERROR, "bad-pseudo-field",
               "pseudo-field unknown, repeated or misplaced (RFC 9113 8.3)");
static const struct cno__fault CONNECTION_FIELD = CNO__FAULT(
    400, PROTOCOL_ERROR, "connection-field", "connection-specific field (RFC 9113 8.2.2)");

// Several field lines are one Dictionary. If one of them is malformed, all are ignored (RFC 8941
// section 4.2).
static void read_priority(struct cno_buffer_t value, struct cno__meta *meta) {
    enum { NOTHING, PRIORITY, MALFORMED };
    if (meta->has_priority == NOTHING)
        meta->priority = CNO__PRIORITY_DEFAULT;
    if (meta->has_priority == MALFORMED)
        return;
    meta->has_priority = PRIORITY;
    if (!cno__priority_parse(value.data, value.size, &meta->priority))
        return;
    meta->has_priority = MALFORMED;
    meta->priority = CNO__PRIORITY_DEFAULT;
}

const struct cno__fault *cno__note_h2(const struct cno_header_t *field, struct cno__meta *meta) {
    switch (field->id) {
        case CNO_NAME_CONNECTION:
        case CNO_NAME_KEEP_ALIVE:
        case CNO_NAME_PROXY_CONNECTION:
        case CNO_NAME_TRANSFER_ENCODING:
        case CNO_NAME_UPGRADE:
            return &CONNECTION_FIELD;
        case CNO_NAME_TE:
            if (!cno__equals_icase(field->value.data, field->value.size, "trailers"))
                return &CONNECTION_FIELD;
            meta->te_trailers = 1;
            return NULL;
        case CNO_NAME_CONTENT_LENGTH:
            return cno__read_length(field->value, meta);
        case CNO_NAME_EXPECT:
            meta->expect = cno__list_has(field->value.data, field->value.size, "100-continue");
            return NULL;
        case CNO_NAME_PRIORITY:
            read_priority(field->value, meta);
            return NULL;
        default:
            return NULL;
    }
}

// Fields about framing, routing, authentication, caching or the format of the content come too late
// behind the content (RFC 9110 section 6.5.1; RFC 7230 section 4.1.2 had examples of each kind).
int cno__is_barred_from_trailers(const struct cno_header_t *field) {
    static const char NAMES[] =
        "connection\0content-length\0host\0http2-settings\0keep-alive\0proxy-connection\0te\0"
        "trailer\0transfer-encoding\0upgrade\0"
        "forwarded\0x-forwarded-for\0x-forwarded-host\0x-forwarded-proto\0"
        "authorization\0cookie\0proxy-authenticate\0proxy-authorization\0set-cookie\0"
        "www-authenticate\0"
        "cache-control\0expect\0if-match\0if-modified-since\0if-none-match\0if-range\0"
        "if-unmodified-since\0max-forwards\0pragma\0range\0"
        "age\0date\0expires\0location\0retry-after\0vary\0"
        "content-encoding\0content-language\0content-location\0content-range\0content-type\0";
    for (const char *name = NAMES; *name; name += strlen(name) + 1)
        if (cno__equals_icase(field->name.data, field->name.size, name))
            return 1;
    return 0;
}

const struct cno__fault *cno__trailers(struct cno_header_t *list, size_t *count,
                                       enum CNO_HTTP_VERSION version) {
    struct cno__meta meta = {0};
    const struct cno__fault *fault;
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (list[i].flags & (CNO_HEADER_BAD_NAME | CNO_HEADER_BAD_VALUE))
            return list[i].flags & CNO_HEADER_BAD_NAME ? &cno__bad_name : &cno__bad_value;
        if (list[i].id >= CNO_NAME_P_AUTHORITY && list[i].id <= CNO_NAME_P_UNKNOWN)
            return &cno__bad_pseudo;
        if (version == CNO_HTTP2 && (fault = cno__regular_h2(&list[i], &meta)))
            return fault;
        if (!cno__is_barred_from_trailers(&list[i]))
            list[kept++] = list[i];
    }
    *count = kept;
    return NULL;
}
