// Runs tests/vectors/{h1,h2}/*.txt through the callbacks of core.h. Every piece of input lies in a block of
// exactly its size, so that the sanitizers see an octet read too many. vectors/README.md has the notation.
#define _POSIX_C_SOURCE 200809L
#include <glob.h>
#include <stdarg.h>

#include "config.h"
#include "core.h"
#include "check.h"
#include "wire.h"

#define CUTS 3       // how many times a case is cut at random
#define FIELDS 1200  // in one block that is written

enum MODE { WHOLE, OCTETS, TRAILING, RANDOM };

struct line {
    char *text;
    int number;
};

struct test {
    const char *file;
    char *name;
    struct line *lines;
    size_t count;
    int http2;  // by its directory
    int whole, has_trailing;
    const char *xfail;
};

struct run {
    struct cno_connection_t c;
    struct cno_hpack_t decoder;
    const struct test *test;
    enum MODE mode;
    uint32_t random;
    int failed, closed, faulted, bare;
    uint64_t fed, mark[2];  // octets of input; where the fault has to be
    int marked;
    uint32_t data_stream;  // the last event is data of this stream
    struct wire events, out, peer;
    struct wire input, trailing;  // of the group under way
    struct wire want_events, want_out;
    int refusal, skip, any_out;
    struct cno_error_t fault;
};

// ---- events as text ----------------------------------------------------------------------------

static void begin(struct run *r, const char *format, unsigned long a, unsigned long b) {
    char text[64];
    int size = snprintf(text, sizeof(text), format, a, b);
    if (r->events.size)
        wire_put(&r->events, "\n", 1);
    wire_put(&r->events, text, (size_t)size);
    r->data_stream = 0;
}

static void word(struct wire *w, const char *data, size_t size) {
    wire_put(w, " ", 1);
    wire_escape(w, size ? data : "-", size ? size : 1);
}

static void plain(struct wire *w, const char *text) {
    word(w, text, strlen(text));
}

static void code_name(struct wire *w, uint32_t code) {
    char number[16];
    snprintf(number, sizeof(number), "%lu", (unsigned long)code);
    plain(w, code < sizeof(WIRE_CODES) / sizeof(*WIRE_CODES) ? WIRE_CODES[code] : number);
}

static void fields(struct wire *w, const struct cno_header_t *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        word(w, list[i].name.data, list[i].name.size);
        wire_put(w, "=", 1);
        wire_escape(w, list[i].value.data, list[i].value.size);
    }
}

static int on_writev(void *data, const struct cno_buffer_t *pieces, size_t count) {
    struct run *r = data;
    for (size_t i = 0; i < count; i++)
        wire_put(&r->out, pieces[i].data, pieces[i].size);
    return 0;
}

static int on_close(void *data) {
    ((struct run *)data)->closed = 1;
    begin(data, "close", 0, 0);
    return 0;
}

static int on_start(void *data, uint32_t id) {
    begin(data, "start %lu", id, 0);
    return 0;
}

static int on_end(void *data, uint32_t id, uint32_t code, enum CNO_PEER_KIND side) {
    struct run *r = data;
    begin(r, "end %lu", id, 0);
    code_name(&r->events, code);
    plain(&r->events, side == CNO_LOCAL ? "local" : "remote");
    return 0;
}

static int on_flow(void *data, uint32_t id) {
    begin(data, "flow %lu", id, 0);
    return 0;
}

static int on_head(void *data, uint32_t id, const struct cno_message_t *msg) {
    struct run *r = data;
    struct wire *w = &r->events;
    if (msg->code) {
        begin(r, "head %lu %lu", id, (unsigned long)msg->code);
        word(w, msg->method.data, msg->method.size);
    } else {
        begin(r, "head %lu", id, 0);
        word(w, msg->method.data, msg->method.size);
        word(w, msg->path.data, msg->path.size);
    }
    fields(w, msg->headers, msg->headers_len);
    if (msg->flags & CNO_MESSAGE_EXPECT)
        plain(w, "!expect");
    if (msg->flags & CNO_MESSAGE_HTTP1_0)
        plain(w, "!1.0");
    if (msg->flags & CNO_MESSAGE_TRAILERS)
        plain(w, "!trailers");
    if (msg->flags & CNO_MESSAGE_UPGRADE)
        plain(w, "!upgrade");
    return 0;
}

static int on_tail(void *data, uint32_t id, const struct cno_tail_t *tail) {
    struct run *r = data;
    begin(r, tail ? "tail %lu +" : "tail %lu -", id, 0);
    if (tail)
        fields(&r->events, tail->headers, tail->headers_len);
    return 0;
}

