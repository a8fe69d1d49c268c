// A server on libcno: HTTP/1.1, and HTTP/2 with prior knowledge, on one port. One thread and poll(2).
//
//     make examples && obj/examples/server 8080          (port 0: any free one; it prints which)
//
//     GET /           a short text
//     GET /bytes/N    N digits (N of 32 bits)
//     POST /count     says how many octets were posted
#define _POSIX_C_SOURCE 200809L
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
    MAX_REQUESTS = 100,  // at the same time, on one connection: what the engine lets HTTP/2 have
    PIECE = 16384,       // octets to read, or to write of one body, at once
    OUT_HIGH = 65536,    // octets of output above which nothing is read and no body is written
    OUT_MAX = 262144,    // above OUT_HIGH by more than one PIECE read makes the engine say
    IDLE_SECONDS = 30,   // for which not an octet may move
};

struct request {
    uint32_t stream;    // 0: this place is free
    char text[64];      // its path, then perhaps its answer
    uint64_t received;  // octets of its body
    const char *body;   // of the answer; NULL: not answered yet
    size_t size, done;
};

struct client {
    int fd;
    enum { OPEN, CLOSING, SHUT } state;  // CLOSING: all is said; SHUT: and was sent
    time_t seen;                         // when an octet moved last
    struct cno_connection_t http;
    struct request requests[MAX_REQUESTS];
    size_t turn;  // whose body is written next
    size_t out_size;
    char out[OUT_MAX];
};

static char digits[PIECE + 10];
static volatile sig_atomic_t stopping;

static struct request *find(struct client *k, uint32_t stream) {
    for (size_t i = 0; i < MAX_REQUESTS; i++)
        if (k->requests[i].stream == stream)
            return &k->requests[i];
    return NULL;
}

// ---- events: anything but 0 ends the call that they come from ----------------------------------

// The octets are the engine's or our caller's: they are copied before this returns.
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

static int on_message_head(void *data, uint32_t stream, const struct cno_message_t *request) {
    static const struct cno_message_t go_on = {.code = 100};
    struct client *k = data;
    struct request *r = find(k, 0);
    if (!r || request->flags & CNO_MESSAGE_UPGRADE)  // one too many, or a tunnel
        return cno_write_reset(&k->http, stream, CNO_RST_REFUSED_STREAM);
    *r = (struct request){.stream = stream};
    snprintf(r->text, sizeof(r->text), "%.*s", (int)request->path.size, request->path.data);
    return request->flags & CNO_MESSAGE_EXPECT ? cno_write_head(&k->http, stream, &go_on, 0) : 0;
}

static int on_message_data(void *data, uint32_t stream, const char *body, size_t size) {
    (void)body;
    find(data, stream)->received += size;
    return 0;
}

// The head of an answer; write_bodies does the rest.
static int answer(struct client *k, struct request *r, int code, const char *body, size_t size) {
    char length[24];
    size_t written = (size_t)snprintf(length, sizeof(length), "%lu", (unsigned long)size);
    struct cno_header_t field = {{"content-length", 14}, {length, written}, 0, 0};
    struct cno_message_t head = {.code = code, .headers = &field, .headers_len = 1};
    r->body = body;
    r->size = size;
    return cno_write_head(&k->http, r->stream, &head, 0);
}

// An answer could go out from on_message_head on, but not all clients cope with one before they have
// said all.
static int on_message_tail(void *data, uint32_t stream, const struct cno_tail_t *tail) {
    struct request *r = find(data, stream);
    (void)tail;
    if (!strcmp(r->text, "/"))
        return answer(data, r, 200, "Hello from libcno\n", 18);
    if (!strncmp(r->text, "/bytes/", 7))
        return answer(data, r, 200, digits, (uint32_t)strtoul(r->text + 7, NULL, 10));
    if (strcmp(r->text, "/count"))
        return answer(data, r, 404, "no such thing\n", 14);
    snprintf(r->text, sizeof(r->text), "%llu\n", (unsigned long long)r->received);
    return answer(data, r, 200, r->text, strlen(r->text));
}

// Complete, reset or cut: this stream is never heard of again.
static int on_stream_end(void *data, uint32_t stream, uint32_t code, enum CNO_PEER_KIND side) {
    struct request *r = find(data, stream);
    (void)code, (void)side;
    if (r)
        r->stream = 0;
    return 0;
}

static const struct cno_vtable_t events = {
    .on_writev = on_writev,
    .on_close = on_close,
    .on_message_head = on_message_head,
    .on_message_data = on_message_data,
    .on_message_tail = on_message_tail,
    .on_stream_end = on_stream_end,
};

// ---- one client: these return other than 0 when it is to be dropped ----------------------------

