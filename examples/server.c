// A server on libcno: HTTP/1.1, and HTTP/2 with prior knowledge, on one port. One thread and poll(2).
//
//     make examples && obj/examples/server 8080          (port 0: any free one; it prints which)
//
//     GET /           a short text
//     POST /echo      the body of the request, as it comes
//     GET /bytes/N    N octets, made while they are sent
//
// Nothing that a client does fills more than the buffers below: there is no reading and no writing of
// bodies while much output waits, and what is to be echoed waits in the window of its stream, which
// nothing but cno_open_flow opens again.
#define _GNU_SOURCE
#include <cno/core.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_CLIENTS = 256,
    MAX_REQUESTS = 32,  // at the same time, on one connection
    WINDOW = 65535,     // octets of a body that may come before they are used
    PIECE = 16384,      // octets to read, or to write of one body, at once
    OUT_HIGH = 65536,   // octets of output above which nothing is read and no body is written
    OUT_MAX = 262144,   // octets of output above which a client is given up
    IDLE_SECONDS = 30,  // for which not an octet may move
};

// A request whose answer takes more than one call.
struct request {
    uint32_t stream;     // 0: this place is free
    int is_echo;         // the answer is the request's body
    int is_complete;     // the request came to its end
    int wants_trailers;  // so says its client
    const char *text;    // the answer, if it is neither an echo nor generated
    uint64_t size;       // octets of it in all, unless it is an echo
    uint64_t done;       // octets of it that were written
    size_t waiting;      // octets to be echoed
};

enum state {
    OPEN,
    CLOSING,  // all is said
    SHUT,     // and was sent
};

struct client {
    int fd;
    enum state state;
    int is_full;  // OUT_HIGH was reached: answers go on when there is room
    time_t seen;  // when an octet moved last
    struct cno_connection_t http;
    struct request requests[MAX_REQUESTS];
    char echoes[MAX_REQUESTS][WINDOW];
    size_t out_size;
    char out[OUT_MAX];
};

static volatile sig_atomic_t stopping;

static struct cno_buffer_t text(const char *s) {
    return (struct cno_buffer_t){s, strlen(s)};
}

static struct request *find(struct client *k, uint32_t stream) {
    for (size_t i = 0; i < MAX_REQUESTS; i++)
        if (k->requests[i].stream == stream)
            return &k->requests[i];
    return NULL;
}

// ---- events ------------------------------------------------------------------------------------
// What they return, unless it is 0, ends the call that they come from.

// The octets belong to the engine or to our caller, so they are copied before this returns.
static int on_writev(void *data, const struct cno_buffer_t *pieces, size_t count) {
    struct client *k = data;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].size > OUT_MAX - k->out_size)
            return ENOBUFS;
        memcpy(k->out + k->out_size, pieces[i].data, pieces[i].size);
        k->out_size += pieces[i].size;
    }
    return 0;
}

static int on_close(void *data) {
    ((struct client *)data)->state = CLOSING;
    return 0;
}

static int on_fault(void *data, uint32_t stream, const struct cno_error_t *error) {
    int fd = ((struct client *)data)->fd;
    fprintf(stderr, "client %d, stream %u: %s (%s)\n", fd, stream, error->text, error->reason);
    return 0;
}

// A short answer in one call, of which the windows of HTTP/2 may leave something for later.
static int answer(struct client *k, struct request *r, uint32_t stream, int code,
                  const char *body) {
    struct cno_header_t type = {text("content-type"), text("text/plain"), 0, 0};
    struct cno_message_t head = {.code = code, .headers = &type, .headers_len = 1};
    size_t size = strlen(body);
    int taken = cno_write_message(&k->http, stream, &head, body, size, 1);
    if (taken >= 0 && (size_t)taken < size)
        *r = (struct request){.stream = stream, .text = body, .size = size, .done = (size_t)taken};
    return taken < 0 ? CNO_ERROR : CNO_OK;
}

static int on_message_head(void *data, uint32_t stream, const struct cno_message_t *request) {
    struct client *k = data;
    struct request *r = find(k, 0), next = {.stream = stream};
    char path[64], length[24];
    if (!r)  // cannot be: HTTP/1 has one request at a time, HTTP/2 was told MAX_REQUESTS
        return cno_write_reset(&k->http, stream, CNO_RST_REFUSED_STREAM);
    snprintf(path, sizeof(path), "%.*s", (int)request->path.size, request->path.data);
    if (!strcmp(path, "/"))
        return answer(k, r, stream, 200, "Hello from libcno\n");
    if (!strncmp(path, "/bytes/", 7) && path[7] >= '0' && path[7] <= '9')
        next.size = strtoull(path + 7, NULL, 10);
    else if (!strcmp(path, "/echo"))
        next.is_echo = 1;
    else
        return answer(k, r, stream, 404, "no such thing\n");

    if (next.is_echo && request->flags & CNO_MESSAGE_TRAILERS)
        next.wants_trailers = 1;
    snprintf(length, sizeof(length), "%llu", (unsigned long long)next.size);
    struct cno_header_t field = {text("content-length"), text(length), 0, 0};
    struct cno_message_t go_ahead = {.code = 100}, head = {.code = 200, .headers = &field};
    head.headers_len = next.is_echo ? 0 : 1;  // HTTP/1 with no length is chunked by the engine
    *r = next;
    if (request->flags & CNO_MESSAGE_EXPECT && cno_write_head(&k->http, stream, &go_ahead, 0))
        return CNO_ERROR;
    return cno_write_head(&k->http, stream, &head, 0);
}