static int on_data(void *data, uint32_t id, const char *octets, size_t size) {
    struct run *r = data;
    if (r->data_stream != id) {
        begin(r, "data %lu ", id, 0);
        r->data_stream = id;
    }
    wire_escape(&r->events, octets, size);
    return 0;
}

static int on_push(void *data, uint32_t id, const struct cno_message_t *msg, uint32_t parent) {
    struct run *r = data;
    begin(r, "push %lu %lu", id, parent);
    word(&r->events, msg->method.data, msg->method.size);
    word(&r->events, msg->path.data, msg->path.size);
    fields(&r->events, msg->headers, msg->headers_len);
    return 0;
}

static int on_settings(void *data) {
    begin(data, "settings", 0, 0);
    return 0;
}

static int on_pong(void *data, const char payload[8]) {
    begin(data, "pong", 0, 0);
    word(&((struct run *)data)->events, payload, 8);
    return 0;
}

static int on_priority(void *data, uint32_t id, const struct cno_priority_t *priority) {
    struct run *r = data;
    begin(r, "priority %lu %lu", id, priority->urgency);
    plain(&r->events, priority->incremental ? "1" : "0");
    return 0;
}

static int on_fault(void *data, uint32_t id, const struct cno_error_t *error) {
    struct run *r = data;
    char place[32];
    begin(r, "fault %lu", id, 0);
    plain(&r->events, error->reason);
    if (cno_version(&r->c) == CNO_HTTP2)
        code_name(&r->events, error->wire);
    else if (snprintf(place, sizeof(place), "%lu", (unsigned long)error->wire))
        plain(&r->events, place);
    if (error->offset < r->mark[0] || error->offset > r->mark[1]) {
        snprintf(place, sizeof(place), "@%llu", (unsigned long long)error->offset);
        plain(&r->events, place);
    }
    if (!id) {
        r->faulted = 1;
        r->fault = *error;
    }
    return 0;
}

static const struct cno_vtable_t EVENTS = {
    .on_writev = on_writev,
    .on_close = on_close,
    .on_stream_start = on_start,
    .on_stream_end = on_end,
    .on_flow_increase = on_flow,
    .on_message_head = on_head,
    .on_message_tail = on_tail,
    .on_message_data = on_data,
    .on_message_push = on_push,
    .on_settings = on_settings,
    .on_pong = on_pong,
    .on_priority = on_priority,
    .on_fault = on_fault,
};

// ---- output as text ----------------------------------------------------------------------------

static void show_block(struct run *r, struct wire *text, struct wire *block) {
    static struct cno_header_t list[FIELDS];
    struct cno_hpack_fields_t decoded = {list, FIELDS, SIZE_MAX, 0, 0};
    if (cno_hpack_decode(&r->decoder, (struct cno_buffer_t){block->data, block->size}, &decoded))
        plain(text, "undecodable");
    else
        fields(text, list, decoded.count < FIELDS ? decoded.count : FIELDS);
    wire_free(block);
}

static void show_payload(struct run *r, struct wire *text, struct wire *block, int type, int flags,
                         const char *payload, size_t size) {
    uint64_t number[2] = {0, 0};
    for (size_t i = 0; i < size && i < 8; i++)
        number[i / 4] = number[i / 4] << 8 | (unsigned char)payload[i];
    int promise = type == 5, length = 0;
    char line[64];
    if (promise)
        length = snprintf(line, sizeof(line), " promised=%lu", (unsigned long)number[0]);
    else if (type == 7)
        length = snprintf(line, sizeof(line), " last=%lu", (unsigned long)number[0]);
    else if (type == 8)
        length = snprintf(line, sizeof(line), " %lu", (unsigned long)number[0]);
    wire_put(text, line, (size_t)length);
    if (type == 3 || type == 7)
        code_name(text, (uint32_t)number[type == 7]);
    for (size_t i = 0; type == 4 && i + 6 <= size; i += 6) {
        const unsigned char *p = (const unsigned char *)payload + i;
        length = snprintf(line, sizeof(line), " s:%d=%lu", p[0] << 8 | p[1],
                          (unsigned long)p[2] << 24 | (unsigned long)p[3] << 16 | p[4] << 8 | p[5]);
        wire_put(text, line, (size_t)length);
    }
    if (size && (type == 0 || type == 6))
        word(text, payload, size);
    if (type != 1 && type != 5 && type != 9)
        return;
    wire_put(block, payload + 4 * promise, size - 4 * (size_t)promise);
    if (flags & 4) {
        show_block(r, text, block);
    } else {
        length = snprintf(line, sizeof(line), " size=%zu", size);
        wire_put(text, line, (size_t)length);
    }
}

