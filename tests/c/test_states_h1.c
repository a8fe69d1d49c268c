// Every phase of an HTTP/1 exchange times every kind of input times every call, for both roles. The tables
// are written from RFC 9112 and core.h. Behind each step: what is open can be ended, and where nothing was
// to change, the exchange goes on and the next one is served.
#include "states.h"

static const struct {
    const char *octets;
    size_t size;
} INPUTS[] = {
#define INPUT(text) \
    { text, sizeof(text) - 1 }
    INPUT("GET / HTTP/1.1\r\nHost: h\r\n\r\n"),             // REQ
    INPUT("ab"),                                            // BODY
    INPUT("2\r\nab\r\n"),                                   // CHUNK
    INPUT("0\r\n\r\n"),                                     // LAST
    INPUT("\r\n"),                                          // CRLF
    INPUT("\n"),                                            // LF
    INPUT("\0"),                                            // NUL
    INPUT("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),  // RESP, with no body
    INPUT("HTTP/1.1 200 OK\r\n\r\n"),                       // OPEN, until the end
    INPUT("HTTP/1.1 103 Early Hints\r\n\r\n"),              // 1XX
    INPUT(""),                                              // NONE, an empty read
};

static const char *const SERVER_CALLS[] = {"interim",  "head",     "whole", "message", "data",
                                           "last",     "tail",     "push",  "reset",   "open",
                                           "announce", "shutdown", "ping",  "eof"};
static const char *const CLIENT_CALLS[] = {"head",     "get",  "message", "data", "last",
                                           "tail",     "push", "reset",   "open", "announce",
                                           "shutdown", "ping", "eof"};

// A phase: how it is reached, what ends the message that is being read, and whether we have still to write.
struct phase {
    const char *name;
    uint32_t id;
    enum { NOTHING, ALL, REST } to_write;
    const char *setup;  // `>` octets or `!` call, between tabs
    const char *rest;
    const char *inputs, *calls;
};

#define POST_4 "> POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"
#define POST_CHUNKED "> POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
#define GET "> GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define ANSWER_4 "> HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
#define ANSWER_CHUNKED "> HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

// clang-format off
// What input does: events (see happened()), `-` for nothing, X400 for an answer with that status and the
// end, X for the end alone. Calls as in states_h2.h: I is a 1xx head, H a head, B a body or a part of it.

//                       REQ    BODY CHUNK    LAST     CRLF LF   NUL      RESP  OPEN  1XX   NONE
#define KEPT            "-      -    -        -        -    -    -        -     -     -     -"
#define IN_CHUNK_LINE   "X400   -    d        t        X400 X400 -|X400   X400  X400  X400  -"
#define IN_CHUNK        "X400   d    X400     X400     d    d    d        X400  X400  X400  -"
#define IN_CHUNK_END    "X400   X400 X400     X400     -    X400 X400     X400  X400  X400  -"
#define IN_TRAILERS     "X400   -    -|X400   X400     t    X400 -|X400   X400  X400  X400  -"

//                       1xx head whole  msg     data last tail push reset  open ann stop ping eof
#define NOT_BEGUN       "!G  !G   !G     !G      !G   !G   !G   =    !G     =    =+c =+c  =    =+c"
#define UNTOLD          "!A  !A   !A     !A      !A   !A   !A   =    =+ec   =    =   =    =    !P"
#define UNANSWERED      "=I  =H   =H     =HB     !A   !A   !A   =    =+ec   =    =   =    =    !P"
#define UNANSWERED_READ "=I  =H   =H+e   =HB+e   !A   !A   !A   =    =+ec   =    =   =    =    !P"
#define ANSWERING       "!A  !A   !A     !A      =B   =B   =B   =    =+ec   =    =   =    =    !P"
#define ANSWERING_READ  "!A  !A   !A     !A      =B   =B+e =B+e =    =+ec   =    =   =    =    !P"
#define ANSWERED        "!G  !G   !G     !G      !G   !G   !G   =    =+ec   =    =   =    =    !P"

static const struct phase SERVER[] = {
    {"start", 1, NOTHING, "", "",
     "sht s s X400 - X400 s|X400 X400 X400 X400 -", NOT_BEGUN},
    {"start, after blank lines", 1, NOTHING, "> \r\n\r\n", "",
     "sht s s X400 - X400 s|X400 X400 X400 X400 -", NOT_BEGUN},
    {"in the request line", 1, ALL, "> GET / HT", "TP/1.1\r\nHost: h\r\n\r\n",
     "X400 - -|X400 X400 -|X400 X400|- -|X400 X400 X400 X400 -", UNTOLD},
    {"in the head", 1, ALL, "> GET / HTTP/1.1\r\nHost: h\r\n", "\r\n",
     "X400 - -|X400 X400 ht X400 -|X400 X400 X400 X400 -", UNTOLD},
    {"before a body", 1, ALL, POST_4, "abcd", "dt d dt dt d d d dt dt dt -", UNANSWERED},
    {"in a body", 1, ALL, POST_4 "ab", "cd", "dt dt dt dt dt d d dt dt dt -", UNANSWERED},
    {"in a body, 1xx written", 1, ALL, POST_4 "ab\t! interim 1", "cd",
     "dt dt dt dt dt d d dt dt dt -", UNANSWERED},
    {"in a body, answering", 1, REST, POST_4 "ab\t! head 1", "cd",
     "dt dt dt dt dt d d dt dt dt -", ANSWERING},
    {"in a body, answered", 1, NOTHING, POST_4 "ab\t! whole 1", "cd",
     "dtesht dte X400 X400 dte d d X400 X400 X400 -", ANSWERED},
    {"before a chunk", 1, ALL, POST_CHUNKED, "0\r\n\r\n", IN_CHUNK_LINE, UNANSWERED},
    {"in a chunk-size line", 1, ALL, POST_CHUNKED "2;", "a\r\nxx\r\n0\r\n\r\n",
     "X400 - d|X400 d|X400 X400|- X400 -|X400 X400 d|X400 d|X400 -", UNANSWERED},
    {"in a chunk", 1, ALL, POST_CHUNKED "4\r\n", "abcd\r\n0\r\n\r\n", IN_CHUNK, UNANSWERED},
    {"behind a chunk", 1, ALL, POST_CHUNKED "1\r\na", "\r\n0\r\n\r\n", IN_CHUNK_END, UNANSWERED},
    {"between chunks", 1, ALL, POST_CHUNKED "1\r\na\r\n", "0\r\n\r\n", IN_CHUNK_LINE, UNANSWERED},
    {"between chunks, answering", 1, REST, POST_CHUNKED "1\r\na\r\n\t! head 1", "0\r\n\r\n",
     "X - d t X X -|X X X X -", ANSWERING},
    {"in the trailers", 1, ALL, POST_CHUNKED "0\r\n", "\r\n", IN_TRAILERS, UNANSWERED},
    {"in the trailers, after a field", 1, ALL, POST_CHUNKED "0\r\na: b\r\n", "\r\n", IN_TRAILERS,
     UNANSWERED},
    {"read", 1, ALL, GET, "", KEPT, UNANSWERED_READ},
    {"read, with a body", 1, ALL, POST_4 "abcd", "", KEPT, UNANSWERED_READ},
    {"read, with trailers", 1, ALL, POST_CHUNKED "0\r\na: b\r\n\r\n", "", KEPT, UNANSWERED_READ},
    {"read, 1xx written", 1, ALL, GET "\t! interim 1", "", KEPT, UNANSWERED_READ},
    {"read, answering", 1, REST, GET "\t! head 1", "", KEPT, ANSWERING_READ},
    {"read, in the answer's body", 1, REST, GET "\t! head 1\t! data 1", "", KEPT, ANSWERING_READ},
    {"over", 1, NOTHING, GET "\t! whole 1", "",
     "sht s s X400 - X400 s|X400 X400 X400 X400 -", NOT_BEGUN},
    {"over, by the body's end", 1, NOTHING, POST_4 "\t! whole 1\t> abcd", "",
     "sht s s X400 - X400 s|X400 X400 X400 X400 -", NOT_BEGUN},
    {"the next, read", 3, ALL, GET "\t! whole 1\t" GET, "", KEPT, UNANSWERED_READ},
    {"the next waits", 1, ALL, GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n", NULL, KEPT,
     "=I =H =H+e =HB+e !A !A !A = =+ec = = = = !P"},
    {"the last, read", 1, ALL, "> GET / HTTP/1.0\r\n\r\n", NULL, KEPT,
     "= =H =H+ec =HB+ec !A !A !A = =+ec = = = = !P"},
    {"the last, answering", 1, REST,
     "> GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\t! head 1", NULL, KEPT,
     "!A !A !A !A =B =B+ec =B+ec = =+ec = = = = !P"},
    {"the last, in its body", 1, ALL,
     "> POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\nab", NULL,
     "dt dt dt dt dt d d dt dt dt -", "=I =H =H+ec =HB+ec !A !A !A = =+ec = = = = !P"},
    {"read, shutdown", 1, ALL, GET "\t! shutdown 0", NULL, KEPT,
     "=I =H =H+ec =HB+ec !A !A !A = =+ec = = = = !P"},
};

//                       REQ BODY CHUNK LAST CRLF LF NUL RESP OPEN 1XX NONE
#define UNSOLICITED     "X   X    X     X    X    X  X   X    X    X   -"
#define AWAITED         "X   X|-  X|-   X    X|-  X  X|- hte  h    h   -"
#define AWAITED_EARLY   "X   X|-  X|-   X    X|-  X  X|- ht   h    h   -"

//                       head get msg  data last tail push reset open ann  stop ping eof
#define ASKED           "!G   !G  !G   !G   !G   !G   =    =+ec  =    =    =    =    !P"
#define ASKING          "!A   !A  !A   =B   =B   =B   =    =+ec  =    =    =    =    !P"
#define CAME_EARLY      "!A   !A  !A   =B   =B+e =B+e =    =+ec  =    =    =    =    !P"

static const struct phase CLIENT[] = {
    {"no request", 1, NOTHING, "", "", UNSOLICITED,
     "=H+s =H+s =HB+s !G !G !G = !G = =+c =+c = =+c"},
    {"asked", 1, NOTHING, "! get 1", "HTTP/1.1 204 N\r\n\r\n", AWAITED, ASKED},
    {"asked, 1xx came", 1, NOTHING, "! get 1\t> HTTP/1.1 103 E\r\n\r\n",
     "HTTP/1.1 204 N\r\n\r\n", AWAITED, ASKED},
    {"asked with a body", 1, NOTHING, "! head 1\t! last 1", "HTTP/1.1 204 N\r\n\r\n", AWAITED,
     ASKED},
    {"asking", 1, REST, "! head 1", "HTTP/1.1 204 N\r\n\r\n", AWAITED_EARLY, ASKING},
    {"asking, in the body", 1, REST, "! head 1\t! data 1", "HTTP/1.1 204 N\r\n\r\n",
     AWAITED_EARLY, ASKING},
    {"in the head", 1, NOTHING, "! get 1\t> HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "\r\n",
     "X - -|X X hte X -|X X X X -", ASKED},
    {"in a body", 1, NOTHING, "! get 1\t" ANSWER_4 "ab", "cd",
     "X dte X X dte d d X X X -", ASKED},
    {"asking, in a body", 1, REST, "! head 1\t" ANSWER_4 "ab", "cd",
     "X dt X X dt d d X X X -", ASKING},
    {"before a chunk", 1, NOTHING, "! get 1\t" ANSWER_CHUNKED, "0\r\n\r\n",
     "X - d te X X -|X X X X -", ASKED},
    {"in a chunk", 1, NOTHING, "! get 1\t" ANSWER_CHUNKED "4\r\n", "abcd\r\n0\r\n\r\n",
     "X d X X d d d X X X -", ASKED},
    {"behind a chunk", 1, NOTHING, "! get 1\t" ANSWER_CHUNKED "1\r\na", "\r\n0\r\n\r\n",
     "X X X X - X X X X X -", ASKED},
    {"in the trailers", 1, NOTHING, "! get 1\t" ANSWER_CHUNKED "0\r\n", "\r\n",
     "X - -|X X te X -|X X X X -", ASKED},
    {"until the end", 1, NOTHING, "! get 1\t> HTTP/1.1 200 OK\r\n\r\n", NULL,
     "d d d d d d d d d d -", "!G !G !G !G !G !G = =+ec = = = = =+tec"},
    {"asking, until the end", 1, REST, "! head 1\t> HTTP/1.1 200 OK\r\n\r\n", NULL,
     "d d d d d d d d d d -", "!A !A !A =B =B =B = =+ec = = = = !P"},
    // Section 9.2: what comes behind the response is no response to a request that is not made yet.
    {"asking, answered", 1, REST, "! head 1\t> HTTP/1.1 204 N\r\n\r\n", "",
     UNSOLICITED, CAME_EARLY},
    {"over", 1, NOTHING, "! get 1\t> HTTP/1.1 204 N\r\n\r\n", "", UNSOLICITED,
     "!G !G !G !G !G !G = !G = =+c =+c = =+c"},
    {"over, the last", 1, NOTHING, "! get 1\t! shutdown 0", NULL,
     "X X|- X|- X X|- X X|- htec h h -", ASKED},
};
// clang-format on

// ---- steps -------------------------------------------------------------------------------------

static int octet_wise;

// What was written since, as letters: I and H heads, B anything else.
static void read_text(struct watched *w) {
    const char *at = w->out.data ? w->out.data + w->read : "", *end = at + (w->out.size - w->read);
    w->read = w->out.size;
    while (at < end) {
        int head = end - at > 12 && (!memcmp(at, "HTTP/1.1 ", 9) || !memcmp(at, "POST ", 5) ||
                                     !memcmp(at, "GET ", 4));
        const char *blank = head ? strstr(at, "\r\n\r\n") : NULL;
        if (head && !CHECK(blank != NULL))
            return;
        if (head && at[0] == 'H' && at[9] >= '4')
            w->goaway_code = atoi(at + 9);
        note(w->frames, sizeof(w->frames), !head ? 'B' : at[0] == 'H' && at[9] == '1' ? 'I' : 'H');
        at = head ? blank + 4 : end;
    }
}

static int feed(struct watched *w, const char *octets, size_t size) {
    int r = CNO_OK;
    size_t at = 0;
    do {
        size_t part = octet_wise && size ? 1 : size;
        r = w->c.mode == CNO_MODE_OVER && at ? CNO_OK : cno_consume(&w->c, octets + at, part);
        at += part;
    } while (at < size && !r);
    read_text(w);
    return r;
}

static int do_call(struct watched *w, const char *what, uint32_t id) {
    int r = call(w, what, id);
    read_text(w);
    return r;
}

static struct watched *begin(const struct phase *phase, enum CNO_CONNECTION_KIND kind,
                             const char *name) {
    struct watched *w = watch(kind, name);
    CHECK(!cno_begin(&w->c, CNO_HTTP1));
    for (const char *at = phase->setup; *at;) {
        size_t size = strcspn(at, "\t");
        if (at[0] == '>') {
            CHECK(!feed(w, at + 2, size - 2));
        } else {
            char what[32];
            snprintf(what, sizeof(what), "%.*s", (int)strcspn(at + 2, " "), at + 2);
            CHECK(!do_call(w, what, (uint32_t)atoi(strchr(at + 2, ' '))));
        }
        at += size + (at[size] == '\t');
    }
    step(w);
    return w;
}

static int is_over(const struct watched *w) {
    return w->c.mode == CNO_MODE_OVER;
}

// ---- outcomes ----------------------------------------------------------------------------------

static int came_to(const struct watched *w, int result, const char *outcome) {
    if (outcome[0] == 'X')
        return result == CNO_ERROR && cno_error()->code == CNO_ERRNO_PROTOCOL && is_over(w) &&
               w->closed && w->faulted == 1 &&
               (outcome[1] ? w->goaway_code == atoi(outcome + 1) : !w->frames[0]);
    return !result && !w->frames[0] && !strcmp(w->events, outcome[0] == '-' ? "" : outcome);
}

static int answered(const struct watched *w, int result, const char *outcome) {
    if (outcome[0] == '!')
        return result == CNO_ERROR && errno_letter(cno_error()->code) == outcome[1] &&
               !w->frames[0] && (outcome[1] == 'P' || !w->events[0]);
    char frames[16];
    size_t size = strcspn(outcome + 1, "+");
    snprintf(frames, sizeof(frames), "%.*s", (int)size, outcome + 1);
    const char *events = outcome + 1 + size;
    return !result && !strcmp(w->frames, frames) && !strcmp(w->events, events + (*events == '+'));
}

static int is_dead(struct watched *w) {
    step(w);
    int dead = cno_consume(&w->c, "x", 1) == CNO_ERROR &&
               cno_error()->code == CNO_ERRNO_DISCONNECT && call(w, "head", 1) == CNO_ERROR &&
               call(w, "data", 1) == CNO_ERROR && call(w, "shutdown", 0) == CNO_OK;
    read_text(w);
    return dead && !w->events[0] && !w->frames[0];
}

// Goes on as if nothing had happened: to the end of this exchange, and through the next.
static int goes_on(struct watched *w, const struct phase *phase) {
    int right = !phase->rest[0] || !feed(w, phase->rest, strlen(phase->rest));
    if (phase->to_write == ALL)
        right = right && !do_call(w, "whole", phase->id);
    else if (phase->to_write == REST)
        right = right && !do_call(w, "last", phase->id);
    right = right && !w->live && !is_over(w);
    step(w);
    if (w->c.kind == CNO_SERVER) {
        uint32_t next = w->c.last_stream[CNO_REMOTE] ? w->c.last_stream[CNO_REMOTE] + 2 : 1;
        return right && !feed(w, INPUTS[0].octets, INPUTS[0].size) && !do_call(w, "whole", next) &&
               !strcmp(w->events, "shte") && !strcmp(w->frames, "H");
    }
    return right && !do_call(w, "get", cno_next_stream(&w->c)) &&
           !feed(w, INPUTS[7].octets, INPUTS[7].size) && !strcmp(w->events, "shte") &&
           !strcmp(w->frames, "H");
}

static int after(struct watched *w, const struct phase *phase, int unchanged) {
    int right = !w->illegal && w->c.depth == 0 && !w->c.dead &&
                (int)(w->c.stream_count[CNO_LOCAL] + w->c.stream_count[CNO_REMOTE]) == w->live;
    if (is_over(w))
        return right && !w->live && is_dead(w);
    if (unchanged && phase->rest)
        right = right && goes_on(w, phase) && !w->illegal;
    for (uint32_t id = 1; id < STATES_IDS; id++)
        if (w->started[id] && !w->ended[id] && !is_over(w))
            right = right && !do_call(w, "reset", id) && w->ended[id] == 1 && w->closed;
    if (!is_over(w))
        right = right && !do_call(w, "eof", 0);
    return right && w->closed == 1 && !w->live && !w->illegal;
}

static void report(const struct watched *w, const char *expected, size_t size, int result) {
    printf("  %s: expected %.*s; result %d %s, events %s, written %s %d\n", w->name, (int)size,
           expected, result, result ? cno_error()->reason : "", w->events, w->frames,
           w->goaway_code);
}

// ---- all of it ---------------------------------------------------------------------------------

static void try_step(const struct phase *phase, enum CNO_CONNECTION_KIND kind, int input,
                     const char *what, const char *expected, size_t size) {
    char name[128], one[16];
    snprintf(name, sizeof(name), "%s: %s: %s", kind == CNO_SERVER ? "server" : "client",
             phase->name,
             what                 ? what
             : INPUTS[input].size ? INPUTS[input].octets
                                  : "an empty read");
    struct watched *w = begin(phase, kind, name);
    const struct cno_stream_t *s = cno__stream_find(&w->c, phase->id);
    struct cno_stream_t before = {0};
    if (s)
        before = *s;
    uint32_t next = cno_next_stream(&w->c);
    int fit = 0, result = what ? do_call(w, what, phase->id)
                               : feed(w, INPUTS[input].octets, INPUTS[input].size);
    const char *at = expected;
    for (size_t rest = size; !fit && alternative(&at, &rest, one, sizeof(one));)
        fit = what ? answered(w, result, one) : came_to(w, result, one);
    if (!CHECK(fit))
        report(w, expected, size, result);
    if (what && result && !is_over(w))
        CHECK(cno_next_stream(&w->c) == next && s == cno__stream_find(&w->c, phase->id) &&
              (!s || !memcmp(&before, s, sizeof(before))));
    if (!CHECK(after(w, phase, what ? result != 0 : !INPUTS[input].size)))
        report(w, "a connection in order", 21, result);
    unwatch(w);
}

static void test_phases(const struct phase *phases, size_t count, enum CNO_CONNECTION_KIND kind,
                        const char *const *calls, int calls_count) {
    int inputs = sizeof(INPUTS) / sizeof(*INPUTS);
    size_t size;
    for (size_t i = 0; i < count; i++) {
        for (octet_wise = 0; octet_wise < 2; octet_wise++)
            for (int k = 0; k < inputs; k++) {
                const char *expected = cell(phases[i].inputs, k, &size);
                if (CHECK(expected != NULL))
                    try_step(&phases[i], kind, k, NULL, expected, size);
            }
        octet_wise = 0;
        CHECK(!cell(phases[i].inputs, inputs, &size));
        for (int k = 0; k < calls_count; k++) {
            const char *expected = cell(phases[i].calls, k, &size);
            if (CHECK(expected != NULL))
                try_step(&phases[i], kind, 0, calls[k], expected, size);
        }
        CHECK(!cell(phases[i].calls, calls_count, &size));
    }
}

int main(void) {
    test_phases(SERVER, sizeof(SERVER) / sizeof(*SERVER), CNO_SERVER, SERVER_CALLS,
                sizeof(SERVER_CALLS) / sizeof(*SERVER_CALLS));
    test_phases(CLIENT, sizeof(CLIENT) / sizeof(*CLIENT), CNO_CLIENT, CLIENT_CALLS,
                sizeof(CLIENT_CALLS) / sizeof(*CLIENT_CALLS));
    return finish();
}
