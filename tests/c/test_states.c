// Every state of an HTTP/2 stream (RFC 9113 figure 2), times every frame, times every call. The tables are
// written from the RFC (sections 5.1, 5.1.1, 6.1-6.10, 6.8, 8.1, 8.4) and from core.h, with every outcome
// where the RFC leaves a choice. After each step: windows, counters, the next request.
#include "states.h"
#include "states_h2.h"

// ---- reading what was written ------------------------------------------------------------------

static void read_frames(struct watched *w) {
    static const char letters[] = "DHYRSUPGWC";
    while (w->out.size - w->read >= 9) {
        const unsigned char *p = (const unsigned char *)w->out.data + w->read;
        uint32_t size = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        uint32_t id =
            ((uint32_t)p[5] << 24 | (uint32_t)p[6] << 16 | (uint32_t)p[7] << 8 | p[8]) & 0x7fffffff;
        if (!CHECK(p[3] < sizeof(letters) - 1 && w->out.size - w->read >= 9 + size &&
                   id < STATES_IDS))
            break;
        uint32_t number = 0, second = 0;
        for (unsigned i = 0; i < 4 && size >= 4; i++)
            number = number << 8 | p[9 + i];
        for (unsigned i = 4; i < 8 && size >= 8; i++)
            second = second << 8 | p[9 + i];
        if (letters[p[3]] == 'D') {
            w->window_send[0] -= size;
            w->window_send[id] -= size;
        } else if (letters[p[3]] == 'W') {
            w->window_recv[id] += number;
        } else if (letters[p[3]] == 'R') {
            w->reset_stream = id;
            w->reset_code = (int)number;
        } else if (letters[p[3]] == 'G') {
            // Section 6.8: the last stream identifier MUST NOT grow.
            if (!CHECK((number & 0x7fffffff) <= w->goaway))
                printf("  %s: GOAWAY %u behind GOAWAY %u\n", w->name, (unsigned)number,
                       (unsigned)w->goaway);
            w->goaway = number & 0x7fffffff;
            w->goaway_code = (int)second;
        }
        if (letters[p[3]] != 'W' && !(letters[p[3]] == 'S' && p[4] == 1))
            note(w->frames, sizeof(w->frames), letters[p[3]]);
        if (p[3] < 2 && p[4] & 1)
            note(w->frames, sizeof(w->frames), '.');
        w->read += 9 + size;
    }
}

// ---- steps -------------------------------------------------------------------------------------

static int octet_wise;

// Feeds a frame, `#` being the stream, and keeps the books that the peer would.
static int feed(struct watched *w, const char *frame, uint32_t id) {
    char line[256];
    const char *mark = strchr(frame, '#');
    int before = mark ? (int)(mark - frame) : (int)strlen(frame);
    if (mark)
        snprintf(line, sizeof(line), "%.*s%u%s", before, frame, (unsigned)id, mark + 1);
    else
        snprintf(line, sizeof(line), "%s", frame);
    struct wire in = {0};
    wire_frame(&in, line);
    const unsigned char *p = (const unsigned char *)in.data;
    uint32_t size = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2], stream = p[8];
    if (p[3] == 0 && strcmp(line, "PREFACE")) {
        w->window_recv[0] -= size;
        w->window_recv[stream] -= stream ? size : 0;
    } else if (p[3] == 8 && size == 4) {
        w->window_send[stream] += p[12];
    }
    int r = CNO_OK;
    for (size_t at = 0, part; at < in.size && !r; at += part) {
        part = octet_wise ? 1 : in.size;
        if (w->c.mode != CNO_MODE_OVER || !at)
            r = cno_consume(&w->c, in.data + at, part);
    }
    wire_free(&in);
    read_frames(w);
    return r;
}

static int do_call(struct watched *w, const char *what, uint32_t id) {
    int r = call(w, what, id);
    read_frames(w);
    return r;
}

