// PRIORITY_UPDATE (RFC 9218 section 7.1): the priorities that a client gives to streams before and
// after they begin. Knows no other frame.
#include "message/priority.h"

#include "h2/h2.h"

static const struct cno__fault NO_CLIENT = CNO__FAULT(0, PROTOCOL_ERROR, "unwanted-priority",
                                                      "PRIORITY_UPDATE of a server (RFC 9218 7.1)");
static const struct cno__fault NO_STREAM = CNO__FAULT(0, PROTOCOL_ERROR, "priority-without-stream",
                                                      "PRIORITY_UPDATE of stream 0 (RFC 9218 7.1)");
static const struct cno__fault NO_PUSH =
    CNO__FAULT(0, PROTOCOL_ERROR, "priority-of-idle-push",
               "PRIORITY_UPDATE of a push not made (RFC 9218 7.1)");
static const struct cno__fault TOO_MANY =
    CNO__FAULT(0, PROTOCOL_ERROR, "too-many-priorities",
               "priorities of more streams than may be open (RFC 9218 7.1)");

// The entry of a stream that has not begun, or NULL.
static struct cno__early *find(const struct cno_connection_t *c, uint32_t id) {
    for (uint32_t i = 0; i < c->early_count; i++)
        if (c->early[i].id == id)
            return &c->early[i];
    return NULL;
}

// Removes the entries of ids up to `last`, which are no longer idle (RFC 9113 section 5.1.1).
static void forget(struct cno_connection_t *c, uint32_t last) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->early_count; i++)
        if (c->early[i].id > last)
            c->early[kept++] = c->early[i];
    c->early_count = (uint16_t)kept;
    if (kept)
        return;
    cno__release(c->early);
    c->early = NULL;
    c->early_room = 0;
}

// Keeps the priority of a stream that has not begun: the latest one of each, of as many streams as
// may be open.
static int note_early(struct cno_connection_t *c, uint32_t id, uint8_t priority) {
    forget(c, c->last_stream[CNO_REMOTE]);
    struct cno__early *entry = find(c, id);
    if (!entry) {
        uint32_t limit = c->settings[CNO_LOCAL].max_concurrent_streams;
        // A client that has not acknowledged our settings may not know the limit.
        if (c->stream_count[CNO_REMOTE] + c->early_count + 1 > limit)
            return c->settings_unacked ? CNO_OK : cno__refuse(c, &TOO_MANY, 0);
        if (c->early_count == CNO_MAX_EARLY_PRIORITIES)
            return CNO_OK;
        if (c->early_count == c->early_room) {
            uint32_t room = c->early_room ? 2u * c->early_room : 4;
            entry = cno__resize(c->early, room * sizeof(*entry));
            if (!entry)
                return CNO_ERROR;
            c->early = entry;
            c->early_room = (uint16_t)room;
        }
        entry = &c->early[c->early_count++];
    }
    *entry = (struct cno__early){id, priority};
    return CNO_OK;
}

int cno__h2_priority_update(struct cno_connection_t *c, const struct cno__frame *frame) {
    uint32_t id = cno__read4(frame->payload) & 0x7fffffff;
    uint8_t priority =
        CNO__PRIORITY_DEFAULT;  // a member that the frame does not have is the default
    if (!cno__is_server(c))
        return cno__refuse(c, &NO_CLIENT, 0);
    if (!id)
        return cno__refuse(c, &NO_STREAM, 0);
    if (!(id & 1) && id > c->last_stream[CNO_LOCAL])
        return cno__refuse(c, &NO_PUSH, 0);
    if (cno__priority_parse((const char *)frame->payload + 4, frame->size - 4, &priority))
        return CNO_OK;
    priority |= CNO__PRIORITY_FRAME;
    struct cno_stream_t *s = cno__stream_find(c, id);
    if (!s)
        return (id & 1) && id > c->last_stream[CNO_REMOTE] && !(c->flags & CNO_CONN_CLOSING)
                   ? note_early(c, id, priority)
                   : CNO_OK;
    int changed = (s->priority ^ priority) & ~CNO__PRIORITY_FRAME;
    s->priority = priority;
    if (!changed || s->writing == CNO_AT_END)
        return CNO_OK;
    struct cno_priority_t now = cno_priority(c, id);
    return CNO__FIRE(c, on_priority, id, &now) ? CNO_ERROR : CNO_OK;
}

void cno__h2_priority_begin(struct cno_connection_t *c, struct cno_stream_t *s) {
    struct cno__early *entry = find(c, s->id);
    if (entry)
        s->priority = entry->priority;
    forget(c, s->id);
}

struct cno_priority_t cno_priority(const struct cno_connection_t *c, uint32_t stream) {
    const struct cno_stream_t *s = cno__stream_find(c, stream);
    const struct cno__early *entry = s ? NULL : find(c, stream);
    uint8_t priority = s ? s->priority : entry ? entry->priority : CNO__PRIORITY_DEFAULT;
    return (struct cno_priority_t){
        .urgency = priority & CNO__PRIORITY_URGENCY,
        .incremental = (priority & CNO__PRIORITY_INCREMENTAL) != 0,
    };
}