// What was written on HTTP/2, a line per frame.
static struct wire show_frames(struct run *r) {
    struct wire text = {0}, block = {0};
    const unsigned char *at = (const unsigned char *)r->out.data, *end = at + r->out.size;
    const char *blank = r->out.size >= 13 && !memcmp(at, "HTTP/1.1 101 ", 13)
                            ? strstr(r->out.data, "\r\n\r\n")
                            : NULL;
    if (blank) {
        wire_put(&text, "RAW ", 4);
        wire_escape(&text, r->out.data, (size_t)(blank + 4 - r->out.data));
        at = (const unsigned char *)blank + 4;
    }
    if (r->out.size >= 24 && !memcmp(at, WIRE_PREFACE, 24)) {
        wire_put(&text, "PREFACE", 7);
        at += 24;
    }
    while (end - at >= 9) {
        size_t size = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
        int type = at[3], flags = at[4], none = 1;
        char line[64];
        if ((size_t)(end - at) < 9 + size || type > 9)
            break;
        int length =
            snprintf(line, sizeof(line), "%s%s %lu ", text.size ? "\n" : "", WIRE_TYPES[type],
                     (unsigned long)at[5] << 24 | at[6] << 16 | at[7] << 8 | at[8]);
        wire_put(&text, line, (size_t)length);
        for (size_t i = 0; i < sizeof(WIRE_FLAGS) / sizeof(*WIRE_FLAGS); i++) {
            if (!(WIRE_FLAGS[i].types >> type & 1) || !(flags & WIRE_FLAGS[i].bit))
                continue;
            length = snprintf(line, sizeof(line), "%s%s", none ? "" : "|", WIRE_FLAGS[i].name);
            wire_put(&text, line, (size_t)length);
            none = 0;
        }
        wire_put(&text, "-", (size_t)none);
        show_payload(r, &text, &block, type, flags, (const char *)at + 9, size);
        at += 9 + size;
    }
    if (at != end)
        wire_put(&text, " and half a frame", 17);
    wire_free(&block);
    return text;
}

// An answer of the engine's own: its status, that it closes, and a body of the length it says.
static int is_refusal(const char *data, size_t size, int status) {
    char line[32];
    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    const char *end = size ? strstr(data, "\r\n\r\n") : NULL;
    const char *length = end ? strstr(data, "\r\ncontent-length: ") : NULL;
    const char *close = end ? strstr(data, "\r\nconnection: close\r\n") : NULL;
    return length && length < end && close && close < end && !memcmp(data, line, strlen(line)) &&
           data[size - 1] == '\n' && atoi(length + 18) == data + size - end - 4;
}

// ---- comparing ---------------------------------------------------------------------------------

static void show(const char *what, const struct wire *w) {
    printf("  %s:\n    ", what);
    for (size_t i = 0, column = 0; i < w->size; i++, column++) {
        if (w->data[i] == '\n')
            column = 0;
        if (column < 160)
            printf(w->data[i] == '\n' ? "\n    " : "%c", w->data[i]);
        if (column == 160)
            printf("...");
    }
    printf("\n");
}

static void mismatch(struct run *r, int line, const char *what, const struct wire *want,
                     const struct wire *got) {
    static const char *const modes[] = {"whole", "octet by octet", "with trailing octets", "cut"};
    r->failed = 1;
    if (r->test->xfail)
        return;
    printf("%s:%d: %s, %s: %s\n", r->test->file, line, r->test->name, modes[r->mode], what);
    show("expected", want);
    show("got", got);
}

// `?` is any word.
static int equal(const struct wire *want, const struct wire *got) {
    size_t i = 0, k = 0;
    while (i < want->size && k < got->size) {
        const char *at = want->data + i;
        if (i && at[-1] == ' ' && at[0] == '?' && (!at[1] || at[1] == ' ' || at[1] == '\n')) {
            i++;
            k += strcspn(got->data + k, " \n");
        } else if (want->data[i++] != got->data[k++]) {
            return 0;
        }
    }
    return i == want->size && k == got->size;
}