static struct watched *begin(const struct state *state, enum CNO_CONNECTION_KIND kind, char *name) {
    struct watched *w = watch(kind, name);
    struct cno_settings_t settings = w->c.settings[CNO_LOCAL];
    settings.enable_push = kind == CNO_CLIENT;
    if (state->flags & ONE_STREAM)
        settings.max_concurrent_streams = 1;
    CHECK(!cno_configure(&w->c, &settings) && !cno_begin(&w->c, CNO_HTTP2));
    w->read = kind == CNO_CLIENT ? strlen(WIRE_PREFACE) : 0;
    read_frames(w);
    if (kind == CNO_SERVER)
        CHECK(!feed(w, "PREFACE", 0));
    CHECK(!feed(w, "SETTINGS 0 -", 0) && !feed(w, "SETTINGS 0 ACK", 0));
    for (const char *at = state->setup; *at;) {
        char line[128];
        size_t size = strcspn(at, ";");
        snprintf(line, sizeof(line), "%.*s", (int)size, at);
        at += size + (at[size] == ';');
        step(w);
        if (line[0] == '>') {
            CHECK(!feed(w, line + 2, 0));
        } else {
            char *space = strchr(line + 2, ' ');
            uint32_t id = space ? (uint32_t)atoi(space + 1) : 0;
            if (space)
                *space = 0;
            CHECK(!do_call(w, line + 2, id));
        }
    }
    step(w);
    const struct cno_stream_t *s = cno__stream_find(&w->c, state->id);
    int remote = (state->id & 1) == (kind == CNO_SERVER);
    enum CNO_STREAM_STATE figure = s ? (enum CNO_STREAM_STATE)s->state
                                   : state->id > w->c.last_stream[remote ? CNO_REMOTE : CNO_LOCAL]
                                       ? CNO_STREAM_IDLE
                                       : CNO_STREAM_CLOSED;
    if (!CHECK(figure == state->figure))
        printf("  %s: state %d\n", name, (int)figure);
    return w;
}

// ---- outcomes ----------------------------------------------------------------------------------

static int is_over(const struct watched *w) {
    return w->c.mode == CNO_MODE_OVER;
}

// Closing streams that were the last is as good as closing them: `c` behind them is checked in after().
static int same_events(const struct watched *w, const char *events, int flags) {
    size_t size = strlen(w->events), expected = strlen(events);
    if (flags & CLOSING && !w->live && size && w->events[size - 1] == 'c')
        size--;
    return size == expected && !memcmp(w->events, events, size);
}

// Whether a frame came to what one alternative of a cell says.
static int came_to(const struct watched *w, const struct state *state, int result,
                   const char *outcome) {
    for (size_t i = 0; i < sizeof(SHORT) / sizeof(*SHORT); i++) {
        if (outcome[0] != SHORT[i].letter || outcome[1])
            continue;
        const char *all = SHORT[i].outcome;
        size_t size = strlen(all);
        for (char one[16]; alternative(&all, &size, one, sizeof(one));)
            if (came_to(w, state, result, one))
                return 1;
        return 0;
    }
    int code = outcome[0] && outcome[1] >= '0' && outcome[1] <= '9' ? atoi(outcome + 1) : -1;
    if (outcome[0] == 'K' && code >= 0)
        return result == CNO_ERROR && w->goaway_code == code && w->faulted == 1 && is_over(w) &&
               w->closed && !w->live;
    if (result)
        return 0;
    if (code >= 0)
        return !strcmp(w->frames, "R") && w->reset_code == code &&
               w->reset_stream == (outcome[0] == 'R' ? PROMISED : state->id);
    if (outcome[0] == '=')
        return !strcmp(w->frames, outcome + 1) && !w->events[0];
    return !w->frames[0] &&
           same_events(w, outcome[0] == '-' ? "" : outcome + (outcome[0] == '+'), state->flags);
}

