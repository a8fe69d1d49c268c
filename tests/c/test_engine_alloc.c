// Fails every allocation in turn, over exchanges that use all of the engine, through the callbacks of core.h
// and through a batch: nothing leaks, nothing crashes, and the call in which it happened says NO_MEMORY or
// has succeeded without. Each round runs twice: stopping at the first error as a caller should, and going on.
#include "batch.h"
#include "config.h"
#include "check.h"
#include "wire.h"

// ---- an allocator that fails -------------------------------------------------------------------

static long until_failure, live;  // allocations that still succeed; blocks that were not released
static int failed_one;            // whether one was refused

// What a round is like: whether all allocations behind the first that failed do so as well, and whether
// the caller goes on behind an error.
static int for_good, going_on;

static void *failing_resize(void *data, size_t size) {
    if (until_failure-- <= 0 && (for_good || !failed_one)) {
        failed_one = 1;
        return NULL;
    }
    char *moved = malloc(size + 16);  // always elsewhere, so that a stale pointer is seen
    if (!moved)
        abort();
    memcpy(moved, &size, sizeof(size));
    if (data) {
        size_t old;
        memcpy(&old, (char *)data - 16, sizeof(old));
        memcpy(moved + 16, data, old < size ? old : size);
        free((char *)data - 16);
    } else {
        live++;
    }
    return moved + 16;
}

static void counting_release(void *data) {
    live--;
    free((char *)data - 16);
}

// ---- a connection, seen either way -------------------------------------------------------------

struct field {
    const char *name, *value;
};

struct party {
    struct cno_connection_t plain, *c;
    struct cno_batch_t *batch;
    struct cno_defaults_t *defaults;
    int http2, refused, failed, unexpected;  // refused: that the peer is at fault is expected
    size_t written, events;
    uint32_t pushed;
};

static int on_writev(void *data, const struct cno_buffer_t *pieces, size_t count) {
    for (size_t i = 0; i < count; i++)
        ((struct party *)data)->written += pieces[i].size;
    return 0;
}

static int on_head(void *data, uint32_t stream, const struct cno_message_t *msg) {
    (void)stream;
    ((struct party *)data)->events += msg->headers_len;
    return 0;
}

static int on_data(void *data, uint32_t stream, const char *body, size_t size) {
    (void)stream;
    (void)body;
    ((struct party *)data)->events += size;
    return 0;
}

static const struct cno_vtable_t EVENTS = {
    .on_writev = on_writev, .on_message_head = on_head, .on_message_data = on_data};

// Whether the next step is to be made.
static int goes_on(const struct party *p) {
    return p->c && (!p->failed || going_on);
}

static void done(struct party *p, int result) {
    if (p->batch) {
        p->written += p->batch->out_size;
        p->events += p->batch->events_size;
        p->batch->out_size = p->batch->events_size = 0;
    }
    if (result >= 0 || (p->refused && cno_error()->code == CNO_ERRNO_PROTOCOL))
        return;
    // Before the first failure nothing fails, and the first failure is for want of memory.
    if (!p->failed && (!failed_one || cno_error()->code != CNO_ERRNO_NO_MEMORY))
        p->unexpected = 1;
    p->failed = 1;
}

static struct party *connect(enum CNO_CONNECTION_KIND kind, int http2, int batched,
                             uint32_t flags) {
    struct party *p = calloc(1, sizeof(*p));
    p->http2 = http2;
    if (batched) {
        p->batch = cno_batch_new(kind, flags);
        p->c = p->batch ? &p->batch->conn : NULL;
        p->failed = !p->batch;
        return p;
    }
    cno_init(&p->plain, kind);
    p->plain.cb_code = &EVENTS;
    p->plain.cb_data = p;
    p->c = &p->plain;
    return p;
}

static void begin(struct party *p) {
    if (goes_on(p))
        done(p, cno_begin(p->c, p->http2 ? CNO_HTTP2 : CNO_HTTP1));
}

