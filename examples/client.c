// A client on libcno: one request over HTTP/1.1, or over HTTP/2 with prior knowledge.
//
//     make examples && obj/examples/client 1|2 HOST PORT PATH [FILE]
//
// Prints the status, the fields, the body and the trailers. With FILE, it is sent with POST. The exit
// code is 0 for a status below 400, 1 for one above, 2 for wrong usage, and 3 when there was no complete
// answer.
#define _POSIX_C_SOURCE 200809L
#include <cno/core.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PIECE = 16384,       // octets to read, or to write of the body, at once
    OUT_HIGH = 65536,    // octets of output above which no more of the body is written
    OUT_MAX = 262144,    // octets of output above which the server is given up
    PATIENCE_MS = 30000  // for which not an octet may move
};

struct client {
    int fd, file;  // file: what is left to be sent, or -1
    struct cno_connection_t http;
    uint32_t stream;
    int status;                         // of the answer, once it is there
    enum { BUSY, DONE, FAILED } state;  // DONE: the answer is complete
    size_t piece_size, piece_done;
    char piece[PIECE];  // of the file
    size_t out_size;
    char out[OUT_MAX];
};

static struct cno_buffer_t text(const char *s) {
    return (struct cno_buffer_t){s, strlen(s)};
}

// ---- events ------------------------------------------------------------------------------------

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

static void print_fields(const struct cno_header_t *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        printf("%.*s: %.*s\n", (int)list[i].name.size, list[i].name.data, (int)list[i].value.size,
               list[i].value.data);
}

// Comes once for each informational answer (1xx) and once for the final one.
static int on_message_head(void *data, uint32_t stream, const struct cno_message_t *response) {
    struct client *k = data;
    (void)stream;
    k->status = response->code;
    printf("HTTP/%d %d\n", cno_version(&k->http), response->code);
    print_fields(response->headers, response->headers_len);
    printf("\n");
    return 0;
}

static int on_message_data(void *data, uint32_t stream, const char *body, size_t size) {
    (void)data, (void)stream;
    return fwrite(body, 1, size, stdout) == size ? 0 : EIO;
}

static int on_message_tail(void *data, uint32_t stream, const struct cno_tail_t *tail) {
    (void)stream;
    if (tail && tail->headers_len) {
        printf("\n");
        print_fields(tail->headers, tail->headers_len);
    }
    ((struct client *)data)->state = DONE;
    return 0;
}

// Behind the tail, or without one: reset, refused, or cut.
static int on_stream_end(void *data, uint32_t stream, uint32_t code, enum CNO_PEER_KIND side) {
    struct client *k = data;
    (void)stream, (void)side;
    if (k->state == BUSY) {
        fprintf(stderr, "the request ended with code %u\n", (unsigned)code);
        k->state = FAILED;
    }
    return 0;
}

static const struct cno_vtable_t events = {
    .on_writev = on_writev,
    .on_message_head = on_message_head,
    .on_message_data = on_message_data,
    .on_message_tail = on_message_tail,
    .on_stream_end = on_stream_end,
};

// ---- the request: these return CNO_ERROR when cno_error() says why it cannot go on --------------

static int write_request(struct client *k, const char *host, const char *port, const char *path) {
    char authority[300];
    snprintf(authority, sizeof(authority), "%s:%s", host, port);
    struct cno_header_t fields[] = {{text(":scheme"), text("http"), 0, 0},
                                    {text(":authority"), text(authority), 0, 0}};  // HTTP/1: Host
    struct cno_message_t head = {.method = text(k->file < 0 ? "GET" : "POST"),
                                 .path = text(path),
                                 .headers = fields,
                                 .headers_len = 2};
    k->stream = cno_next_stream(&k->http);
    return cno_write_head(&k->http, k->stream, &head, k->file < 0);
}

// As much of the body as the windows and the output take now. Its length is not told: HTTP/1 has
// chunks then, which are the engine's business.
static int write_body(struct client *k) {
    while (k->file >= 0 && k->state == BUSY && k->out_size < OUT_HIGH) {
        if (k->piece_done == k->piece_size) {
            ssize_t size = read(k->file, k->piece, PIECE);
            if (size < 0)
                return cno_error_set(errno, "read", "%s", strerror(errno));
            k->piece_size = (size_t)size;
            k->piece_done = 0;
        }
        size_t size = k->piece_size - k->piece_done;
        int taken = cno_write_data(&k->http, k->stream, k->piece + k->piece_done, size, !size);
        if (taken < 0)
            return CNO_ERROR;
        k->piece_done += (size_t)taken;
        if (!size) {
            close(k->file);
            k->file = -1;
        } else if (!taken) {
            break;  // the window is shut: on_flow_increase would tell when it opens
        }
    }
    return CNO_OK;
}

static int receive(struct client *k) {
    char data[PIECE];
    ssize_t size = recv(k->fd, data, sizeof(data), MSG_DONTWAIT);
    if (size < 0)
        return errno == EAGAIN ? CNO_OK : cno_error_set(errno, "recv", "%s", strerror(errno));
    // The end of the transport ends an answer that says no length, and cuts any other: an error then.
    return size ? cno_consume(&k->http, data, (size_t)size) : cno_eof(&k->http);
}

static void transmit(struct client *k) {
    ssize_t size = send(k->fd, k->out, k->out_size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size > 0) {
        k->out_size -= (size_t)size;
        memmove(k->out, k->out + size, k->out_size);
    } else if (size < 0 && errno != EAGAIN) {
        k->out_size = 0;  // nobody reads it; what was answered before that is read by receive()
    }
}

static int run(struct client *k) {
    while (k->state == BUSY) {
        if (write_body(k))
            return CNO_ERROR;
        struct pollfd polled = {k->fd, (short)(POLLIN | (k->out_size ? POLLOUT : 0)), 0};
        if (poll(&polled, 1, PATIENCE_MS) <= 0)
            return cno_error_set(ETIMEDOUT, "timeout", "nothing moved for long");
        if (polled.revents & POLLOUT)
            transmit(k);
        if (polled.revents & ~POLLOUT && receive(k))
            return CNO_ERROR;
    }
    return CNO_OK;
}

static int connect_to(const char *host, const char *port) {
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM};
    int fd = -1;
    if (getaddrinfo(host, port, &hints, &list))
        return -1;
    for (struct addrinfo *at = list; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen)) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

int main(int argc, char **argv) {
    static struct client k;
    if (argc < 5 || argc > 6)
        return fprintf(stderr, "usage: %s 1|2 HOST PORT PATH [FILE]\n", argv[0]), 2;
    k.file = argc > 5 ? open(argv[5], O_RDONLY) : -1;
    k.fd = connect_to(argv[2], argv[3]);
    if (k.fd < 0 || (argc > 5 && k.file < 0))
        return perror(k.fd < 0 ? argv[2] : argv[5]), 3;
    cno_init(&k.http, CNO_CLIENT);
    k.http.cb_code = &events;
    k.http.cb_data = &k;
    if (cno_begin(&k.http, *argv[1] == '1' ? CNO_HTTP1 : CNO_HTTP2) ||
        write_request(&k, argv[2], argv[3], argv[4]) || run(&k)) {
        fprintf(stderr, "%s (%s)\n", cno_error()->text, cno_error()->reason);
        k.state = FAILED;
    }
    // Says goodbye, as HTTP/2 wants it. What of it cannot be sent at once is not worth waiting for.
    cno_shutdown(&k.http, 1);
    transmit(&k);
    cno_fini(&k.http);
    close(k.fd);
    return fflush(stdout) || k.state != DONE ? 3 : k.status >= 400;
}