// A connection that was to end, and does, says GOAWAY once more: what that holds is for vectors/.
static void skip_goodbye(struct watched *w, const struct state *state) {
    size_t size = strlen(w->frames);
    if ((state->flags & CLOSING) && strchr(w->events, 'c') && size && w->frames[size - 1] == 'G' &&
        w->goaway_code == CNO_RST_NO_ERROR) {
        w->frames[size - 1] = 0;
        w->goaway_code = -1;
    }
}

static int fits(struct watched *w, const struct state *state, int result, const char *at,
                size_t size) {
    skip_goodbye(w, state);
    for (char one[16]; alternative(&at, &size, one, sizeof(one));)
        if (came_to(w, state, result, one))
            return 1;
    return 0;
}

// Whether a call came to what one alternative of a cell says.
static int answered(const struct watched *w, const struct state *state, int result,
                    const char *outcome) {
    if (outcome[0] == '!')
        return result == CNO_ERROR && errno_letter(cno_error()->code) == outcome[1] &&
               !w->frames[0] && (outcome[1] == 'P' || !w->events[0]);
    char frames[16];
    size_t size = strcspn(outcome + 1, "+");
    snprintf(frames, sizeof(frames), "%.*s", (int)size, outcome + 1);
    const char *events = outcome + 1 + size;
    return !result && !strcmp(w->frames, frames) &&
           same_events(w, events + (*events == '+'), state->flags);
}

static int windows_are_right(const struct watched *w) {
    int right = w->c.window_recv == w->window_recv[0] && w->c.window_send == w->window_send[0];
    for (uint32_t id = 1; id < STATES_IDS; id++) {
        const struct cno_stream_t *s = cno__stream_find(&w->c, id);
        if (s && s->reading != CNO_AT_END && s->window_recv != w->window_recv[id])
            right = 0;
        if (s && s->writing != CNO_AT_END && s->window_send != w->window_send[id])
            right = 0;
    }
    return right;
}

// A connection that is over takes nothing, and says so each time.
static int is_dead(struct watched *w) {
    step(w);
    int dead = cno_consume(&w->c, "x", 1) == CNO_ERROR &&
               cno_error()->code == CNO_ERRNO_DISCONNECT && call(w, "head", 1) == CNO_ERROR &&
               call(w, "data", 1) == CNO_ERROR && call(w, "shutdown", 0) == CNO_OK;
    read_frames(w);
    return dead && !w->events[0] && !w->frames[0];
}

// The next request, on a stream that nothing has happened on.
static int serves(struct watched *w) {
    step(w);
    uint32_t id = w->c.kind == CNO_SERVER ? 201 : cno_next_stream(&w->c);
    if (w->c.kind == CNO_SERVER)
        return !feed(w, "HEADERS # END_STREAM|END_HEADERS @get", id) && !do_call(w, "whole", id) &&
               !strcmp(w->events, "shte") && !strcmp(w->frames, "H.");
    return !do_call(w, "get", id) && !feed(w, "HEADERS # END_HEADERS @ok", id) &&
           !feed(w, "DATA # END_STREAM t:x", id) && !strcmp(w->events, "shdte") &&
           !strcmp(w->frames, "H.");
}

// What must hold whatever happened: counters, windows, what is open can be ended, the next request works.
static int after(struct watched *w, const struct state *state) {
    int right = !w->illegal && w->c.depth == 0 && !w->c.dead &&
                (int)(w->c.stream_count[CNO_LOCAL] + w->c.stream_count[CNO_REMOTE]) == w->live;
    if (is_over(w))
        return right && !w->live && is_dead(w);
    right = right && windows_are_right(w);
    step(w);
    right = right && !feed(w, "PING 0 - t:12345678", 0) && !strcmp(w->frames, "P") && !w->events[0];
    for (uint32_t id = 1; id < STATES_IDS; id++)
        if (w->started[id] && !w->ended[id] && !is_over(w))
            right = right && !do_call(w, "reset", id) && w->ended[id] == 1;
    right = right && !w->live && !w->illegal;
    if (is_over(w))
        return right && w->closed;
    right = right && !(state->flags & CLOSING) && serves(w) && windows_are_right(w);
    return right && !do_call(w, "eof", 0) && w->closed == 1 && !w->illegal && !w->live &&
           !w->c.stream_count[CNO_LOCAL] && !w->c.stream_count[CNO_REMOTE];
}

