// The streams of a connection: the map, the states, how streams end, and how a request begins one.
// Reads and writes no bytes. Between HTTP/1 and HTTP/2 it knows only the differences in what a
// request needs.
#include "stream.h"

#include <stdlib.h>
#include <string.h>

#include "message/priority.h"

#define SPARE_MAX 2

static uint32_t bucket(const struct cno_connection_t *c, uint32_t id) {
    return (id >> 1 ^ (id & 1) * 5) & c->bucket_mask;
}

struct cno_stream_t *cno__stream_find(const struct cno_connection_t *c, uint32_t id) {
    if (!c->buckets)
        return NULL;
    struct cno_stream_t *s = c->buckets[bucket(c, id)];
    while (s && s->id != id)
        s = s->next;
    return s;
}

// Doubles the buckets once there are as many streams.
static int grow(struct cno_connection_t *c) {
    uint32_t old_size = c->buckets ? c->bucket_mask + 1 : 0, size = old_size ? old_size * 2 : 4;
    struct cno_stream_t **buckets = cno__resize(NULL, size * sizeof(*buckets)), **old = c->buckets;
    if (!buckets)
        return CNO_ERROR;
    memset(buckets, 0, size * sizeof(*buckets));
    c->buckets = buckets;
    c->bucket_mask = size - 1;
    for (uint32_t i = 0; i < old_size; i++) {
        for (struct cno_stream_t *s = old[i], *next; s; s = next) {
            next = s->next;
            s->next = buckets[bucket(c, s->id)];
            buckets[bucket(c, s->id)] = s;
        }
    }
    cno__release(old);
    return CNO_OK;
}

// How the latest streams of the peer ended, two bits each. An older stream counts as reset by this
// endpoint: its frames are ignored, and charged to the budget for overhead.
#define REMEMBERED 256u

static void remember(struct cno_connection_t *c, uint32_t id, enum CNO_CLOSED how) {
    uint32_t at = id / 2 % REMEMBERED, shift = at % 4 * 2;
    c->closed[at / 4] = (uint8_t)((c->closed[at / 4] & ~(3u << shift)) | (unsigned)how << shift);
}

enum CNO_CLOSED cno__stream_closed(const struct cno_connection_t *c, uint32_t id) {
    uint32_t at = id / 2 % REMEMBERED;
    if ((c->last_stream[CNO_REMOTE] - id) / 2 >= REMEMBERED)
        return CNO_CLOSED_BY_US;
    return (enum CNO_CLOSED)(c->closed[at / 4] >> at % 4 * 2 & 3);
}

void cno__stream_skip(struct cno_connection_t *c, uint32_t id) {
    int64_t last = c->last_stream[CNO_REMOTE], skipped = (int64_t)id - 2;
    for (unsigned n = 0; n < REMEMBERED && skipped > last; n++, skipped -= 2)
        remember(c, (uint32_t)skipped, CNO_CLOSED_UNUSED);
    remember(c, id, CNO_CLOSED_BY_US);
    c->last_stream[CNO_REMOTE] = id;
}

static uint64_t cancelled_bit(uint32_t id) {
    return (uint64_t)1 << id / 2 % 64;
}

int cno__stream_was_cancelled(const struct cno_connection_t *c, uint32_t id) {
    return (c->last_stream[CNO_LOCAL] - id) / 2 >= 64 || (c->cancelled & cancelled_bit(id));
}

static void unlink_stream(struct cno_connection_t *c, struct cno_stream_t *s) {
    struct cno_stream_t **at = &c->buckets[bucket(c, s->id)];
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    c->stream_count[s->initiator]--;
    s->next = c->dead;
    c->dead = s;
    if (c->current == s)
        c->current = NULL;
}

