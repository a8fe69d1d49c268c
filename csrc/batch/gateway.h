// The form in which a gateway is given a request.
#pragma once

#include "batch.h"
#include "batch/marshal.h"

int cno__gateway_is_connect(const struct cno_message_t *);

// Whether a request names the protocol WebSocket (RFC 6455 by Upgrade, RFC 8441).
int cno__gateway_asks_websocket(const struct cno_message_t *, int http2);

// Whether the method of such a request is the one that a WebSocket needs (RFC 6455 section 4.1).
int cno__gateway_may_upgrade(const struct cno_message_t *, int http2);

// Writes five items of a HEAD event: method, target, path, query, fields.
void cno__gateway_put_request(struct cno__writer *, const struct cno_message_t *, int http2);