static void compare_out(struct run *r, int line) {
    struct wire got = {0};
    if (cno_version(&r->c) == CNO_HTTP2) {
        got = show_frames(r);
    } else {
        wire_put(&got, r->out.data, r->out.size);
        if (r->refusal && got.size >= r->want_out.size &&
            is_refusal(got.data + r->want_out.size, got.size - r->want_out.size, r->refusal))
            got.size = r->want_out.size;
    }
    if (!r->any_out && !r->skip && !equal(&r->want_out, &got))
        mismatch(r, line, "output", &r->want_out, &got);
    wire_free(&got);
}

// Between two groups of `<` lines, and at the end.
static void compare(struct run *r, int line) {
    if (!r->skip && !equal(&r->want_events, &r->events))
        mismatch(r, line, "events", &r->want_events, &r->events);
    compare_out(r, line);
    r->events.size = r->out.size = r->want_events.size = r->want_out.size = 0;
    r->refusal = r->skip = r->any_out = 0;
    r->data_stream = 0;
}

static void want(struct wire *w, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (w->size)
        wire_put(w, "\n", 1);
    wire_put(w, text, (size_t)size);
}

// The words of a line, escaped as events are. The text of `data` is one word however many it has.
static void want_words(struct wire *w, const char *line) {
    size_t size, mark;
    struct wire text = {0};
    int words = 0, is_data = !strncmp(line, "data ", 5);
    if (w->size)
        wire_put(w, "\n", 1);
    for (const char *part; (part = wire_word(&line, &size)); words++) {
        if (is_data && words == 2)
            size = strlen(part);
        char *star;
        unsigned long times = strtoul(part, &star, 10);
        size_t used = *star == '*' && star != part && !is_data ? (size_t)(star + 1 - part) : 0;
        text.size = 0;
        wire_text(&text, part + used, size - used, &mark);
        for (times = used ? times : 1; times--;) {
            wire_put(w, " ", words != 0);
            wire_escape(w, text.data, text.size);
        }
        if (is_data && words == 2)
            break;
    }
    wire_free(&text);
}

static void expect(struct run *r, const char *line) {
    char a[64], b[64];
    unsigned long id, last;
    size_t mark;
    int used = 0;
    if (!strcmp(line, "skip")) {
        r->skip = 1;
    } else if (!strcmp(line, "out *")) {
        r->any_out = 1;
    } else if (sscanf(line, "refusal %d", &r->refusal) == 1) {
        r->refusal = atoi(line + 8);
    } else if (sscanf(line, "refused %63s %63s", a, b) == 2) {
        want(&r->want_events, "start 1\nfault 0 %s %s\nend 1 PROTOCOL_ERROR local\nclose", a, b);
        r->refusal = atoi(b);
    } else if (sscanf(line, "malformed %lu %63s", &id, a) == 2) {
        want(&r->want_events, "start %lu\nfault %lu %s PROTOCOL_ERROR", id, id, a);
        want(&r->want_events, "end %lu PROTOCOL_ERROR local", id);
        want(&r->want_out, "RST_STREAM %lu - PROTOCOL_ERROR", id);
    } else if (sscanf(line, "killed %63s %63s %lu%n", a, b, &last, &used) == 3) {
        want(&r->want_events, "fault 0 %s %s", a, b);
        for (int more; sscanf(line + used, "%lu%n", &id, &more) == 1; used += more)
            want(&r->want_events, "end %lu %s local", id, b);
        want(&r->want_events, "close");
        want(&r->want_out, "GOAWAY 0 - last=%lu %s", last, b);
    } else if (strncmp(line, "out ", 4)) {
        want_words(&r->want_events, line);
    } else if (cno_version(&r->c) == CNO_HTTP2) {
        want_words(&r->want_out, line + 4);
    } else {
        wire_text(&r->want_out, line + 4, strlen(line + 4), &mark);
    }
}

// ---- input -------------------------------------------------------------------------------------

static void failed_call(struct run *r) {
    static const char *const kinds[] = {
        "0",        "ASSERTION", "NO_MEMORY",      "NOT_IMPLEMENTED",
        "PROTOCOL", "5",         "INVALID_STREAM", "WOULD_BLOCK",
        "8",        "DISCONNECT"};
    const struct cno_error_t *e = cno_error();
    begin(r, "error", 0, 0);
    plain(&r->events, e->code >= 0 && e->code < 10 ? kinds[e->code] : "?");
    plain(&r->events, e->reason);
}