static int on_message_data(void *data, uint32_t stream, const char *body, size_t size) {
    struct client *k = data;
    struct request *r = find(k, stream);
    if (!r || !r->is_echo)  // nobody wants it
        return cno_open_flow(&k->http, stream, (uint32_t)size);
    if (size > WINDOW - r->waiting)  // cannot be: neither a window nor a PIECE is larger
        return ENOBUFS;
    memcpy(k->echoes[r - k->requests] + r->waiting, body, size);
    r->waiting += size;
    return 0;
}

static int on_message_tail(void *data, uint32_t stream, const struct cno_tail_t *tail) {
    struct request *r = find(data, stream);
    (void)tail;
    if (r)
        r->is_complete = 1;
    return 0;
}

// Complete, reset or cut: this stream is never heard of again.
static int on_stream_end(void *data, uint32_t stream, uint32_t code, enum CNO_PEER_KIND side) {
    struct request *r = find(data, stream);
    (void)code;
    (void)side;
    if (r)
        r->stream = 0;
    return 0;
}

static const struct cno_vtable_t events = {
    .on_writev = on_writev,
    .on_close = on_close,
    .on_fault = on_fault,
    .on_message_head = on_message_head,
    .on_message_data = on_message_data,
    .on_message_tail = on_message_tail,
    .on_stream_end = on_stream_end,
};

// ---- answers -----------------------------------------------------------------------------------

// Writes the next piece of one answer. Returns 1 if something moved, 0 if not, or CNO_ERROR.
static int go_on(struct client *k, struct request *r) {
    char digits[PIECE], *echo = k->echoes[r - k->requests];
    uint32_t stream = r->stream;
    uint64_t left = r->is_echo ? r->waiting : r->size - r->done;
    size_t size = left < PIECE ? (size_t)left : PIECE;
    int is_last = size == left && (r->is_complete || !r->is_echo);
    if (!size && !is_last)
        return 0;
    const char *data = r->is_echo ? echo : r->text ? r->text + r->done : digits;
    for (size_t i = 0; data == digits && i < size; i++)
        digits[i] = (char)('0' + (r->done + i) % 10);

    // `final` counts only if all is taken: a small window undoes nothing.
    int taken = cno_write_data(&k->http, stream, data, size, is_last && !r->wants_trailers);
    if (taken < 0)
        return CNO_ERROR;
    r->done += (uint64_t)taken;
    if (r->is_echo) {
        r->waiting -= (size_t)taken;
        memmove(echo, echo + taken, r->waiting);
        if (cno_open_flow(&k->http, stream, (uint32_t)taken))
            return CNO_ERROR;
    }
    if (!is_last || (size_t)taken < size)
        return taken > 0;
    if (r->wants_trailers) {
        char count[24];
        snprintf(count, sizeof(count), "%llu", (unsigned long long)r->done);
        struct cno_header_t field = {text("x-octets"), text(count), 0, 0};
        if (cno_write_tail(&k->http, stream, &(struct cno_tail_t){&field, 1}))
            return CNO_ERROR;
    }
    r->stream = 0;  // as on_stream_end did, unless the request is still coming
    return 1;
}

// All answers by turns, a piece at a time, as far as windows and output allow. This runs whenever
// octets came or went, so that on_flow_increase has nothing to add.
static int write_answers(struct client *k) {
    for (int moved = 1; moved;) {
        moved = 0;
        for (size_t i = 0; i < MAX_REQUESTS && k->out_size < OUT_HIGH; i++) {
            int result = k->requests[i].stream ? go_on(k, &k->requests[i]) : 0;
            if (result < 0)
                return CNO_ERROR;
            moved |= result;
        }
    }
    k->is_full = k->out_size >= OUT_HIGH;
    return CNO_OK;
}

// ---- sockets -----------------------------------------------------------------------------------
// These return -1 when the client is to be dropped. CNO_ERROR is no reason to drop it at once: the
// engine has told it what was wrong, and that is still to be sent.

