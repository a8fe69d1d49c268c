// libcno as a server, through its public header only: every request is answered from on_message_tail
// with one head and one piece of body.
#include "core.h"
#include "engine.h"

#include <stdlib.h>

static struct cno_header_t response[RESPONSE_FIELDS];

static int on_writev(void *connection, const struct cno_buffer_t *pieces, size_t count) {
    (void)connection;
    for (size_t i = 0; i < count; i++)
        sink_write(pieces[i].data, pieces[i].size);
    return 0;
}

static int on_message_head(void *connection, uint32_t stream, const struct cno_message_t *head) {
    (void)connection, (void)stream;
    store_field(":method", 7, head->method.data, head->method.size);
    store_field(":path", 5, head->path.data, head->path.size);
    for (size_t i = 0; i < head->headers_len; i++) {
        const struct cno_header_t *h = &head->headers[i];
        store_field(h->name.data, h->name.size, h->value.data, h->value.size);
    }
    return 0;
}

static int on_message_tail(void *connection, uint32_t stream, const struct cno_tail_t *tail) {
    (void)tail;
    const struct cno_message_t head = {
        .code = 200,
        .headers = response,
        .headers_len = RESPONSE_FIELDS,
    };
    count_request();
    if (cno_write_head(connection, stream, &head, 0))
        return cno_error()->code;
    int taken = cno_write_data(connection, stream, response_body, RESPONSE_BODY_SIZE, 1);
    return taken == RESPONSE_BODY_SIZE ? 0 : 1;
}

static const struct cno_vtable_t events = {
    .on_writev = on_writev,
    .on_message_head = on_message_head,
    .on_message_tail = on_message_tail,
};

static void *open_connection(enum version version) {
    for (size_t i = 0; i < RESPONSE_FIELDS; i++) {
        const struct field *f = &response_fields[i];
        response[i] = (struct cno_header_t){
            .name = {f->name, f->name_size},
            .value = {f->value, f->value_size},
        };
    }
    struct cno_connection_t *connection = malloc(sizeof(*connection));
    if (connection == NULL)
        die("open", "out of memory");
    cno_init(connection, CNO_SERVER);
    connection->cb_code = &events;
    connection->cb_data = connection;
    if (cno_begin(connection, version == HTTP2 ? CNO_HTTP2 : CNO_HTTP1))
        die("cno_begin", cno_error()->text);
    return connection;
}

// On HTTP/1 the engine keeps pipelined requests until the answer before them is complete, and goes on
// with an empty call.
static void feed(void *connection, const char *data, size_t size) {
    if (cno_consume(connection, data, size))
        die("cno_consume", cno_error()->text);
    while (cno_pending(connection)) {
        size_t before = cno_pending(connection);
        if (cno_consume(connection, NULL, 0))
            die("cno_consume", cno_error()->text);
        if (cno_pending(connection) == before)
            break;
    }
}

static void close_connection(void *connection) {
    cno_fini(connection);
    free(connection);
}

const struct engine engine = {
    .name = "cno",
    .struct_size = sizeof(struct cno_connection_t),
    .versions = HTTP1 | HTTP2,
    .open = open_connection,
    .feed = feed,
    .close = close_connection,
};