static void consume(struct run *r, const char *data, size_t size) {
    char *copy = malloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    r->faulted = 0;
    r->fed += size;
    int result = cno_consume(&r->c, size ? copy : NULL, size);
    const struct cno_error_t *e = cno_error();
    int told = result < 0 && r->faulted && e->code == CNO_ERRNO_PROTOCOL &&
               e->wire == r->fault.wire && e->offset == r->fault.offset &&
               !strcmp(e->reason, r->fault.reason);
    if (result < 0 ? !told : r->faulted)
        failed_call(r);
    free(copy);
}

static uint32_t next_random(struct run *r) {
    r->random = r->random * 1664525u + 1013904223u;
    return r->random >> 8;
}

static void feed(struct run *r, int is_last) {
    struct wire *in = &r->input;
    if (!r->marked)
        r->mark[0] = r->fed, r->mark[1] = r->test->http2 ? r->fed + in->size : r->fed;
    r->marked = 0;
    if (r->mode == TRAILING && is_last)
        wire_put(in, r->trailing.data, r->trailing.size);
    size_t at = 0;
    do {
        size_t left = in->size - at, part = left;
        if (r->mode == OCTETS && left)
            part = 1;
        if (r->mode == RANDOM && left)
            part = 1 + next_random(r) % (1u << next_random(r) % 12);
        part = part < left ? part : left;
        consume(r, in->data + at, part);
        at += part;
    } while (at < in->size && !r->closed);
    in->size = r->trailing.size = 0;
}

static void add_input(struct run *r, const char *line) {
    size_t before = r->input.size, mark = SIZE_MAX;
    int marked = line[1] == '^';
    line += 1 + marked;
    line += *line == ' ';
    if (!*line)
        return;
    if (r->test->http2)
        wire_frame(&r->input, line);
    else
        wire_text(&r->input, line, strlen(line), &mark);
    if (!marked && mark == SIZE_MAX)
        return;
    r->marked = 1;
    r->mark[0] = r->fed + (marked ? before : mark);
    r->mark[1] = marked ? r->fed + r->input.size : r->mark[0];
}

// ---- calls -------------------------------------------------------------------------------------

struct call {
    struct cno_header_t list[FIELDS];
    char *texts[2 * FIELDS + 4];
    size_t count, text_count;
    struct cno_buffer_t reason, last;  // last: the last word that is no field
    int final;
};

static struct cno_buffer_t text(struct call *call, const char *escaped, size_t size) {
    struct wire w = {0};
    size_t mark;
    wire_text(&w, escaped, size, &mark);
    char *exact = malloc(w.size ? w.size : 1);
    if (w.size)
        memcpy(exact, w.data, w.size);
    call->texts[call->text_count++] = exact;
    struct cno_buffer_t view = {exact, w.size};
    wire_free(&w);
    return view;
}

// The rest of a call: `final`, fields, and what is neither. `120*name=value` is a field 120 times.
static void arguments(struct call *call, const char *line) {
    size_t size;
    for (const char *part; (part = wire_word(&line, &size));) {
        char *star;
        unsigned long times = strtoul(part, &star, 10);
        if (star == part || *star != '*')
            times = 1, star = (char *)part - 1;
        const char *equals = memchr(part, '=', size), *name = star + 1;
        if (wire_is(part, size, "final"))
            call->final = 1;
        else if (!strncmp(part, "reason=", 7))
            call->reason = text(call, part + 7, size - 7);
        else if (!equals)
            call->last = text(call, part, size);
        else
            for (struct cno_buffer_t n = text(call, name, (size_t)(equals - name)),
                                     v = text(call, equals + 1, (size_t)(part + size - equals - 1));
                 times--;)
                call->list[call->count++] = (struct cno_header_t){n, v, 0, 0};
    }
}

static int write_body(struct run *r, struct call *call, uint32_t id, const char *line, int final) {
    line += *line == ' ';
    struct cno_buffer_t body = text(call, line, strlen(line));
    int taken = cno_write_data(&r->c, id, body.data, body.size, final);
    if (taken >= 0 && (size_t)taken != body.size)
        begin(r, "taken %lu", (unsigned long)taken, 0);
    return taken;
}

