// Tunnels on HTTP/1 (RFC 9110 sections 7.8 and 9.3.6): the protocols that a request offered, the
// response that grants the tunnel, and the state of the connection from then on.
#include "h1/h1.h"

#include <string.h>

void cno__h1_open_tunnel(struct cno_connection_t *c, struct cno_stream_t *s) {
    s->tunnel = CNO_TUNNEL_OPEN;
    s->framing = CNO_FRAMING_CLOSE;
    s->write_sized = 0;
    s->reading = CNO_AT_BODY;
    c->read = CNO_H1_TUNNEL;
    c->flags |= CNO_CONN_CLOSING;
}

int cno__h1_settle_tunnel(struct cno_connection_t *c, struct cno_stream_t *s, int status) {
    if (cno__grants_tunnel(s, status)) {
        cno__h1_open_tunnel(c, s);
        return CNO_OK;
    }
    s->tunnel = CNO_TUNNEL_NONE;
    return cno__h1_finish_reading(c, s, NULL);
}

// The format of c->offer: protocols in lower case, each followed by a 0, and one more 0 at the end.
int cno__h1_keep_offer(struct cno_connection_t *c, const struct cno_message_t *msg,
                       const uint8_t *ids) {
    size_t room = 1, size;
    for (size_t i = 0; i < msg->headers_len; i++)
        room += ids[i] == CNO_NAME_UPGRADE ? msg->headers[i].value.size + 1 : 0;
    char *offer = cno__resize(c->offer, room);
    if (!offer)
        return CNO_ERROR;
    c->offer = offer;
    for (size_t i = 0; i < msg->headers_len; i++) {
        struct cno_buffer_t v = msg->headers[i].value;
        const char *protocol;
        if (ids[i] != CNO_NAME_UPGRADE)
            continue;
        for (size_t at = 0; cno__list_next(v.data, v.size, &at, &protocol, &size);) {
            for (size_t k = 0; k < size; k++)
                *offer++ = protocol[k] >= 'A' && protocol[k] <= 'Z' ? (char)(protocol[k] | 0x20)
                                                                    : protocol[k];
            *offer++ = 0;
        }
    }
    *offer = 0;
    return CNO_OK;
}

static int was_offered(const char *offer, const char *protocol, size_t size) {
    while (*offer && !cno__equals_icase(protocol, size, offer))
        offer += strlen(offer) + 1;
    return *offer != 0;
}

int cno__h1_is_switch(const struct cno_connection_t *c, const struct cno_message_t *msg) {
    const struct cno_stream_t *s = c->current;
    if (s->tunnel != CNO_TUNNEL_H2C && !cno__grants_tunnel(s, 101))
        return 0;
    const char *offer = s->tunnel == CNO_TUNNEL_H2C ? "h2c\0" : c->offer, *protocol;
    int named = 0;
    for (size_t i = 0; i < msg->headers_len; i++) {
        struct cno_buffer_t v = msg->headers[i].value;
        if (msg->headers[i].id != CNO_NAME_UPGRADE)
            continue;
        for (size_t at = 0, size; cno__list_next(v.data, v.size, &at, &protocol, &size); named++)
            if (!was_offered(offer, protocol, size))
                return 0;
    }
    return named;
}