static void feed(struct party *p, const char *data, size_t size) {
    if (goes_on(p))
        done(p, p->batch ? cno_batch_consume(p->batch, data, size) : cno_consume(p->c, data, size));
}

// Escaped text on HTTP/1; frames, separated by `;`, on HTTP/2. Comes in pieces of at most `cut` octets.
static void read_cut(struct party *p, const char *text, size_t cut) {
    struct wire w = {0};
    size_t mark;
    char line[512];
    for (size_t size; p->http2 && *text; text += size + (text[size] == ';')) {
        size = strcspn(text, ";");
        snprintf(line, sizeof(line), "%.*s", (int)size, text);
        wire_frame(&w, line);
    }
    if (!p->http2)
        wire_text(&w, text, strlen(text), &mark);
    for (size_t at = 0; at < w.size; at += cut)
        feed(p, w.data + at, w.size - at < cut ? w.size - at : cut);
    wire_free(&w);
}

static void read_whole(struct party *p, const char *text) {
    read_cut(p, text, SIZE_MAX);
}

// The marshal format of CPython, as far as it is needed: a list of pairs of bytes.
static struct wire blob_of(const struct cno_header_t *list, size_t count) {
    struct wire w = {0};
    unsigned char head[5] = {'[', (unsigned char)count};
    wire_put(&w, head, 5);
    for (size_t i = 0; i < count; i++) {
        const struct cno_buffer_t parts[2] = {list[i].name, list[i].value};
        wire_put(&w, ")\2", 2);
        for (int k = 0; k < 2; k++) {
            unsigned char s[5] = {'s'};
            for (int b = 0; b < 4; b++)
                s[1 + b] = (unsigned char)(parts[k].size >> 8 * b);
            wire_put(&w, s, 5);
            wire_put(&w, parts[k].data, parts[k].size);
        }
    }
    return w;
}

#define FIELDS_MAX 8

struct list {
    struct cno_header_t list[FIELDS_MAX];
    size_t count;
    struct wire blob;
};

static struct list fields(const struct field *from) {
    struct list to = {.count = 0, .blob = {0}};
    for (; from && from->name; from++)
        to.list[to.count++] = (struct cno_header_t){
            {from->name, strlen(from->name)}, {from->value, strlen(from->value)}, 0, 0};
    to.blob = blob_of(to.list, to.count);
    return to;
}

static const struct field SOME[] = {{"etag", "\"x\""}, {"x-a", "1"}, {NULL, NULL}};
static const struct field UPPER[] = {{"ETag", "\"x\""}, {"X-A", "1"}, {NULL, NULL}};

// A batch lowers the names.
static const struct field *as_sent(const struct party *p, const struct field *list) {
    return list == UPPER && !p->batch ? SOME : list;
}

static void head(struct party *p, uint32_t id, int code, const char *method, const char *path,
                 const struct field *list, int final) {
    struct list l = fields(list);
    struct cno_message_t msg = {.code = code,
                                .method = {method, strlen(method)},
                                .path = {path, strlen(path)},
                                .headers = l.list,
                                .headers_len = l.count};
    if (goes_on(p))
        done(p, p->batch ? cno_batch_head(p->batch, id, code, method, strlen(method), path,
                                          strlen(path), l.blob.data, l.blob.size, final)
                         : cno_write_head(p->c, id, &msg, final));
    wire_free(&l.blob);
}

static void answer(struct party *p, uint32_t id, const struct field *list, const char *body,
                   size_t size) {
    struct list l = fields(as_sent(p, list));
    struct cno_message_t msg = {.code = 200, .headers = l.list, .headers_len = l.count};
    if (goes_on(p))
        done(p, p->batch ? cno_batch_answer(p->batch, id, 200, l.blob.data, l.blob.size, body, size,
                                            (long long)size)
                         : cno_write_message(p->c, id, &msg, body, size, 1));
    wire_free(&l.blob);
}

