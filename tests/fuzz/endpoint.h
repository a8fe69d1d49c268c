// The body of the four targets in which one connection reads what fuzz octets say.
#pragma once

#include "output.h"
#include "script.h"

// A server that reads what the side under test writes has to answer, or it would not read on.
static int answer_at_tail(void *data, uint32_t stream, const struct cno_tail_t *tail) {
    struct side *s = data;
    int r = side_tail(data, stream, tail);
    cno_write_head(&s->c, stream, &(struct cno_message_t){.code = 204}, 1);
    return r;
}

// Octets that one connection may hold: a body or a head that is not complete, one header block, two HPACK
// tables, streams and their map, output that could not leave.
#define MEMORY_LIMIT(fed) (700000 + 3 * (fed))

static inline int endpoint(const uint8_t *data, size_t size, enum CNO_CONNECTION_KIND kind,
                           enum CNO_HTTP_VERSION version) {
    struct reader r = {data, size};
    unsigned fail = take2(&r), event = take(&r);
    int greeted;
    memory_begin(fail >= 0xf000 ? (long)(fail & 0x1ff) : -1);
    struct side *s = script_side(&r, kind, &greeted), *peer = NULL;
    struct script script = {.side = s};
    s->to_fail = event >= 0xf0 ? 1 + (int)(event & 7) : 0;
    s->on_output = shadow_out;
    s->on_head = shadow_head;
    frames_begin();
    if (version == CNO_HTTP1) {
        struct cno_vtable_t answering = SIDE;
        static struct cno_vtable_t table;
        answering.on_message_tail = answer_at_tail;
        table = answering;
        s->peer = peer = shadow_new(s);
        if (kind == CNO_CLIENT)
            peer->c.cb_code = &table;
    }
    if (cno_begin(&s->c, version))
        check_error(s, 0);
    if (version == CNO_HTTP2 && greeted)
        say_hello(&script, kind == CNO_SERVER);
    while (r.size)
        script_step(&script, &r, version == CNO_HTTP2);
    REQUIRE(s->c.stream_count[CNO_REMOTE] <= 201 && peak <= MEMORY_LIMIT(script.fed));
    script_end(&script);
    if (peer)
        side_free(peer);
    side_free(s);
    frames_end();
    REQUIRE(live == 0);
    return 0;
}