static int configure(struct run *r, const char *line) {
    char name[32];
    unsigned long value = 0;
    struct cno_settings_t s =
        cno_version(&r->c) == CNO_HTTP2 ? r->c.pending : r->c.settings[CNO_LOCAL];
    struct {
        const char *name;
        uint32_t *at;
    } all[] = {{"header_table_size", &s.header_table_size},
               {"enable_push", &s.enable_push},
               {"max_concurrent_streams", &s.max_concurrent_streams},
               {"initial_window_size", &s.initial_window_size},
               {"max_frame_size", &s.max_frame_size},
               {"max_header_list_size", &s.max_header_list_size},
               {"enable_connect_protocol", &s.enable_connect_protocol},
               {"no_rfc7540_priorities", &s.no_rfc7540_priorities}};
    int found = 0;
    sscanf(line, "%31s %lu", name, &value);
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (!strcmp(all[i].name, name))
            *all[i].at = (uint32_t)value, found = 1;
    if (!found)
        printf("no such setting: %s\n", line), exit(2);
    return cno_configure(&r->c, &s);
}

static int limit(struct run *r, const char *line) {
    char name[32];
    unsigned long value = 0;
    struct cno_limits_t l = {0};
    struct {
        const char *name;
        uint32_t *at;
    } all[] = {{"fields", &l.fields},       {"line", &l.line},
               {"head", &l.head},           {"drain", &l.drain},
               {"pipelined", &l.pipelined}, {"connection_window", &l.connection_window},
               {"promises", &l.promises},   {"resets", &l.resets},
               {"overhead", &l.overhead}};
    int found = 0;
    sscanf(line, "%31s %lu", name, &value);
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (!strcmp(all[i].name, name))
            *all[i].at = (uint32_t)value, found = 1;
    if (!found)
        printf("no such limit: %s\n", line), exit(2);
    return cno_limit(&r->c, &l);
}

static int call_head(struct run *r, struct call *call, uint32_t id, const char *kind,
                     const char *line) {
    struct cno_message_t msg = {0};
    size_t size;
    const char *part;
    if (!strcmp(kind, "request") || !strcmp(kind, "push")) {
        part = wire_word(&line, &size);
        msg.method = text(call, part, size);
        part = wire_word(&line, &size);
        msg.path = text(call, part, size);
    } else {
        msg.code = (int)strtol(line, (char **)&line, 10);
    }
    arguments(call, line);
    msg.headers = call->list;
    msg.headers_len = call->count;
    if (msg.code)
        msg.method = call->reason;
    if (!strcmp(kind, "push"))
        return cno_write_push(&r->c, id, &msg);
    if (strcmp(kind, "message"))
        return cno_write_head(&r->c, id, &msg, call->final);
    int taken = cno_write_message(&r->c, id, &msg, call->last.data, call->last.size, call->final);
    if (taken >= 0 && (size_t)taken != call->last.size)
        begin(r, "taken %lu", (unsigned long)taken, 0);
    return taken;
}

static void make_call(struct run *r, const char *line) {
    struct call call = {.count = 0};
    char kind[16] = "";
    int used = 0, result = 0;
    sscanf(line, "%15s%n", kind, &used);
    line += used + (line[used] == ' ');
    char *rest = (char *)line;
    uint32_t id = (uint32_t)strtoul(line, &rest, 10);
    if (!strcmp(kind, "head") || !strcmp(kind, "request") || !strcmp(kind, "message") ||
        !strcmp(kind, "push")) {
        result = call_head(r, &call, id, kind, rest);
    } else if (!strcmp(kind, "data") || !strcmp(kind, "last")) {
        result = write_body(r, &call, id, rest, !strcmp(kind, "last"));
    } else if (!strcmp(kind, "tail")) {
        arguments(&call, rest);
        result = cno_write_tail(&r->c, id, &(struct cno_tail_t){call.list, call.count});
    } else if (!strcmp(kind, "reset")) {
        rest += *rest == ' ';
        result = cno_write_reset(&r->c, id, (int)WIRE_NAMED(rest, strlen(rest), WIRE_CODES));
    } else if (!strcmp(kind, "open")) {
        result = cno_open_flow(&r->c, id, (uint32_t)strtoul(rest, NULL, 10));
    } else if (!strcmp(kind, "ping")) {
        result = cno_write_ping(&r->c, line);
    } else if (!strcmp(kind, "priority")) {
        struct cno_priority_t priority = cno_priority(&r->c, id);
        on_priority(r, id, &priority);
    } else if (!strcmp(kind, "set")) {
        result = configure(r, line);
    } else if (!strcmp(kind, "announce") || !strcmp(kind, "shutdown")) {
        result = cno_shutdown(&r->c, !strcmp(kind, "shutdown"));
    } else if (!strcmp(kind, "eof")) {
        result = cno_eof(&r->c);
        r->closed = 1;
    } else {
        printf("no such call: %s\n", kind);
        exit(2);
    }
    if (result < 0)
        failed_call(r);
    while (call.text_count)
        free(call.texts[--call.text_count]);
}