static void push(struct party *p, uint32_t id, const struct field *list) {
    struct list l = fields(list);
    struct cno_message_t msg = {
        .method = {"GET", 3}, .path = {"/p", 2}, .headers = l.list, .headers_len = l.count};
    if (goes_on(p)) {
        p->pushed = cno_next_stream(p->c);
        done(p, p->batch ? cno_batch_push(p->batch, id, "GET", 3, "/p", 2, l.blob.data, l.blob.size)
                         : cno_write_push(p->c, id, &msg));
    }
    wire_free(&l.blob);
}

static void data(struct party *p, uint32_t id, const char *body, size_t size, int final) {
    if (goes_on(p))
        done(p, cno_write_data(p->c, id, body, size, final));
}

static void tail(struct party *p, uint32_t id, const struct field *list) {
    struct list l = fields(as_sent(p, list));
    if (goes_on(p))
        done(p, p->batch ? cno_batch_tail(p->batch, id, l.blob.data, l.blob.size)
                         : cno_write_tail(p->c, id, &(struct cno_tail_t){l.list, l.count}));
    wire_free(&l.blob);
}

// ---- exchanges ---------------------------------------------------------------------------------

static char large[150000];

static const struct field REQUEST[] = {
    {":scheme", "http"}, {":authority", "h"}, {"x-a", "1"}, {NULL, NULL}};

#define HELLO "PREFACE;SETTINGS 0 - s:1=4096 s:4=70000;SETTINGS 0 ACK;WINDOW_UPDATE 0 - u32:100000;"

static struct party *h1_requests(int batched) {
    struct party *p = connect(CNO_SERVER, 0, batched, 0);
    begin(p);
    read_cut(p, "GET /a%20b HTTP/1.1\\r\\nHost: h\\r\\nCookie: a\\r\\nX-Long: {900*x}\\r\\n\\r\\n",
             100);
    answer(p, 1, SOME, "hello", 5);
    read_whole(p, "HEAD / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n");
    answer(p, 3, UPPER, "", 0);
    return p;
}

static struct party *h1_chunks(int batched) {
    struct party *p = connect(CNO_SERVER, 0, batched, CNO_BATCH_GATEWAY | CNO_BATCH_QUIET);
    begin(p);
    read_cut(p,
             "POST /%c3%a9?q HTTP/1.1\\r\\nHost: h\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
             "5;x=y\\r\\nhello\\r\\n7d0\\r\\n{2000*x}\\r\\n0\\r\\nA: {2000*b}\\r\\n\\r\\n",
             701);
    head(p, 1, 103, "", "", SOME, 0);
    head(p, 1, 200, "", "", SOME, 0);
    data(p, 1, large, 3000, 0);
    data(p, 1, "x", 1, 0);
    tail(p, 1, UPPER);
    return p;
}

static struct party *h1_pipelined(int batched) {
    struct party *p = connect(CNO_SERVER, 0, batched, 0);
    begin(p);
    p->refused = 1;
    read_whole(p, "{12*GET /path HTTP/1.1\\r\\nHost: h\\r\\nX: y\\r\\n\\r\\n}");
    for (uint32_t id = 1; id < 24; id += 2) {
        answer(p, id, SOME, "hi", 2);
        feed(p, NULL, 0);
    }
    read_whole(p, "GET /\\x00 HTTP/1.1\\r\\n\\r\\n");
    return p;
}

static struct party *h1_large(int batched) {
    struct party *p = connect(CNO_SERVER, 0, batched, 0);
    begin(p);
    read_cut(p, "PUT / HTTP/1.1\\r\\nHost: h\\r\\nContent-Length: 100000\\r\\n\\r\\n{100000*x}",
             30000);
    answer(p, 1, SOME, large, sizeof(large));
    read_whole(p, "GET / HTTP/1.1\\r\\nHost: h\\r\\nX-Long: {9000*x}\\r\\n\\r\\n");
    answer(p, 3, SOME, NULL, 0);
    return p;
}

