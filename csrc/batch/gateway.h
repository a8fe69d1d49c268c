// The form in which a gateway is given a request.
#pragma once

#include "batch.h"
#include "batch/marshal.h"

int cno__gateway_is_connect(const struct cno_message_t *);

// Whether the tunnel that a request asks for would be a WebSocket (RFC 6455 by Upgrade, RFC 8441).
int cno__gateway_asks_websocket(const struct cno_message_t *);

// Writes five items of a HEAD event: method, target, path, query, fields.
void cno__gateway_put_request(struct cno__writer *, const struct cno_message_t *, int http2);