// ---- a case ------------------------------------------------------------------------------------

static void set_up(struct run *r, const char *line, int *http2) {
    if (!strcmp(line, "role client"))
        r->c.kind = CNO_CLIENT;
    else if (!strcmp(line, "http1") || !strcmp(line, "http2"))
        *http2 = line[4] == '2';
    else if (!strcmp(line, "no-prior-knowledge"))
        r->c.options |= CNO_NO_PRIOR_KNOWLEDGE;
    else if (!strcmp(line, "offer-upgrade"))
        r->c.options |= CNO_OFFER_UPGRADE;
    else if (!strcmp(line, "h2c"))
        r->c.options |= CNO_H2C_UPGRADE;
    else if (!strcmp(line, "manual-flow"))
        r->c.options |= CNO_MANUAL_FLOW;
    else if (!strcmp(line, "manual-connection-flow"))
        r->c.options |= CNO_MANUAL_FLOW | CNO_MANUAL_CONNECTION_FLOW;
    else if (!strcmp(line, "bare"))
        r->bare = 1;
    else if (!strncmp(line, "peer ", 5))
        wire_put(&r->peer, line + 4, strlen(line + 4));
    else if (!strncmp(line, "set ", 4))
        configure(r, line + 4);
    else if (!strncmp(line, "limit ", 6) && limit(r, line + 6))
        failed_call(r);
    else if (strncmp(line, "limit ", 6) && strcmp(line, "whole") && strncmp(line, "xfail", 5))
        printf("no such setup: %s\n", line), exit(2);
}

static void shake_hands(struct run *r, int http2) {
    char settings[256];
    if (cno_begin(&r->c, http2 ? CNO_HTTP2 : CNO_HTTP1))
        failed_call(r);
    if (!http2 || r->bare)
        return;
    snprintf(settings, sizeof(settings), "SETTINGS 0 -%s", r->peer.size ? r->peer.data : "");
    if (r->c.kind == CNO_SERVER)
        wire_put(&r->input, WIRE_PREFACE, strlen(WIRE_PREFACE));
    wire_frame(&r->input, settings);
    wire_frame(&r->input, "SETTINGS 0 ACK");
    consume(r, r->input.data, r->input.size);
    r->input.size = 0;
    r->skip = 1;
    compare(r, r->test->lines[0].number);
}

// A connection that was not closed is alive.
static void probe(struct run *r, int line) {
    if (r->closed || cno_version(&r->c) != CNO_HTTP2 || !r->test->http2)
        return;
    wire_frame(&r->input, "PING 0 - t:are\\suok?");
    consume(r, r->input.data, r->input.size);
    want(&r->want_out, "PING 0 ACK are\\suok?");
    compare(r, line);
}

static int run_case(const struct test *test, enum MODE mode, uint32_t seed) {
    struct run *r = calloc(1, sizeof(*r));
    int begun = 0, http2 = test->http2, number = 0;
    size_t last_input = 0;
    r->test = test;
    r->mode = mode;
    r->random = seed * 7919;
    cno_init(&r->c, CNO_SERVER);
    r->c.cb_code = &EVENTS;
    r->c.cb_data = r;
    cno_hpack_init(&r->decoder, 4096);
    for (size_t i = 0; i < test->count; i++)
        if (test->lines[i].text[0] == '>')
            last_input = i;
    for (size_t i = 0; i < test->count && !r->failed; i++) {
        const char *line = test->lines[i].text;
        char next = i + 1 < test->count ? test->lines[i + 1].text[0] : 0;
        number = test->lines[i].number;
        if (line[0] == '@') {
            set_up(r, line + 2, &http2);
            continue;
        }
        if (!begun++)
            shake_hands(r, http2);
        if (line[0] == '>') {
            add_input(r, line);
        } else if (line[0] == '+' && test->http2) {
            wire_frame(&r->trailing, line + 2);
        } else if (line[0] == '+') {
            wire_text(&r->trailing, line + 2, strlen(line + 2), &(size_t){0});
        } else if (line[0] == '!') {
            make_call(r, line + 2);
        } else {
            expect(r, line + 2);
        }
        if ((line[0] == '>' || line[0] == '+') && next != '>' && next != '+')
            feed(r, i >= last_input);
        if (line[0] == '<' && next != '<')
            compare(r, number);
    }
    if (!r->failed)
        compare(r, number);
    if (!r->failed)
        probe(r, number);
    cno_eof(&r->c);
    int failed = r->failed;
    cno_fini(&r->c);
    cno_hpack_fini(&r->decoder);
    struct wire *all[] = {&r->events,   &r->out,         &r->peer,    &r->input,
                          &r->trailing, &r->want_events, &r->want_out};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        wire_free(all[i]);
    free(r);
    return failed;
}