static struct party *h1_client(int batched) {
    struct party *p = connect(CNO_CLIENT, 0, batched, 0);
    begin(p);
    head(p, 1, 0, "POST", "/", REQUEST, 0);
    data(p, 1, large, 2000, 0);
    tail(p, 1, SOME);
    read_cut(p,
             "HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n3\\r\\nabc\\r\\n0\\r\\nA: "
             "b\\r\\n\\r\\n",
             20);
    return p;
}

static struct party *h2_requests(int batched) {
    struct party *p = connect(CNO_SERVER, 1, batched, CNO_BATCH_GATEWAY | CNO_BATCH_QUIET);
    begin(p);
    read_whole(p, HELLO "HEADERS 1 END_STREAM|END_HEADERS @get +x-a={300*b} cookie=a cookie=b");
    answer(p, 1, UPPER, "hello", 5);
    for (uint32_t id = 3; id < 43; id += 2) {
        char line[64];
        snprintf(line, sizeof(line), "HEADERS %u END_HEADERS @post +x-%u=1 x:bf", (unsigned)id,
                 (unsigned)id);
        read_cut(p, line, 50);
    }
    for (uint32_t id = 3; id < 43; id += 2)
        answer(p, id, SOME, "hello", 5);
    read_whole(p, "RST_STREAM 3 - u32:8;DATA 5 END_STREAM 2000*t:x;PING 0 - t:12345678");
    read_whole(p, "0x10 0 - u32:43 t:i;0x10 0 - u32:45;0x10 0 - u32:47;0x10 0 - u32:49;"
                  "0x10 0 - u32:51;HEADERS 43 END_HEADERS @post;0x10 0 - u32:43 t:u=1");
    return p;
}

static struct party *h2_continuation(int batched) {
    struct party *p = connect(CNO_SERVER, 1, batched, 0);
    begin(p);
    read_cut(p,
             HELLO "HEADERS 1 - @post +a={3000*b};CONTINUATION 1 - b={9000*c};"
                   "CONTINUATION 1 END_HEADERS x:40017a8cf1e3c2e5f23a6ba0ab90f4ff",
             4000);
    return p;
}

static struct party *h2_bodies(int batched) {
    struct party *p = connect(CNO_SERVER, 1, batched, 0);
    begin(p);
    read_cut(p,
             HELLO "HEADERS 1 END_HEADERS @post;DATA 1 - 16384*t:x;DATA 1 - 16384*t:x;"
                   "DATA 1 PADDED u8:9 16000*t:x 9*x:00;HEADERS 1 END_STREAM|END_HEADERS a=b",
             10000);
    head(p, 1, 200, "", "", SOME, 0);
    data(p, 1, large, sizeof(large), 1);
    read_whole(p, "WINDOW_UPDATE 1 - u32:100000;SETTINGS 0 - s:1=0 s:5=20000");
    data(p, 1, large, sizeof(large) - 70000, 0);
    tail(p, 1, UPPER);
    return p;
}

static struct party *h2_push(int batched) {
    static const struct field long_ones[] = {
        {":scheme", "http"}, {":authority", "h"}, {"a", large}, {NULL, NULL}};
    struct party *p = connect(CNO_SERVER, 1, batched, 0);
    memset(large, 'x', 40000);
    large[40000] = 0;
    begin(p);
    read_whole(p, HELLO "HEADERS 1 END_STREAM|END_HEADERS @get");
    push(p, 1, REQUEST);
    answer(p, 2, SOME, "pushed", 6);
    push(p, 1, long_ones);
    head(p, 4, 200, "", "", long_ones + 2, 1);
    answer(p, 1, SOME, "done", 4);
    if (goes_on(p))
        done(p, cno_shutdown(p->c, 0));
    if (goes_on(p))
        done(p, cno_shutdown(p->c, 1));
    return p;
}