struct cno_stream_t *cno__stream_new(struct cno_connection_t *c, uint32_t id,
                                     enum CNO_PEER_KIND initiator, enum CNO_STREAM_STATE state) {
    uint32_t count = c->stream_count[CNO_LOCAL] + c->stream_count[CNO_REMOTE];
    if ((!c->buckets || count > c->bucket_mask) && grow(c) && !c->buckets)
        return NULL;
    // The outermost call does not use a stream that ended before, so the memory of these is
    // released now: one read may hold many short streams.
    if (!c->spare && c->dead && c->depth == 1)
        cno__stream_release_dead(c);
    struct cno_stream_t *s = c->spare;
    if (s)
        c->spare = s->next;
    else if (!(s = cno__resize(NULL, sizeof(*s))))
        return NULL;
    *s = (struct cno_stream_t){
        .id = id,
        .initiator = (uint8_t)initiator,
        .priority = CNO__PRIORITY_DEFAULT,
        .window_recv = c->settings[CNO_LOCAL].initial_window_size,
        .window_send = c->settings[CNO_REMOTE].initial_window_size,
    };
    s->next = c->buckets[bucket(c, id)];
    c->buckets[bucket(c, id)] = s;
    c->stream_count[initiator]++;
    if (initiator == CNO_REMOTE)
        cno__stream_skip(c, id);
    else
        c->last_stream[CNO_LOCAL] = id;
    cno__stream_set(s, state);
    if (!CNO__FIRE(c, on_stream_start, id))
        return s;
    if (s->state != CNO_STREAM_CLOSED) {  // and no call from that event has closed it
        cno__stream_set(s, CNO_STREAM_CLOSED);
        unlink_stream(c, s);
    }
    return NULL;
}

// RFC 9113 figure 2, from the side of this endpoint. PP is PUSH_PROMISE, END is END_STREAM.
//
//                             +--------+
//                     PP out  |        |  PP in
//                    ,--------|  IDLE  |--------.
//                   v         +--------+         v
//            RESERVED_LOCAL        |          RESERVED_REMOTE
//                   |           HEADERS           |
//          head out |              v              | head in
//                   |             OPEN            |
//                   |    END in /      \ END out  |
//                   v          v        v         v
//                 HALF_REMOTE             HALF_LOCAL
//                     END out \          / END in
//                              v        v
//              RST, and the end of the connection, from any but IDLE
//                               CLOSED
//
// PREDECESSORS has, for each state, the set of the states that it may follow. Programs that check the
// engine (CNO__CHECKED) abort on any other change. A release build does not check, because no other
// change is ever made.
#ifdef CNO__CHECKED
#define FROM(state) (1u << CNO_STREAM_##state)

static const uint8_t PREDECESSORS[] = {
    [CNO_STREAM_IDLE] = 0,
    [CNO_STREAM_RESERVED_LOCAL] = FROM(IDLE),
    [CNO_STREAM_RESERVED_REMOTE] = FROM(IDLE),
    [CNO_STREAM_OPEN] = FROM(IDLE),
    [CNO_STREAM_HALF_LOCAL] = FROM(OPEN) | FROM(RESERVED_REMOTE),
    [CNO_STREAM_HALF_REMOTE] = FROM(OPEN) | FROM(RESERVED_LOCAL),
    [CNO_STREAM_CLOSED] = FROM(OPEN) | FROM(HALF_LOCAL) | FROM(HALF_REMOTE) | FROM(RESERVED_LOCAL) |
                          FROM(RESERVED_REMOTE),
};
#endif

void cno__stream_set(struct cno_stream_t *s, enum CNO_STREAM_STATE state) {
#ifdef CNO__CHECKED
    if (!(PREDECESSORS[state] >> s->state & 1))
        abort();
#endif
    s->state = (uint8_t)state;
    if (state == CNO_STREAM_HALF_REMOTE)
        s->reading = CNO_AT_END;
    else if (state == CNO_STREAM_HALF_LOCAL || state == CNO_STREAM_RESERVED_REMOTE)
        s->writing = CNO_AT_END;
    else if (state == CNO_STREAM_CLOSED)
        s->reading = s->writing = CNO_AT_END;
}

int cno__stream_close(struct cno_connection_t *c, struct cno_stream_t *s, uint32_t code,
                      enum CNO_PEER_KIND side) {
    if (s->state == CNO_STREAM_CLOSED)
        return CNO_OK;
    // The response is complete, so the exchange was useful work, even if the rest of the request is
    // not read.
    if ((cno__is_server(c) ? s->writing : s->reading) == CNO_AT_END) {
        cno__budget_refill(&c->budget_resets, 1, c->limits.resets);
        cno__budget_refill(&c->budget_overhead, 16, c->limits.overhead);
    }
    int ended = s->state == CNO_STREAM_HALF_REMOTE || side == CNO_REMOTE;
    cno__stream_set(s, CNO_STREAM_CLOSED);
    if (s->initiator == CNO_REMOTE && c->mode == CNO_MODE_H2)
        remember(c, s->id, ended ? CNO_CLOSED_BY_PEER : CNO_CLOSED_BY_US);
    else if (s->initiator == CNO_LOCAL)
        c->cancelled = (c->cancelled & ~cancelled_bit(s->id)) | (ended ? 0 : cancelled_bit(s->id));
    unlink_stream(c, s);
    if (s->held && c->mode != CNO_MODE_OVER && c->protocol->released(c, s))
        return CNO_ERROR;
    if (!CNO__FIRE(c, on_stream_end, s->id, code, side))
        return cno__close_if_idle(c);
    // The stream has ended all the same. HTTP/1 cannot continue behind a message that was not read
    // to its end.
    struct cno_error_t error = *cno_error();
    cno__close_if_idle(c);
    return cno_error_set(error.code, error.reason, "%s", error.text);
}

