// A client on libcno: one request over HTTP/1.1, or with -2 over HTTP/2 with prior knowledge.
//
//     make examples && obj/examples/client [-2] [-T FILE] http://HOST[:PORT][/PATH]
//
// Prints the status, the fields, the body and the trailers. -T sends a file (- is standard input) with
// POST. The exit code is 0 for a status below 400, 1 for one above, 2 for wrong usage, and 3 when there
// was no complete answer.
#define _POSIX_C_SOURCE 200809L
#include <cno/core.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PIECE = 16384,       // octets to read, or to write of the body, at once
    OUT_HIGH = 65536,    // octets of output above which no more of the body is written
    OUT_MAX = 262144,    // octets of output above which the server is given up
    PATIENCE_MS = 30000  // for which not an octet may move
};

enum state {
    BUSY,
    DONE,  // the answer is complete
    OVER,  // there will be none
};

struct client {
    int fd;
    struct cno_connection_t http;
    uint32_t stream;
    int status;  // of the answer, once it is there
    enum state state;
    int upload;  // a file to be sent, or -1
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

static int on_close(void *data) {
    struct client *k = data;
    if (k->state == BUSY)
        k->state = OVER;
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
    (void)data;
    (void)stream;
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

// Also comes when the server reset the stream, or the connection ended under it.
static int on_stream_end(void *data, uint32_t stream, uint32_t code, enum CNO_PEER_KIND side) {
    (void)stream;
    if (code && ((struct client *)data)->state == BUSY)
        fprintf(stderr, "the %s ended the request with code %u\n",
                side == CNO_REMOTE ? "server" : "client", (unsigned)code);
    return on_close(data);
}

static const struct cno_vtable_t events = {
    .on_writev = on_writev,
    .on_close = on_close,
    .on_message_head = on_message_head,
    .on_message_data = on_message_data,
    .on_message_tail = on_message_tail,
    .on_stream_end = on_stream_end,
};

// ---- the request -------------------------------------------------------------------------------

static int write_request(struct client *k, const char *authority, const char *path) {
    char length[24];
    struct stat file;
    struct cno_header_t fields[4] = {
        {text(":scheme"), text("http"), 0, 0},
        {text(":authority"), text(authority), 0, 0},  // Host, on HTTP/1
        {text("te"), text("trailers"), 0, 0},
    };
    struct cno_message_t head = {
        .method = text(k->upload < 0 ? "GET" : "POST"),
        .path = text(path),
        .headers = fields,
        .headers_len = 3,
    };
    // A length that is known is said; else HTTP/1 is chunked by the engine.
    if (k->upload >= 0 && !fstat(k->upload, &file) && S_ISREG(file.st_mode)) {
        snprintf(length, sizeof(length), "%lld", (long long)file.st_size);
        fields[head.headers_len++] =
            (struct cno_header_t){text("content-length"), text(length), 0, 0};
    }
    k->stream = cno_next_stream(&k->http);
    return cno_write_head(&k->http, k->stream, &head, k->upload < 0);
}

// Writes as much of the body as the windows and the output take now.
static int write_body(struct client *k) {
    while (k->upload >= 0 && k->state == BUSY && k->out_size < OUT_HIGH) {
        if (k->piece_done == k->piece_size) {
            ssize_t size = read(k->upload, k->piece, PIECE);
            if (size < 0) {
                perror("read");
                return cno_write_reset(&k->http, k->stream, CNO_RST_CANCEL);
            }
            k->piece_size = (size_t)size;
            k->piece_done = 0;
        }
        size_t size = k->piece_size - k->piece_done;
        int taken = cno_write_data(&k->http, k->stream, k->piece + k->piece_done, size, !size);
        if (taken < 0)
            return CNO_ERROR;
        k->piece_done += (size_t)taken;
        if (!size) {
            close(k->upload);
            k->upload = -1;
        } else if (!taken) {
            break;  // the window is shut: on_flow_increase would tell when it opens
        }
    }
    return CNO_OK;
}

// ---- sockets -----------------------------------------------------------------------------------

static int connect_to(const char *host, const char *port) {
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM};
    int error = getaddrinfo(host, port, &hints, &list), fd = -1;
    if (error) {
        fprintf(stderr, "%s: %s\n", host, gai_strerror(error));
        return -1;
    }
    for (struct addrinfo *at = list; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen)) {
            perror(host);
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd >= 0)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

static int receive(struct client *k) {
    char data[PIECE];
    ssize_t size = recv(k->fd, data, sizeof(data), 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (size < 0)
        return cno_error_set(errno, "recv", "%s", strerror(errno));
    // The end of the transport ends an answer that says no length, and cuts any other: an error then.
    return size ? cno_consume(&k->http, data, (size_t)size) : cno_eof(&k->http);
}

static void transmit(struct client *k) {
    ssize_t size = k->out_size ? send(k->fd, k->out, k->out_size, MSG_NOSIGNAL) : 0;
    if (size > 0) {
        k->out_size -= (size_t)size;
        memmove(k->out, k->out + size, k->out_size);
    } else if (size < 0 && errno != EAGAIN && errno != EINTR) {
        k->out_size = 0;  // nobody reads it; what was answered before that is read by receive()
    }
}

// Moves octets until the answer is complete or there will be none. CNO_ERROR: cno_error() says why.
static int run(struct client *k) {
    while (k->state == BUSY) {
        struct pollfd polled = {k->fd, (short)(POLLIN | (k->out_size ? POLLOUT : 0)), 0};
        int ready = poll(&polled, 1, PATIENCE_MS);
        if (!ready)
            return cno_error_set(ETIMEDOUT, "timeout", "the server said nothing for long");
        if (ready > 0 && polled.revents & ~POLLOUT && receive(k))
            return CNO_ERROR;
        if (write_body(k))
            return CNO_ERROR;
        transmit(k);
    }
    return CNO_OK;
}

// Cuts http://HOST[:PORT][/PATH] into what the connection and the request need.
static int parse(const char *url, char host[256], char port[8], char authority[264],
                 const char **path) {
    if (strncmp(url, "http://", 7))
        return -1;
    const char *start = url + 7;
    size_t size = strcspn(start, "/"), name = strcspn(start, ":/");
    if (!name || name > 255 || size - name > 6)
        return -1;
    snprintf(authority, 264, "%.*s", (int)size, start);
    snprintf(host, 256, "%.*s", (int)name, start);
    snprintf(port, 8, "%.*s", size > name ? (int)(size - name) - 1 : 2,
             size > name ? start + name + 1 : "80");
    *path = start[size] ? start + size : "/";
    return 0;
}

int main(int argc, char **argv) {
    static struct client k = {.upload = -1};
    enum CNO_HTTP_VERSION version = CNO_HTTP1;
    char host[256], port[8], authority[264];
    const char *path;
    int option;
    while ((option = getopt(argc, argv, "2T:")) != -1) {
        if (option == '2')
            version = CNO_HTTP2;
        else if (option == 'T')
            k.upload = strcmp(optarg, "-") ? open(optarg, O_RDONLY) : dup(STDIN_FILENO);
        if (option == '?' || (option == 'T' && k.upload < 0)) {
            fprintf(stderr, "usage: %s [-2] [-T FILE] http://HOST[:PORT][/PATH]\n", argv[0]);
            return 2;
        }
    }
    if (optind != argc - 1 || parse(argv[optind], host, port, authority, &path)) {
        fprintf(stderr, "usage: %s [-2] [-T FILE] http://HOST[:PORT][/PATH]\n", argv[0]);
        return 2;
    }
    if ((k.fd = connect_to(host, port)) < 0)
        return 3;

    cno_init(&k.http, CNO_CLIENT);
    k.http.cb_code = &events;
    k.http.cb_data = &k;
    if (cno_begin(&k.http, version) || write_request(&k, authority, path) || write_body(&k) ||
        run(&k)) {
        fprintf(stderr, "%s (%s)\n", cno_error()->text, cno_error()->reason);
        k.state = OVER;
    }
    // Says goodbye, as HTTP/2 wants it. What of it cannot be sent at once is not worth waiting for.
    cno_shutdown(&k.http, 1);
    transmit(&k);
    cno_fini(&k.http);
    if (k.upload >= 0)
        close(k.upload);
    close(k.fd);
    if (fflush(stdout) || k.state != DONE)
        return 3;
    return k.status >= 400;
}