// Answers by turns, a piece at a time, as far as windows and output allow. As this runs whenever
// octets came or went, on_flow_increase has nothing to add.
static int write_bodies(struct client *k) {
    for (size_t idle = 0; idle < MAX_REQUESTS && k->out_size < OUT_HIGH; idle++) {
        struct request *r = &k->requests[k->turn++ % MAX_REQUESTS];
        if (!r->stream || !r->body)
            continue;
        size_t left = r->size - r->done, size = left < PIECE ? left : PIECE;
        const char *piece = r->body + (r->body == digits ? r->done % 10 : r->done);
        // `final` counts only if all is taken, which the windows of HTTP/2 may not allow.
        int taken = cno_write_data(&k->http, r->stream, piece, size, size == left);
        if (taken < 0)
            return CNO_ERROR;
        r->done += (size_t)taken;
        if (taken)
            idle = 0;
    }
    return CNO_OK;
}

static int receive(struct client *k) {
    char data[PIECE];
    ssize_t size = recv(k->fd, data, sizeof(data), MSG_DONTWAIT);
    if (size < 0)
        return errno != EAGAIN;
    if (size == 0)  // taken to be gone, though HTTP/1 lets it close its half and wait
        return cno_eof(&k->http), -1;
    if (k->state == SHUT)  // it has IDLE_SECONDS to end
        return 0;
    k->seen = time(NULL);
    if (cno_consume(&k->http, data, (size_t)size))
        k->state = CLOSING;  // after what the engine has told it
    return 0;
}

static int transmit(struct client *k) {
    ssize_t size = send(k->fd, k->out, k->out_size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size < 0)
        return errno != EAGAIN;
    k->seen = time(NULL);
    k->out_size -= (size_t)size;
    memmove(k->out, k->out + size, k->out_size);
    if (k->state != CLOSING || k->out_size)
        return 0;
    // To close with octets unread resets the connection, and our last words may be lost: so we only
    // say that they were the last, and read until the client ends too.
    k->state = SHUT;
    return shutdown(k->fd, SHUT_WR);
}

// All that can be done for a client now, and what to wait for.
static int serve(struct client *k, struct pollfd *p) {
    short ready = p->revents;
    p->revents = 0;
    if (ready & (POLLERR | POLLHUP) || (ready & POLLIN && receive(k)) ||
        (ready & POLLOUT && transmit(k)) || time(NULL) - k->seen > IDLE_SECONDS)
        return -1;
    // Says GOAWAY or `connection: close`; on_close comes when the last answer is written.
    if (stopping && cno_shutdown(&k->http, 1))
        k->state = CLOSING;
    // Requests behind one that is not answered wait in the engine (HTTP/1 pipelining).
    for (size_t kept = SIZE_MAX; k->state == OPEN && cno_pending(&k->http) < kept;) {
        kept = cno_pending(&k->http);
        if (write_bodies(k) || (kept && cno_consume(&k->http, NULL, 0)))
            k->state = CLOSING;
    }
    p->events = k->out_size || k->state == CLOSING ? POLLOUT : 0;
    if (k->state == OPEN ? k->out_size < OUT_HIGH && !cno_pending(&k->http) : k->state == SHUT)
        p->events |= POLLIN;
    return 0;
}

static struct client *take(int listener) {
    int fd = accept(listener, NULL, NULL);
    struct client *k = fd < 0 ? NULL : calloc(1, sizeof(*k));
    if (!k)
        return close(fd), NULL;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    k->fd = fd;
    k->seen = time(NULL);
    cno_init(&k->http, CNO_SERVER);
    k->http.cb_code = &events;
    k->http.cb_data = k;
    cno_begin(&k->http, CNO_HTTP1);
    return k;
}

static void on_signal(int number) {
    (void)number;
    stopping = 1;
}

int main(int argc, char **argv) {
    static struct client *clients[MAX_CLIENTS];
    static struct pollfd polled[MAX_CLIENTS + 1];
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    size_t count = 0;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "8080"));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 128) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        return perror("listen"), 1;
    printf("listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (size_t i = 0; i < sizeof(digits); i++)
        digits[i] = (char)('0' + i % 10);
    // Not signal(), whose handler POSIX lets be gone after the first one.
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    while (!stopping || count) {
        if (stopping) {
            close(listener);
            listener = -1;
        }
        polled[count] = (struct pollfd){count < MAX_CLIENTS ? listener : -1, POLLIN, 0};
        poll(polled, count + 1, 1000);
        short is_new = polled[count].revents;
        for (size_t i = count; i-- > 0;) {
            if (serve(clients[i], &polled[i])) {
                cno_fini(&clients[i]->http);
                close(clients[i]->fd);
                free(clients[i]);
                clients[i] = clients[--count];
                polled[i] = polled[count];
            }
        }
        if (is_new && (clients[count] = take(listener))) {
            polled[count] = (struct pollfd){clients[count]->fd, POLLIN, 0};
            count++;
        }
    }
    return 0;
}