int cno__stream_half_close(struct cno_connection_t *c, struct cno_stream_t *s,
                           enum CNO_PEER_KIND side) {
    enum CNO_STREAM_STATE mine = side == CNO_LOCAL ? CNO_STREAM_HALF_LOCAL : CNO_STREAM_HALF_REMOTE;
    if (s->state == CNO_STREAM_CLOSED || s->state == mine)
        return CNO_OK;
    if (s->state == CNO_STREAM_OPEN) {
        cno__stream_set(s, mine);
        return CNO_OK;
    }
    return cno__stream_close(c, s, CNO_RST_NO_ERROR, side);
}

int cno__stream_each(struct cno_connection_t *c,
                     int (*visit)(struct cno_connection_t *, struct cno_stream_t *, void *),
                     void *argument) {
    for (uint32_t i = 0; c->buckets && i <= c->bucket_mask; i++) {
        for (struct cno_stream_t *s = c->buckets[i], *next; s; s = next) {
            next = s->next;
            if (visit(c, s, argument))
                return CNO_ERROR;
        }
    }
    return CNO_OK;
}

int cno__stream_close_after(struct cno_connection_t *c, uint32_t last, enum CNO_PEER_KIND initiator,
                            uint32_t code, enum CNO_PEER_KIND side) {
    for (uint32_t i = 0; c->buckets && i <= c->bucket_mask; i++) {
        // An event may have changed the bucket: begin again after each.
        for (struct cno_stream_t *s = c->buckets[i]; s;) {
            if (s->initiator != initiator || s->id <= last) {
                s = s->next;
                continue;
            }
            if (cno__stream_close(c, s, code, side))
                return CNO_ERROR;
            s = c->buckets ? c->buckets[i] : NULL;
        }
    }
    return CNO_OK;
}

int cno__stream_close_all(struct cno_connection_t *c, uint32_t code, enum CNO_PEER_KIND side) {
    return cno__stream_close_after(c, 0, CNO_REMOTE, code, side) ||
                   cno__stream_close_after(c, 0, CNO_LOCAL, code, side)
               ? CNO_ERROR
               : CNO_OK;
}

void cno__stream_release_dead(struct cno_connection_t *c) {
    int spare = 0;
    for (struct cno_stream_t *s = c->spare; s; s = s->next)
        spare++;
    for (struct cno_stream_t *s = c->dead, *next; s; s = next) {
        next = s->next;
        if (spare++ < SPARE_MAX) {
            s->next = c->spare;
            c->spare = s;
        } else {
            cno__release(s);
        }
    }
    c->dead = NULL;
    if (c->bucket_mask > 31 && !c->stream_count[CNO_LOCAL] && !c->stream_count[CNO_REMOTE]) {
        cno__release(c->buckets);
        c->buckets = NULL;
        c->bucket_mask = 0;
    }
}

static void free_list(struct cno_stream_t *s) {
    for (struct cno_stream_t *next; s; s = next) {
        next = s->next;
        cno__release(s);
    }
}

void cno__stream_free_all(struct cno_connection_t *c) {
    for (uint32_t i = 0; c->buckets && i <= c->bucket_mask; i++)
        free_list(c->buckets[i]);
    free_list(c->spare);
    free_list(c->dead);
    cno__release(c->buckets);
    c->buckets = NULL;
    c->spare = c->dead = c->current = NULL;
}

// ---- calls about a stream ----------------------------------------------------------------------

int cno__gone(uint32_t stream) {
    return cno_error_set(CNO_ERRNO_INVALID_STREAM, "no-stream", "stream %u is not open",
                         (unsigned)stream);
}