static struct party *h2_refusals(int batched) {
    struct party *p = connect(CNO_SERVER, 1, batched, 0);
    begin(p);
    p->refused = 1;
    read_whole(p, HELLO
               "HEADERS 1 END_STREAM|END_HEADERS @get 140*a=b;HEADERS 3 END_STREAM|END_HEADERS a=b;"
               "HEADERS 5 END_HEADERS @post content-length=1;DATA 5 - t:hello");
    read_cut(p, "HEADERS 7 END_STREAM|END_HEADERS @get x:ff", 7);
    return p;
}

static struct party *h2_from_h1(int batched) {
    struct party *p = connect(CNO_SERVER, 0, batched, 0);
    begin(p);
    p->http2 = 1;
    read_cut(p, HELLO "HEADERS 1 END_STREAM|END_HEADERS @get", 11);
    answer(p, 1, SOME, "hi", 2);
    return p;
}

static struct party *h2_client(int batched) {
    struct party *p = connect(CNO_CLIENT, 1, batched, 0);
    if (p->c) {
        struct cno_settings_t settings = p->c->settings[CNO_LOCAL];
        settings.enable_push = 1;
        done(p, cno_configure(p->c, &settings));
    }
    begin(p);
    head(p, 1, 0, "POST", "/", REQUEST, 0);
    data(p, 1, large, 70000, 1);
    read_cut(p,
             "SETTINGS 0 -;SETTINGS 0 ACK;PUSH_PROMISE 1 END_HEADERS u32:2 @get +a=b;"
             "HEADERS 2 END_HEADERS @ok x:be;DATA 2 END_STREAM t:x;HEADERS 1 END_HEADERS @ok;"
             "HEADERS 1 END_STREAM|END_HEADERS c=d;GOAWAY 0 - u32:1 u32:0",
             40);
    return p;
}

static struct party *with_defaults(int batched) {
    struct party *p = connect(CNO_SERVER, 1, 1, CNO_BATCH_GATEWAY | CNO_BATCH_QUIET);
    struct list l = fields(SOME);
    if (p->c) {
        p->defaults = cno_defaults_new();
        p->batch->defaults = p->defaults;
        p->failed = !p->defaults;
        if (p->defaults)
            done(p, cno_defaults_set(p->defaults, l.blob.data, l.blob.size));
        if (p->defaults && batched)
            done(p, cno_defaults_set(p->defaults, l.blob.data, l.blob.size));
    }
    wire_free(&l.blob);
    begin(p);
    read_whole(p, HELLO "HEADERS 1 END_STREAM|END_HEADERS @get");
    answer(p, 1, NULL, "hi", 2);
    return p;
}

// ---- tunnels and changes of protocol ----

static const struct field UPGRADE[] = {{"upgrade", "x"}, {NULL, NULL}};
static const struct field WEBSOCKET[] = {
    {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "h"}, {NULL, NULL}};

static struct party *h1_upgrade(int batched) {
    struct party *p = connect(CNO_SERVER, 0, batched, CNO_BATCH_GATEWAY);
    if (p->c)
        p->c->options |= CNO_OFFER_UPGRADE;
    begin(p);
    read_cut(p,
             "GET / HTTP/1.1\\r\\nHost: h\\r\\nConnection: upgrade\\r\\nUpgrade: x\\r\\n\\r\\n"
             "GET / HTTP/1.1\\r\\nHost: h\\r\\nConnection: upgrade\\r\\nUpgrade: websocket, x\\r\\n"
             "\\r\\n{3000*x}",
             500);
    answer(p, 1, SOME, "hello", 5);
    feed(p, NULL, 0);
    head(p, 3, 101, "", "", UPGRADE, 0);
    feed(p, NULL, 0);
    data(p, 3, large, 3000, 0);
    data(p, 3, large, 10, 1);
    return p;
}