static void report(const struct watched *w, const char *expected, size_t size, int result) {
    printf("  %s: expected %.*s; result %d %s, events %s, frames %s, reset %u:%d, goaway %d\n",
           w->name, (int)size, expected, result, result ? cno_error()->reason : "", w->events,
           w->frames, (unsigned)w->reset_stream, w->reset_code, w->goaway_code);
}

// ---- what table rows cannot say -----------------------------------------------------------------

static const struct state ALONE = {
    "alone", CNO_STREAM_IDLE, 1, 0, "", NULL, NULL,
};
static const struct state ASKED_FOR = {
    "asked for", CNO_STREAM_HALF_REMOTE, 1, 0, GET, NULL, NULL,
};

// A push is begun before it is promised: what its first event does to it, or to its parent, holds.
static void test_push_ended_as_it_begins(void) {
    static const struct {
        const char *call;
        uint32_t id;
    } calls[] = {{"reset", 2}, {"reset", 1}, {"whole", 1}, {"shutdown", 0}, {"whole", 2}};
    for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        char name[64];
        snprintf(name, sizeof(name), "push, %s %u as it begins", calls[i].call,
                 (unsigned)calls[i].id);
        struct watched *w = begin(&ASKED_FOR, CNO_SERVER, name);
        w->in_start = calls[i].call;
        w->in_start_id = calls[i].id;
        w->tailed[2] = i == 0;  // by then there is nobody to tell of the request
        int result = do_call(w, "push", 1);
        w->in_start = NULL;
        // RST_STREAM or HEADERS on a stream that was not promised would be on an idle one (section 5.1).
        const char *promise = strchr(w->frames, 'U');
        for (const char *at = w->frames; *at; at++)
            if (calls[i].id == 2 && (*at == 'R' || *at == 'H'))
                CHECK(promise && promise < at);
        struct state later = ASKED_FOR;
        later.flags = calls[i].id ? 0 : CLOSING;
        if (!CHECK(!result) || !CHECK(after(w, &later)))
            report(w, "a connection in order", 21, result);
        unwatch(w);
    }
}

// A request that cannot be written does not begin a stream.
static void test_request_refused(void) {
    static struct cno_header_t fields[] = {FIELD("a", "b\r\n"), FIELD(":status", "200"),
                                           FIELD(":x", "y"), FIELD("A", "b"),
                                           FIELD("content-length", "1")};
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        struct watched *w = begin(&ALONE, CNO_CLIENT, "refused request");
        struct cno_message_t msg = message(w, 0);
        msg.headers = &fields[i];
        msg.headers_len = 1;
        CHECK(cno_write_head(&w->c, 1, &msg, 1) == CNO_ERROR);
        CHECK(cno_error()->code == CNO_ERRNO_ASSERTION);
        CHECK(cno_next_stream(&w->c) == 1 && !w->live && !w->events[0]);
        CHECK(after(w, &ALONE));
        unwatch(w);
    }
}

// ---- all of it ---------------------------------------------------------------------------------

static void try_frame(const struct state *state, enum CNO_CONNECTION_KIND kind, const char *frame,
                      const char *expected, size_t size) {
    char name[160];
    snprintf(name, sizeof(name), "%s: %s: %s", kind == CNO_SERVER ? "server" : "client",
             state->name, frame);
    struct watched *w = begin(state, kind, name);
    int result = feed(w, frame, state->id);
    if (!CHECK(fits(w, state, result, expected, size)))
        report(w, expected, size, result);
    struct state later = *state;
    if (!strncmp(frame, "GOAWAY", 6))
        later.flags |= CLOSING;
    if (!CHECK(after(w, &later)))
        report(w, "a connection in order", 21, result);
    unwatch(w);
}

