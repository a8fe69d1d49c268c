// A program against the installed library, in what C11 and C++11 have in common: a client and a server
// in one process, HTTP/1 or HTTP/2, one request. Prints what the client was told.
#include <cno/core.h>
#include <cno/batch.h>

#include <stdio.h>
#include <string.h>

struct side {
    struct cno_connection_t c;
    char out[4096];
    size_t size;
};

static struct cno_buffer_t view(const char *text) {
    struct cno_buffer_t b = {text, strlen(text)};
    return b;
}

static int on_writev(void *data, const struct cno_buffer_t *pieces, size_t count) {
    struct side *side = (struct side *)data;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].size > sizeof(side->out) - side->size)
            return 1;
        memcpy(side->out + side->size, pieces[i].data, pieces[i].size);
        side->size += pieces[i].size;
    }
    return 0;
}

static int on_request(void *data, uint32_t stream, const struct cno_message_t *request) {
    struct cno_message_t answer;
    memset(&answer, 0, sizeof(answer));
    answer.code = 200;
    int taken = cno_write_message(&((struct side *)data)->c, stream, &answer, request->path.data,
                                  request->path.size, 1);
    return taken == (int)request->path.size ? 0 : 1;
}

static int on_response(void *data, uint32_t stream, const struct cno_message_t *response) {
    (void)data;
    printf("%u: %d\n", (unsigned)stream, response->code);
    return 0;
}

static int on_data(void *data, uint32_t stream, const char *body, size_t size) {
    (void)data;
    (void)stream;
    printf("%.*s\n", (int)size, body);
    return 0;
}

static int move(struct side *from, struct side *to) {
    size_t size = from->size;
    from->size = 0;
    return size ? cno_consume(&to->c, from->out, size) : CNO_OK;
}

static int exchange(enum CNO_HTTP_VERSION version) {
    static struct side client, server;
    struct cno_vtable_t server_events, client_events;
    memset(&server_events, 0, sizeof(server_events));
    server_events.on_writev = on_writev;
    client_events = server_events;
    server_events.on_message_head = on_request;
    client_events.on_message_head = on_response;
    client_events.on_message_data = on_data;

    cno_init(&server.c, CNO_SERVER);
    cno_init(&client.c, CNO_CLIENT);
    server.c.cb_code = &server_events;
    client.c.cb_code = &client_events;
    server.c.cb_data = &server;
    client.c.cb_data = &client;

    struct cno_header_t fields[2];
    memset(fields, 0, sizeof(fields));
    fields[0].name = view(":scheme");
    fields[0].value = view("http");
    fields[1].name = view(":authority");
    fields[1].value = view("localhost");
    struct cno_message_t request;
    memset(&request, 0, sizeof(request));
    request.method = view("GET");
    request.path = view("/hello");
    request.headers = fields;
    request.headers_len = 2;

    int failed = cno_begin(&server.c, CNO_HTTP1) || cno_begin(&client.c, version) ||
                 cno_write_head(&client.c, cno_next_stream(&client.c), &request, 1) ||
                 move(&client, &server) || move(&server, &client) ||
                 cno_version(&server.c) != (int)version;
    cno_fini(&client.c);
    cno_fini(&server.c);
    return failed;
}

int main(void) {
    struct cno_batch_t *batch = cno_batch_new(CNO_SERVER, 0);
    cno_batch_free(batch);
    printf("%s %d\n", CNO_VERSION_STRING, cno_library_version() == CNO_VERSION_NUMBER);
    if (!batch || exchange(CNO_HTTP1) || exchange(CNO_HTTP2)) {
        printf("failed: %s\n", cno_error()->text);
        return 1;
    }
    return 0;
}