static struct party *h1_tunnel_client(int batched) {
    struct party *p = connect(CNO_CLIENT, 0, batched, 0);
    begin(p);
    head(p, 1, 0, "GET", "/", UPGRADE, 0);
    read_whole(p, "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nno");
    head(p, 3, 0, "CONNECT", "a:1", SOME, 0);
    read_cut(p, "HTTP/1.1 200 OK\\r\\n\\r\\n{3000*x}", 20);
    data(p, 3, large, 3000, 1);
    return p;
}

static struct party *h2c_server(int batched) {
    struct party *p = connect(CNO_SERVER, 0, batched, 0);
    if (p->c)
        p->c->options |= CNO_H2C_UPGRADE;
    begin(p);
    read_cut(p,
             "GET / HTTP/1.1\\r\\nHost: h\\r\\nConnection: Upgrade, HTTP2-Settings\\r\\nUpgrade: "
             "h2c\\r\\n"
             "HTTP2-Settings: AAMAAABk\\r\\n\\r\\n",
             40);
    p->http2 = 1;
    answer(p, 1, SOME, "hello", 5);
    read_cut(p, HELLO "HEADERS 3 END_STREAM|END_HEADERS @get", 11);
    answer(p, 3, SOME, "hello", 5);
    return p;
}

static struct party *h2c_client(int batched) {
    struct party *p = connect(CNO_CLIENT, 0, batched, 0);
    if (p->c)
        p->c->options |= CNO_H2C_UPGRADE;
    begin(p);
    head(p, 1, 0, "GET", "/", REQUEST, 1);
    read_cut(p, "HTTP/1.1 101 OK\\r\\nUpgrade: h2c\\r\\n\\r\\n", 20);
    p->http2 = 1;
    read_cut(p, "SETTINGS 0 - s:8=1;SETTINGS 0 ACK;HEADERS 1 END_STREAM|END_HEADERS @ok", 30);
    head(p, 3, 0, "CONNECT", "/", WEBSOCKET, 0);
    read_cut(p, "HEADERS 3 END_HEADERS @ok;DATA 3 - 3000*t:x", 1000);
    data(p, 3, large, 3000, 1);
    head(p, 5, 0, "CONNECT", "a:1", SOME, 0);
    read_whole(p, "HEADERS 5 END_STREAM|END_HEADERS :status=403;GOAWAY 0 - u32:5 u32:0");
    if (goes_on(p))
        done(p, cno_write_reset(p->c, 0, CNO_RST_INTERNAL_ERROR));
    return p;
}

static struct party *h2_websocket(int batched) {
    struct party *p = connect(CNO_SERVER, 1, batched, CNO_BATCH_GATEWAY);
    if (p->c) {
        struct cno_settings_t settings = p->c->settings[CNO_LOCAL];
        settings.enable_connect_protocol = 1;
        done(p, cno_configure(p->c, &settings));
    }
    begin(p);
    read_cut(p,
             HELLO "HEADERS 1 END_HEADERS :method=CONNECT :protocol=websocket :scheme=http :path=/ "
                   ":authority=h;DATA 1 - 3000*t:x",
             700);
    head(p, 1, 200, "", "", SOME, 0);
    data(p, 1, large, 3000, 0);
    tail(p, 1, SOME);
    read_whole(p, "DATA 1 END_STREAM t:x");
    return p;
}

// A response whose end is the end of the transport, behind two that are not final.
static struct party *h1_client_close(int batched) {
    struct party *p = connect(CNO_CLIENT, 0, batched, 0);
    begin(p);
    head(p, 1, 0, "GET", "/", REQUEST, 1);
    read_cut(p,
             "HTTP/1.1 100 Continue\\r\\n\\r\\nHTTP/1.1 103 Early "
             "Hints\\r\\nlink: {300*x}\\r\\n\\r\\n"
             "HTTP/1.0 200 OK\\r\\nServer: s\\r\\n\\r\\n{3000*x}",
             90);
    if (goes_on(p))
        done(p, cno_eof(p->c));
    return p;
}