// HEADERS is open: nothing but its CONTINUATION may follow (sections 4.3 and 6.10).
static void try_inside_block(const struct state *state, const char *frame) {
    char name[160];
    snprintf(name, sizeof(name), "server: %s: inside a block: %s", state->name, frame);
    struct watched *w = begin(state, CNO_SERVER, name);
    CHECK(!feed(w, "HEADERS 201 END_STREAM @get", 0));
    int result = feed(w, frame, state->id);
    if (!CHECK(fits(w, state, result, "K1|K6", 5)) || !CHECK(after(w, state)))
        report(w, "K1", 2, result);
    unwatch(w);
}

static void try_call(const struct state *state, enum CNO_CONNECTION_KIND kind, const char *what,
                     const char *expected, size_t size) {
    char name[160];
    snprintf(name, sizeof(name), "%s: %s: call %s", kind == CNO_SERVER ? "server" : "client",
             state->name, what);
    struct watched *w = begin(state, kind, name);
    struct cno_stream_t *s = cno__stream_find(&w->c, state->id), before = {0};
    if (s)
        before = *s;
    uint32_t next = cno_next_stream(&w->c);
    int result = do_call(w, what, state->id), fit = 0;
    const char *at = expected;
    size_t rest = size;
    skip_goodbye(w, state);
    for (char one[16]; !fit && alternative(&at, &rest, one, sizeof(one));)
        fit = answered(w, state, result, one);
    if (!CHECK(fit))
        report(w, expected, size, result);
    // A call that fails is as if it had not been made.
    if (result && strcmp(what, "eof"))
        CHECK(cno_next_stream(&w->c) == next && s == cno__stream_find(&w->c, state->id) &&
              (!s || !memcmp(&before, s, sizeof(before))));
    struct state later = *state;
    if (!strcmp(what, "shutdown"))
        later.flags |= CLOSING;
    if (!CHECK(after(w, &later)))
        report(w, "a connection in order", 21, result);
    unwatch(w);
}

static void test_states(const struct state *states, size_t count, enum CNO_CONNECTION_KIND kind,
                        const char *const *calls, size_t calls_count) {
    size_t size;
    for (size_t i = 0; i < count; i++) {
        const struct state *state = &states[i];
        for (octet_wise = 0; octet_wise < 2; octet_wise++) {
            for (size_t k = 0; k < sizeof(FRAMES) / sizeof(*FRAMES); k++) {
                const char *expected = cell(state->frames, (int)k, &size);
                if (CHECK(expected != NULL))
                    try_frame(state, kind, FRAMES[k], expected, size);
                if (kind == CNO_SERVER && !(state->flags & CLOSING))
                    try_inside_block(state, FRAMES[k]);
            }
            for (size_t k = 0; k < sizeof(ANYWHERE) / sizeof(*ANYWHERE); k++)
                try_frame(state, kind, ANYWHERE[k].frame, ANYWHERE[k].outcome,
                          strlen(ANYWHERE[k].outcome));
        }
        octet_wise = 0;
        CHECK(!cell(state->frames, sizeof(FRAMES) / sizeof(*FRAMES), &size));
        for (size_t k = 0; k < calls_count; k++) {
            const char *expected = cell(state->calls, (int)k, &size);
            if (CHECK(expected != NULL))
                try_call(state, kind, calls[k], expected, size);
        }
        CHECK(!cell(state->calls, (int)calls_count, &size));
    }
}

int main(void) {
    test_states(SERVER, sizeof(SERVER) / sizeof(*SERVER), CNO_SERVER, SERVER_CALLS,
                sizeof(SERVER_CALLS) / sizeof(*SERVER_CALLS));
    test_states(CLIENT, sizeof(CLIENT) / sizeof(*CLIENT), CNO_CLIENT, CLIENT_CALLS,
                sizeof(CLIENT_CALLS) / sizeof(*CLIENT_CALLS));
    test_push_ended_as_it_begins();
    test_request_refused();
    return finish();
}