static void run_all_ways(const struct test *test) {
    int failed = run_case(test, WHOLE, 0);
    if (!test->whole && !failed) {
        failed = run_case(test, OCTETS, 0);
        for (uint32_t seed = 1; seed <= CUTS && !failed; seed++)
            failed = run_case(test, RANDOM, seed);
    }
    if (test->has_trailing && !failed)
        failed = run_case(test, TRAILING, 0);
    if (test->xfail && !failed)
        printf("%s: %s passes, but is marked: %s\n", test->file, test->name, test->xfail);
    failed = test->xfail ? !failed : failed;
    *(failed ? &checks_failed : &checks_passed) += 1;
}

// ---- files -------------------------------------------------------------------------------------

static void add_line(struct test *test, struct wire *text, int number) {
    if (!(test->count & (test->count - 1)))
        test->lines =
            realloc(test->lines, (test->count ? test->count * 2 : 1) * sizeof(struct line));
    test->lines[test->count++] = (struct line){text->data, number};
    test->has_trailing |= text->data[0] == '+';
    test->whole |= !strcmp(text->data, "@ whole");
    if (!strncmp(text->data, "@ xfail ", 8) || !strncmp(text->data, "@ xfail-c ", 10))
        test->xfail = text->data + 8;
    *text = (struct wire){0};
}

// `$` and `$+N` in a line of a loop.
static void add_round(struct test *test, const char *line, int number, unsigned long value) {
    struct wire text = {0};
    for (; *line; line++) {
        char digits[24];
        unsigned long more = 0;
        if (*line != '$') {
            wire_put(&text, line, 1);
            continue;
        }
        if (line[1] == '+') {
            char *end;
            more = strtoul(line + 2, &end, 10);
            line = end - 1;
        }
        wire_put(&text, digits, (size_t)snprintf(digits, sizeof(digits), "%lu", value + more));
    }
    add_line(test, &text, number);
}

static void finish_case(struct test *test) {
    if (test->name)
        run_all_ways(test);
    for (size_t i = 0; i < test->count; i++)
        free(test->lines[i].text);
    free(test->lines);
    free(test->name);
    *test = (struct test){.file = test->file, .http2 = test->http2};
}

static void run_file(const char *path) {
    struct test test = {.file = path, .http2 = strstr(path, "/h2/") != NULL};
    FILE *file = fopen(path, "r");
    char *line = NULL, *body[64];
    size_t room = 0, in_loop = 0;
    int looping = 0, number = 0;
    unsigned long times = 0, first = 0, step = 0;
    while (file && getline(&line, &room, file) > 0) {
        number++;
        line[strcspn(line, "\n")] = 0;
        if (!line[0] || line[0] == '#')
            continue;
        if (!strncmp(line, "== ", 3)) {
            finish_case(&test);
            test.name = strdup(line + 3);
        } else if (sscanf(line, "loop %lu %lu %lu", &times, &first, &step) == 3) {
            looping = 1;
        } else if (!strcmp(line, "end")) {
            for (unsigned long i = 0; i < times; i++)
                for (size_t k = 0; k < in_loop; k++)
                    add_round(&test, body[k], number, first + i * step);
            while (in_loop)
                free(body[--in_loop]);
            looping = 0;
        } else if (looping) {
            body[in_loop++] = strdup(line);
        } else {
            struct wire text = {0};
            wire_put(&text, line, strlen(line));
            add_line(&test, &text, number);
        }
    }
    finish_case(&test);
    free(line);
    CHECK(file != NULL);
    if (file)
        fclose(file);
}

int main(int argc, char **argv) {
    glob_t found = {0};
    if (argc > 1) {
        for (int i = 1; i < argc; i++)
            run_file(argv[i]);
        return finish();
    }
    CHECK(!glob("tests/vectors/h1/*.txt", 0, NULL, &found));
    CHECK(!glob("tests/vectors/h2/*.txt", GLOB_APPEND, NULL, &found));
    for (size_t i = 0; i < found.gl_pathc; i++)
        run_file(found.gl_pathv[i]);
    globfree(&found);
    return finish();
}