// Several requests at once, one of them large; 1xx, CONTINUATION, trailers, a reset, and a GOAWAY that leaves
// one request unprocessed.
static struct party *h2_client_streams(int batched) {
    struct party *p = connect(CNO_CLIENT, 1, batched, 0);
    static const struct field large_one[] = {
        {":scheme", "http"}, {":authority", "h"}, {"a", large}, {NULL, NULL}};
    begin(p);
    read_cut(p, "SETTINGS 0 - s:1=8192 s:4=200000;SETTINGS 0 ACK;WINDOW_UPDATE 0 - u32:200000", 5);
    head(p, 1, 0, "POST", "/", REQUEST, 0);
    head(p, 3, 0, "GET", "/", large_one, 1);
    head(p, 5, 0, "PUT", "/x", REQUEST, 0);
    head(p, 7, 0, "GET", "/y", REQUEST, 1);
    data(p, 1, large, 150000, 0);
    tail(p, 1, SOME);
    read_cut(p,
             "HEADERS 1 END_HEADERS x:08 u8:3 t:103 +link={200*l};HEADERS 1 - @ok +a={3000*b};"
             "CONTINUATION 1 - +c={5000*d};CONTINUATION 1 END_HEADERS e=f;"
             "DATA 1 PADDED u8:5 3000*t:x 5*x:00;HEADERS 1 END_STREAM|END_HEADERS g=h;"
             "HEADERS 3 END_STREAM|END_HEADERS @ok +x=y x:be",
             2000);
    if (goes_on(p))
        done(p, cno_write_reset(p->c, 5, CNO_RST_CANCEL));
    read_whole(p, "GOAWAY 0 - u32:5 u32:0 t:bye");
    return p;
}

// Every call that is not about a message, and the settings of both sides changed on the way.
static struct party *h2_calls(int batched) {
    struct party *p = connect(CNO_SERVER, 1, batched, 0);
    if (p->c)
        p->c->options |= CNO_MANUAL_FLOW;
    begin(p);
    read_whole(p, HELLO "HEADERS 1 END_HEADERS @post;DATA 1 - 16384*t:x;DATA 1 - 16384*t:x");
    if (goes_on(p))
        done(p, cno_open_flow(p->c, 1, 32768));
    if (goes_on(p)) {
        struct cno_settings_t settings = p->c->settings[CNO_LOCAL];
        settings.header_table_size = 1000;
        settings.initial_window_size = 100000;
        done(p, cno_configure(p->c, &settings));
    }
    read_whole(p, "SETTINGS 0 ACK;HEADERS 3 END_STREAM|END_HEADERS x:3fc907 @get +a={200*b};"
                  "SETTINGS 0 - s:1=64 s:5=30000");
    answer(p, 3, SOME, "hello", 5);
    if (goes_on(p))
        done(p, cno_write_ping(p->c, "12345678"));
    head(p, 1, 100, "", "", SOME, 0);
    if (goes_on(p))
        done(p, cno_write_reset(p->c, 1, CNO_RST_CANCEL));
    read_whole(p, "PING 0 ACK t:12345678;SETTINGS 0 - s:1=4096");
    if (goes_on(p))
        done(p, cno_write_reset(p->c, 0, CNO_RST_NO_ERROR));
    return p;
}

// Tables that fill and evict in both directions; Huffman-coded strings that are not put in.
static struct party *h2_tables(int batched) {
    struct party *p = connect(CNO_SERVER, 1, batched, 0);
    begin(p);
    read_whole(p, HELLO);
    for (uint32_t id = 1; id < 61; id += 2) {
        char line[256], name[32], value[160];
        snprintf(line, sizeof(line),
                 "HEADERS %u END_STREAM|END_HEADERS @get +x-%u={90*v} +y-%u=w x:be "
                 "x:008cf1e3c2e5f23a6ba0ab90f4ff017a",
                 (unsigned)id, (unsigned)id, (unsigned)id);
        read_whole(p, line);
        snprintf(name, sizeof(name), "z-%u", (unsigned)id);
        memset(value, 'a' + (int)(id % 26), sizeof(value) - 1);
        value[sizeof(value) - 1] = 0;
        const struct field answers[] = {{name, value}, {"server", "s"}, {NULL, NULL}};
        answer(p, id, answers, "x", 1);
    }
    return p;
}