int cno__is_headless(const struct cno_stream_t *s) {
    if (s->writing == CNO_AT_HEAD)
        return 1;
    if (s->writing == CNO_AT_BODY)
        cno_error_set(CNO_ERRNO_ASSERTION, "head-twice", "the head was written already");
    else
        cno__gone(s->id);
    return 0;
}

// Checks whether cno_write_head would fail, before a stream is made for the request.
static int check_request(const struct cno_connection_t *c, const struct cno_message_t *msg,
                         size_t size, int final) {
    uint8_t ids[CNO_MAX_HEADERS_OUT];
    struct cno__out_meta meta = {0};
    size_t at = 0;
    const char *wrong =
        cno__check_out(msg->headers, msg->headers_len, c->mode == CNO_MODE_H2, ids, &meta, &at);
    if (wrong)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "field %zu: %s", at, wrong);
    int h2 = c->mode == CNO_MODE_H2;
    if (!(h2 ? cno__target_is_valid_h2 : cno__target_is_valid_h1)(msg->method, msg->path))
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-start-line",
                             "the target has no form of its method");
    if (h2 && (wrong = cno__request_lacks_h2(msg)))
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "%s (RFC 9113 8.3.1)", wrong);
    if (h2 && meta.protocol.data && !meta.scheme)
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-field", "a request needs a :scheme");
    if (cno__method(msg->method) != CNO__METHOD_CONNECT && !meta.protocol.data &&
        (h2 || !meta.upgrade))
        return cno__check_length(&meta, size, final);
    if ((wrong = cno__check_tunnel(msg, &meta, size)))
        return cno_error_set(CNO_ERRNO_ASSERTION, "bad-tunnel", "a request for a tunnel: %s",
                             wrong);
    if (meta.protocol.data && h2 && !(c->flags & CNO_CONN_SETTINGS))
        return cno_error_set(CNO_ERRNO_WOULD_BLOCK, "no-settings",
                             "whether the peer takes :protocol is not known yet");
    if (meta.protocol.data && !(h2 && c->settings[CNO_REMOTE].enable_connect_protocol))
        return cno_error_set(CNO_ERRNO_ASSERTION, "no-extended-connect",
                             "the peer does not take :protocol (RFC 8441 3)");
    return CNO_OK;
}

// Makes the stream for a client's request.
static struct cno_stream_t *begin_request(struct cno_connection_t *c, uint32_t id) {
    uint32_t limit = c->mode == CNO_MODE_H2 ? c->settings[CNO_REMOTE].max_concurrent_streams : 1;
    const struct cno_stream_t *last = cno__stream_find(c, c->last_stream[CNO_LOCAL]);
    if (c->flags & CNO_CONN_CLOSING) {
        cno_error_set(CNO_ERRNO_DISCONNECT, "closing", "the connection takes no new requests");
    } else if (cno_next_stream(c) > CNO__STREAM_MAX) {
        cno_error_set(CNO_ERRNO_DISCONNECT, "no-stream-ids",
                      "all stream ids are used up (RFC 9113 5.1.1)");
    } else if (id != cno_next_stream(c)) {
        cno__gone(id);
    } else if (last && last->writing == CNO_AT_HEAD) {  // ids rise on the wire (RFC 9113 5.1.1)
        cno_error_set(CNO_ERRNO_WOULD_BLOCK, "head-unsent",
                      "the head of the request before was not written yet");
    } else if (c->stream_count[CNO_LOCAL] >= limit) {
        cno_error_set(CNO_ERRNO_WOULD_BLOCK, "too-many-streams", "wait for the end of a stream");
    } else {
        struct cno_stream_t *s = cno__stream_new(c, id, CNO_LOCAL, CNO_STREAM_OPEN);
        if (s && c->mode == CNO_MODE_H1)
            c->current = s;
        return s;
    }
    return NULL;
}

struct cno_stream_t *cno__request_stream(struct cno_connection_t *c, uint32_t id,
                                         const struct cno_message_t *msg, size_t size, int final) {
    struct cno_stream_t *s = cno__stream_find(c, id);
    if ((s && !cno__is_headless(s)) || check_request(c, msg, size, final))
        return NULL;
    // A call from on_stream_start may have written another request on this stream; that one stays.
    if (!s && (!(s = begin_request(c, id)) || !cno__is_headless(s)))
        return NULL;
    s->method = (uint8_t)cno__method(msg->method);
    return s;
}