static int receive(struct client *k) {
    char data[PIECE];
    ssize_t size = recv(k->fd, data, sizeof(data), 0);
    if (size < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (k->state != SHUT)  // there the client has IDLE_SECONDS to end
        k->seen = time(NULL);
    if (size == 0) {  // taken to be gone, though HTTP/1 lets it close its half and wait
        if (k->state == OPEN && cno_eof(&k->http))
            fprintf(stderr, "client %d: %s\n", k->fd, cno_error()->text);
        return -1;
    }
    if (k->state == OPEN && cno_consume(&k->http, data, (size_t)size))
        k->state = CLOSING;
    return 0;
}

static int transmit(struct client *k) {
    ssize_t size = k->out_size ? send(k->fd, k->out, k->out_size, MSG_NOSIGNAL) : 0;
    if (size < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (size)
        k->seen = time(NULL);
    k->out_size -= (size_t)size;
    memmove(k->out, k->out + size, k->out_size);
    // Closing while octets come in makes the kernel reset the connection, and the client may never
    // see our last words. So it is told that they were the last, and reading goes on until it ends.
    if (k->state == CLOSING && !k->out_size) {
        k->state = SHUT;
        return shutdown(k->fd, SHUT_WR);
    }
    return 0;
}

// All that can be done for a client now.
static int serve(struct client *k, short happened) {
    if (happened & (POLLERR | POLLHUP) || (happened & POLLIN && receive(k)))
        return -1;
    // Requests that came behind one that was answered now wait in the engine (HTTP/1 pipelining).
    for (size_t before = SIZE_MAX; k->state == OPEN && cno_pending(&k->http) < before;) {
        before = cno_pending(&k->http);
        if (write_answers(k) || (before && cno_consume(&k->http, NULL, 0)))
            k->state = CLOSING;
    }
    return transmit(k);
}

static short wanted(const struct client *k) {
    int is_open = k->state == OPEN, writes = k->out_size || (is_open && k->is_full);
    int reads = is_open ? k->out_size < OUT_HIGH && !cno_pending(&k->http) : k->state == SHUT;
    return (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
}

static void drop(struct client *k) {
    cno_fini(&k->http);
    close(k->fd);
    free(k);
}

static struct client *take(int listener) {
    // RFC 9113 section 6.5.2 has the defaults; ours differ in the number of streams and the size of
    // a head.
    const struct cno_settings_t settings = {
        .header_table_size = 4096,
        .max_concurrent_streams = MAX_REQUESTS,
        .initial_window_size = WINDOW,
        .max_frame_size = 16384,
        .max_header_list_size = 32768,
        .no_rfc7540_priorities = 1,
    };
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *k = fd < 0 ? NULL : calloc(1, sizeof(*k));
    if (!k) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    k->fd = fd;
    k->seen = time(NULL);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    cno_init(&k->http, CNO_SERVER);
    k->http.cb_code = &events;
    k->http.cb_data = k;
    k->http.options = CNO_MANUAL_FLOW;
    if (!cno_configure(&k->http, &settings) && !cno_begin(&k->http, CNO_HTTP1))
        return k;
    drop(k);
    return NULL;
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) ||
        bind(fd, (struct sockaddr *)&address, size) || listen(fd, 128) ||
        getsockname(fd, (struct sockaddr *)&address, &size)) {
        perror("listen");
        exit(1);
    }
    printf("listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void on_signal(int number) {
    (void)number;
    stopping = 1;
}

int main(int argc, char **argv) {
    static struct client *clients[MAX_CLIENTS];
    static struct pollfd polled[MAX_CLIENTS + 1];
    size_t count = 0;
    int listener = listen_on(argc > 1 ? atoi(argv[1]) : 8080);

    // Signals come in ppoll only: none is missed between a look at `stopping` and the wait.
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);

    while (listener >= 0 || count) {
        for (size_t i = 0; i < count; i++)
            polled[i] = (struct pollfd){clients[i]->fd, wanted(clients[i]), 0};
        polled[count] = (struct pollfd){count < MAX_CLIENTS ? listener : -1, POLLIN, 0};
        if (ppoll(polled, count + 1, &(struct timespec){.tv_sec = 1}, &before) < 0 &&
            errno != EINTR)
            break;
        int is_new = polled[count].revents != 0;
        for (size_t i = count; i-- > 0;) {
            struct client *k = clients[i];
            // Says GOAWAY or `connection: close`; on_close comes when the last answer is written.
            if (stopping && listener >= 0 && cno_shutdown(&k->http, 1))
                k->state = CLOSING;
            if (serve(k, polled[i].revents) || time(NULL) - k->seen > IDLE_SECONDS) {
                drop(k);
                clients[i] = clients[--count];
            }
        }
        if (stopping && listener >= 0) {
            close(listener);
            listener = -1;
        } else if (is_new && (clients[count] = take(listener))) {
            count++;
        }
    }
    return 0;
}