// An answer of which only a part fits the windows, through a batch with its total; then trailers that
// take more than one frame.
static struct party *h2_parts(int batched) {
    static const struct field long_tail[] = {{"a", large}, {"b", large}, {NULL, NULL}};
    struct party *p = connect(CNO_SERVER, 1, batched, CNO_BATCH_GATEWAY);
    memset(large, 'x', 40000);
    large[40000] = 0;
    begin(p);
    read_whole(p, HELLO "HEADERS 1 END_STREAM|END_HEADERS @get;HEADERS 3 END_HEADERS @post");
    if (batched && goes_on(p))
        done(p, cno_batch_answer(p->batch, 1, 200, "[\0\0\0\0", 5, large, 90000, 90000));
    else
        answer(p, 1, SOME, large, 60000);
    read_whole(p, "WINDOW_UPDATE 1 - u32:100000;WINDOW_UPDATE 0 - u32:100000");
    if (batched)
        data(p, 1, large, 20000, 1);
    head(p, 3, 200, "", "", SOME, 0);
    data(p, 3, large, 5000, 0);
    tail(p, 3, long_tail);
    return p;
}

// ---- rounds ------------------------------------------------------------------------------------

static const struct {
    const char *name;
    struct party *(*run)(int batched);
} EXCHANGES[] = {
    {"h1 requests", h1_requests},
    {"h1 chunks", h1_chunks},
    {"h1 pipelined", h1_pipelined},
    {"h1 large", h1_large},
    {"h1 client", h1_client},
    {"h2 requests", h2_requests},
    {"h2 continuation", h2_continuation},
    {"h2 bodies", h2_bodies},
    {"h2 push", h2_push},
    {"h2 refusals", h2_refusals},
    {"h2 from h1", h2_from_h1},
    {"h2 client", h2_client},
    {"defaults", with_defaults},
    {"h1 upgrade", h1_upgrade},
    {"h1 tunnel, client", h1_tunnel_client},
    {"h2c, server", h2c_server},
    {"h2c, client", h2c_client},
    {"h2 websocket", h2_websocket},
    {"h1 client, close", h1_client_close},
    {"h2 client, streams", h2_client_streams},
    {"h2 calls", h2_calls},
    {"h2 tables", h2_tables},
    {"h2 parts", h2_parts},
};

static void finish_round(struct party *p) {
    if (p->c)
        cno_eof(p->c);
    if (p->batch)
        cno_batch_free(p->batch);
    else if (p->c)
        cno_fini(p->c);
    cno_defaults_free(p->defaults);
    free(p);
}

int main(void) {
    static const struct cno_allocator_t allocator = {failing_resize, counting_release};
    cno_set_allocator(&allocator);
    for (size_t i = 0; i < sizeof(EXCHANGES) / sizeof(*EXCHANGES); i++) {
        for (int way = 0; way < 8; way++) {
            long at = -1;
            do {
                until_failure = ++at;
                failed_one = 0;
                for_good = way & 1;
                going_on = way >> 1 & 1;
                struct party *p = EXCHANGES[i].run(way >> 2);
                int wrong =
                    p->unexpected || (!failed_one && (p->failed || !p->written || !p->events));
                finish_round(p);
                if (wrong || live)
                    printf("%s, way %d, allocation %ld: %ld blocks are left\n", EXCHANGES[i].name,
                           way, at, live);
                CHECK(!wrong && !live);
            } while (failed_one && at < 10000);
            CHECK(at > 1 && at < 10000);
        }
    }
    cno_set_allocator(NULL);
    return finish();
}
