// Tests of ws.h: every rule of RFC 6455 about frames, with input that comes whole, byte by byte, cut in
// two at each place, and with other bytes behind it; the two masks; what is sent; failing allocations.
#include "guard.h"

#include "check.h"
#include "config.h"
#include "ws.h"
#include "ws/mask.h"
#include "wsframes.h"

static struct guard guard;

enum { S = CNO_WS_SERVER, C = CNO_WS_CLIENT, Z = 16 };

struct example {
    int role;  // S or C, and Z where permessage-deflate was negotiated
    size_t max;
    const char *script, *told;
};

static const struct example EXAMPLES[] = {
    // Messages.
    {S, 100, "81 hello|82 \\xff\\x00", "text:hello;binary+8:\\xff\\x00;"},
    {C, 100, "81 hello|82 \\xff\\x00", "text:hello;binary+8:\\xff\\x00;"},
    {S, 100, "81|82|81 x", "text:;binary:;text:x;"},
    {S, 1000, "81*200 a", "text:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..200;"},
    {S, 70000, "82*70000 b", "binary:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb..70000;"},
    {S, 126, "81*125 c|81*126 d",
     "text:cccccccccccccccccccccccccccccccccccccccc..125;"
     "text:dddddddddddddddddddddddddddddddddddddddd..126;"},
    {S, 0, "81|82", "text:;binary:;"},
    // Fragments, with control frames between them.
    {S, 100, "01 he|00 l|80 lo", "text:hello;"},
    {S, 100, "01|00|00|80", "text:;"},
    {S, 100, "01|00|80 whole", "text:whole;"},
    {S, 100, "02 a|89 p|00 b|8a q|80 c|81 d", "ping:p;pong:q;binary:abc;text:d;"},
    {C, 100, "02 a|89 p|00 b|8a q|80 c|81 d", "ping:p;pong:q;binary:abc;text:d;"},
    {S, 100, "01 a|88 \\x03\\xe8|80 b", "close:1000:;"},
    // UTF-8, in one frame and across fragments.
    {S, 100, "81 \\xc3\\xa4", "text+8:\\xc3\\xa4;"},
    {S, 100, "01 \\xe2|00|00 \\x82|80 \\xac!", "text+8:\\xe2\\x82\\xac!;"},
    {S, 100, "81 \\xf4\\x8f\\xbf\\xbf\\xed\\x9f\\xbf\\xee\\x80\\x80",
     "text+8:\\xf4\\x8f\\xbf\\xbf\\xed\\x9f\\xbf\\xee\\x80\\x80;"},
    {S, 100, "81 abcdefgh\\xff", "bad-utf8:1007@14"},
    {S, 100, "01 \\xe2|80 x", "bad-utf8:1007@13"},
    {S, 100, "01 \\xe2\\x82|80", "bad-utf8:1007@14"},
    {S, 100, "81 a\\xe2\\x82", "bad-utf8:1007@9"},
    {S, 100, "01 \\xed\\xa0", "bad-utf8:1007@7"},
    {S, 100, "01 \\xf4\\x90", "bad-utf8:1007@7"},
    {S, 100, "01 \\xc0\\xaf", "bad-utf8:1007@6"},
    {S, 100, "01 \\xf0\\x80", "bad-utf8:1007@7"},
    {S, 100, "01 \\xf5", "bad-utf8:1007@6"},
    {S, 100, "01 ab\\x80", "bad-utf8:1007@8"},
    {S | Z, 100, "c1 \\xff|01 a|80 b|41 \\xff|80 \\xfe|c2 x",
     "text+z+8:\\xff;text:ab;text+z+8:\\xff\\xfe;binary+z:x;"},
    // The mask.
    {S, 100, "81m hello", "bad-mask:1002@1"},
    {C, 100, "81m hello", "bad-mask:1002@1"},
    {S, 100, "89m", "bad-mask:1002@1"},
    // RSV bits.
    {S, 100, "c1 a", "bad-bits:1002@0"},
    {S, 100, "a1 a", "bad-bits:1002@0"},
    {S, 100, "91 a", "bad-bits:1002@0"},
    {S | Z, 100, "a1 a", "bad-bits:1002@0"},
    {S | Z, 100, "91 a", "bad-bits:1002@0"},
    {S | Z, 100, "41 a|c0 b", "bad-bits:1002@7"},
    {S | Z, 100, "c9 a", "bad-bits:1002@0"},
    {S | Z, 100, "c8", "bad-bits:1002@0"},
    // Opcodes.
    {S, 100, "83", "bad-opcode:1002@0"},
    {S, 100, "84", "bad-opcode:1002@0"},
    {S, 100, "85", "bad-opcode:1002@0"},
    {S, 100, "86", "bad-opcode:1002@0"},
    {S, 100, "87", "bad-opcode:1002@0"},
    {S, 100, "8b", "bad-opcode:1002@0"},
    {S, 100, "8c", "bad-opcode:1002@0"},
    {S, 100, "8f", "bad-opcode:1002@0"},
    {S, 100, "81 a|8d", "text:a;bad-opcode:1002@7"},
    // The order of frames.
    {S, 100, "80 a", "no-message:1002@0"},
    {S, 100, "00 a", "no-message:1002@0"},
    {S, 100, "81 a|80 b", "text:a;no-message:1002@7"},
    {S, 100, "01 a|81 b", "interrupted-message:1002@7"},
    {S, 100, "02|02", "interrupted-message:1002@6"},
    // Control frames.
    {S, 100, "89*125 p|8a", "ping:pppppppppppppppppppppppppppppppppppppppp..125;pong:;"},
    {S, 100, "89*126 p", "bad-control:1002@1"},
    {S, 100, "88*126 p", "bad-control:1002@1"},
    {S, 100, "8aq a", "bad-control:1002@1"},
    {S, 100, "09 a", "bad-control:1002@0"},
    {S, 100, "08", "bad-control:1002@0"},
    // Lengths.
    {S, 100, "81w*125 a", "bad-length:1002@2"},
    {S, 100, "81w", "bad-length:1002@2"},
    {S, 70000, "81q*65535 a", "bad-length:1002@2"},
    {S, 100, "81q", "bad-length:1002@2"},
    {S, 100, "!\\x82\\xff\\x80\\x00\\x00\\x00\\x00\\x00\\x00\\x00", "bad-length:1002@2"},
    {S, (size_t)-1, "!\\x82\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff", "bad-length:1002@2"},
    // The limit of a message, which the header alone breaks.
    {S, 5, "81 hello|81- hello!", "text:hello;too-big:1009@12"},
    {S, 5, "01 hel|00|80- lo!", "too-big:1009@16"},
    {S, 5, "01 hel|80 lo", "text:hello;"},
    {S, 65535, "82-*65536 x", "too-big:1009@1"},
    {S, 100, "!\\x82\\xff\\x7f\\xff\\xff\\xff\\xff\\xff\\xff\\xff", "too-big:1009@1"},
    {S, 0, "01|89*125 p|80- x",
     "ping:pppppppppppppppppppppppppppppppppppppppp..125;too-big:1009@138"},
    {S | Z, 5, "41 hel|80- lo!", "too-big:1009@10"},
    // CLOSE, behind which nothing is read.
    {S, 100, "88|81 a|83", "close:1005:;"},
    {S, 100, "88 \\x03\\xe8bye|81 a|83", "close:1000:bye;"},
    {C, 100, "88 \\x03\\xe9\\xc3\\xa4", "close:1001:\\xc3\\xa4;"},
    {S, 100, "88 \\x03", "bad-close:1002@6"},
    {S, 100, "88 \\x03\\xe8\\xc3", "bad-utf8:1007@9"},
    {S, 100, "88 \\x03\\xe8a\\xff", "bad-utf8:1007@9"},
    {S, 100, "88 \\x03\\xed", "bad-close:1002@6"},
};

// Gives data[0..size) to an endpoint in pieces of `piece` bytes, the first one of `first` bytes.
static void consume(struct cno_ws_t *ws, struct log *l, const char *data, size_t size, size_t first,
                    size_t piece) {
    for (size_t at = 0, n = first; at < size; at += n, n = piece) {
        n = n < size - at ? n : size - at;
        const char *copy = size < 4096 ? guard_copy(&guard, data + at, n) : data + at;
        int taken = cno_ws_consume(ws, copy, n, NULL);
        if (taken < 0) {
            log_fault(l);
            CHECK(cno_error()->code == CNO_ERRNO_PROTOCOL);
            CHECK(cno_ws_consume(ws, "rest", 4, NULL) == 4);
            break;
        }
        CHECK((size_t)taken == n);
    }
}

static void run(const struct example *e, const struct frames *f, size_t first, size_t piece,
                int own_room) {
    struct log l = {.own_room = own_room};
    struct cno_ws_t *ws =
        cno_ws_new((enum CNO_WS_ROLE)(e->role & 1), e->max, e->role & Z ? CNO_WS_DEFLATE : 0);
    if (!CHECK(ws != NULL))
        return;
    ws->cb_code = own_room ? &LOG_ROOM : &LOG_PLAIN;
    ws->cb_data = &l;
    consume(ws, &l, f->data, f->size, first, piece);
    if (!CHECK(!strcmp(l.text, e->told)))
        printf("  %s: in pieces of %zu, %zu\n  %s\n  %s\n", e->script, first, piece, l.text,
               e->told);
    CHECK(ws->message.room <= CNO_WS_KEEP || ws->opcode);
    cno_ws_free(ws);
    cno__release(l.room);
}

static void test_examples(void) {
    for (size_t i = 0; i < sizeof(EXAMPLES) / sizeof(*EXAMPLES); i++) {
        const struct example *e = &EXAMPLES[i];
        struct frames f = frames_make((enum CNO_WS_ROLE)(e->role & 1), e->script);
        for (int own_room = 0; own_room < 2; own_room++) {
            run(e, &f, f.size, f.size, own_room);
            run(e, &f, 1, 1, own_room);
            run(e, &f, 7, 7, own_room);
            for (size_t cut = 1; cut < f.size && f.size < 300; cut++)
                run(e, &f, cut, f.size, own_room);
        }
        // Behind a fault or CLOSE nothing is told, whatever follows.
        if (strstr(e->told, "@") || strstr(e->told, "close:")) {
            frames_add(&f, "\x81\x80\0\0\0\0\x89\0", 8);
            run(e, &f, f.size, f.size, 1);
        }
        free(f.data);
    }
}

static void test_codes(void) {
    int bad = 0;
    for (uint32_t code = 0; code < 65536; code++) {
        int valid = (code >= 1000 && code < 1004) || (code >= 1007 && code < 1015) ||
                    (code >= 3000 && code < 5000);
        char payload[125], frame[8] = {(char)0x88, 2, (char)(code >> 8), (char)code};
        struct log l = {0};
        struct cno_ws_t ws;
        cno_ws_init(&ws, CNO_WS_CLIENT, 10, 0);
        ws.cb_code = &LOG_PLAIN;
        ws.cb_data = &l;
        bad += cno_ws_code_is_valid(code) != valid;
        bad += (cno_ws_consume(&ws, frame, 4, NULL) == 4) != valid;
        bad += l.told != valid;
        bad += (cno_ws_close(payload, code, "", 0) == 2) != valid && code != 1005;
    }
    CHECK(bad == 0);
}

// ---- room --------------------------------------------------------------------------------------

static void test_room(void) {
    struct log l = {0};
    struct cno_ws_t ws;
    cno_ws_init(&ws, CNO_WS_SERVER, 100, 0);
    ws.cb_code = &LOG_PLAIN;
    ws.cb_data = &l;
    struct frames f =
        frames_make(CNO_WS_SERVER, "89 p|81 one|81 two|8a q|01 thr|8a r|80 ee|89 s|82");
    struct cno_ws_room_t room = {0, 0};
    size_t at = 0;
    const struct {
        struct cno_ws_room_t room;
        const char *told;
    } steps[] = {
        {{0, 1000}, "ping:p;"},
        {{0, 0}, ""},
        {{1, 1000}, "text:one;"},
        {{1, 0}, "text:two;pong:q;"},  // one message whatever its size
        {{9, 1}, "pong:r;text:three;ping:s;"},
        {{1, 1}, "binary:;"},
        {{1, 1}, ""},
    };
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        l.size = 0;
        l.text[0] = 0;
        room = steps[i].room;
        int taken = cno_ws_consume(&ws, f.data + at, f.size - at, &room);
        CHECK(taken >= 0);
        at += (size_t)taken;
        if (!CHECK(!strcmp(l.text, steps[i].told)))
            printf("  %zu: %s\n", i, l.text);
    }
    CHECK(at == f.size && room.messages == 1);
    // Room that is taken away stops a message under way, in its header and in its payload.
    l.size = 0;
    room = (struct cno_ws_room_t){2, 50};
    free(f.data);
    f = frames_make(CNO_WS_SERVER, "81 abc|82 d");
    CHECK(cno_ws_consume(&ws, f.data, 8, &room) == 8);
    room.messages = 0;
    CHECK(cno_ws_consume(&ws, f.data + 8, f.size - 8, &room) == 0 && l.size == 0);
    room.messages = 2;
    CHECK(cno_ws_consume(&ws, f.data + 8, f.size - 8, &room) == (int)f.size - 8);
    CHECK(!strcmp(l.text, "text:abc;binary:d;") && room.messages == 0 && room.bytes == 46);
    // An empty message whose header was read is told without more input.
    room.messages = 1;
    l.size = 0;
    CHECK(cno_ws_consume(&ws, "\x81", 1, &room) == 1);
    room.messages = 0;
    CHECK(cno_ws_consume(&ws, "\x80\0\0\0\0", 5, &room) == 5 && !l.size);
    room.messages = 1;
    CHECK(cno_ws_consume(&ws, NULL, 0, &room) == 0 && !strcmp(l.text, "text:;"));
    CHECK(cno_ws_consume(&ws, f.data, (size_t)INT32_MAX + 1, &room) == CNO_ERROR &&
          !strcmp(cno_error()->reason, "too-large"));
    free(f.data);
    cno_ws_fini(&ws);
}

// ---- callbacks and memory ----------------------------------------------------------------------

static void test_callbacks(void) {
    const char *const scripts[] = {"81 a|81 b", "01 a|80 b|81 c", "89 a|89 b", "8a a|8a b",
                                   "88|88"};
    for (size_t i = 0; i < 5; i++) {
        for (int result = -2; result < 78; result += 79) {
            struct log l = {.fails = result};
            struct cno_ws_t ws;
            struct frames f = frames_make(CNO_WS_CLIENT, scripts[i]);
            cno_ws_init(&ws, CNO_WS_CLIENT, 100, 0);
            ws.cb_code = &LOG_PLAIN;
            ws.cb_data = &l;
            CHECK(cno_ws_consume(&ws, f.data, f.size, NULL) == CNO_ERROR && l.told == 1);
            CHECK(cno_error()->code == result && !strcmp(cno_error()->reason, "event"));
            CHECK(cno_ws_consume(&ws, f.data, f.size, NULL) == (int)f.size && l.told == 1);
            cno_ws_fini(&ws);
            // Without callbacks the same input is read and nothing is told.
            cno_ws_init(&ws, CNO_WS_CLIENT, 100, 0);
            CHECK(cno_ws_consume(&ws, f.data, f.size, NULL) == (int)f.size);
            ws.cb_code = &(struct cno_ws_vtable_t){0};
            cno_ws_fini(&ws);
            cno_ws_init(&ws, CNO_WS_CLIENT, 100, 0);
            ws.cb_code = &(struct cno_ws_vtable_t){0};
            CHECK(cno_ws_consume(&ws, f.data, f.size, NULL) == (int)f.size);
            cno_ws_fini(&ws);
            free(f.data);
        }
    }
    cno_ws_free(NULL);
}

static long allocations, fails_at;
static size_t blocks;

static void *failing_resize(void *data, size_t size) {
    if (++allocations == fails_at)
        return NULL;
    blocks += !data;
    return realloc(data, size);
}

static void counting_release(void *data) {
    blocks--;
    free(data);
}

// Every allocation of a long input fails once: the call fails, no memory is lost, and the endpoint
// ignores all further input.
static void test_allocations(void) {
    const struct cno_allocator_t failing = {failing_resize, counting_release};
    struct frames f = frames_make(CNO_WS_SERVER, "01*300 a|00*5000 b|80*9000 c|82*20000 d|81 x");
    cno_set_allocator(&failing);
    int failed = 1;
    for (fails_at = 1; failed; fails_at++) {
        for (int own_room = 0; own_room < 2; own_room++) {
            struct log l = {.own_room = own_room};
            allocations = 0;
            failed = 0;
            struct cno_ws_t *ws = cno_ws_new(CNO_WS_SERVER, 100000, 0);
            for (size_t at = 0; ws && at < f.size && !failed; at += 1111) {
                size_t n = f.size - at < 1111 ? f.size - at : 1111;
                ws->cb_code = own_room ? &LOG_ROOM : &LOG_PLAIN;
                ws->cb_data = &l;
                failed = cno_ws_consume(ws, f.data + at, n, NULL) < 0;
            }
            failed |= !ws;
            if (failed) {
                CHECK(cno_error()->code == CNO_ERRNO_NO_MEMORY);
                if (ws)
                    CHECK(cno_ws_consume(ws, f.data, 100, NULL) == 100 && !ws->message.data);
            } else {
                CHECK(l.told == 3);
            }
            // A failed resize leaves the old block of the log.
            cno_ws_free(ws);
            cno__release(l.room);
            CHECK(blocks == 0 || (own_room && failed && blocks == 1));
            blocks = 0;
        }
    }
    CHECK(fails_at > 6);
    cno_set_allocator(NULL);
    free(f.data);
}

// The buffer of a message is as large as what has come of it, not as its header says, and is released.
static void test_buffer(void) {
    struct log l = {0};
    struct cno_ws_t ws;
    cno_ws_init(&ws, CNO_WS_CLIENT, (size_t)1 << 40, 0);
    ws.cb_code = &LOG_PLAIN;
    ws.cb_data = &l;
    CHECK(cno_ws_consume(&ws, "\x82\x7f\0\0\0\1\0\0\0\0abc", 13, NULL) == 13);
    CHECK(ws.message.size == 3 && ws.message.room <= 64);
    cno_ws_fini(&ws);
    cno_ws_init(&ws, CNO_WS_SERVER, 1000000, 0);
    struct frames f = frames_make(CNO_WS_SERVER, "01*100000 a|80 b|01 c");
    for (size_t at = 0; at < f.size; at++)
        CHECK(cno_ws_consume(&ws, f.data + at, 1, NULL) == 1);
    CHECK(ws.message.size == 1 && ws.message.room <= CNO_WS_KEEP);
    free(f.data);
    // Fragments without payload take no memory.
    cno_ws_fini(&ws);
    cno_ws_init(&ws, CNO_WS_SERVER, 1000000, 0);
    CHECK(cno_ws_consume(&ws, "\1\x80\0\0\0\0", 6, NULL) == 6);
    for (int i = 0; i < 100000; i++)
        cno_ws_consume(&ws, "\0\x80\0\0\0\0", 6, NULL);
    CHECK(!ws.message.data && ws.opcode == CNO_WS_TEXT && ws.offset == 600006);
    cno_ws_fini(&ws);
}

// ---- the mask ----------------------------------------------------------------------------------

static void test_mask(void) {
    static unsigned char from[400], expected[400];
    int bad = 0;
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (unsigned char)(i * 7 + 3);
    for (size_t size = 0; size < 300; size++) {
        for (unsigned offset = 0; offset < 5; offset++) {
            char *to = guard_last(&guard, size), other[300];
            unsigned char key[4] = {1, 0x82, 0x43, 0xc4};
            cno__ws_turn(key, offset);
            int ascii = 1;
            for (size_t i = 0; i < size; i++) {
                expected[i] = from[i + 1] ^ (unsigned char)"\x01\x82\x43\xc4"[(i + offset) % 4];
                ascii &= expected[i] < 0x80;
            }
            int wide = cno__ws_copy(to, (char *)from + 1, size, key);
            int narrow = cno__ws_copy_portable(other, (char *)from + 1, size, key);
            bad += wide != ascii || narrow != ascii;
            bad += memcmp(to, expected, size) || memcmp(other, expected, size);
            memcpy(to, from, size);
            cno_ws_mask(to, size, "\x01\x82\x43\xc4", offset + 400000000000);
            for (size_t i = 0; i < size; i++)
                bad += (unsigned char)to[i] !=
                       (from[i] ^ (unsigned char)"\x01\x82\x43\xc4"[(i + offset) % 4]);
        }
    }
    CHECK(bad == 0);
    // One byte that is not ASCII is seen at every place.
    for (size_t size = 1; size < 200; size++) {
        for (size_t at = 0; at < size; at++) {
            char text[200], to[200];
            unsigned char key[4] = {0};
            memset(text, 'a', size);
            bad +=
                !cno__ws_copy(to, text, size, key) || !cno__ws_copy_portable(to, text, size, key);
            text[at] = (char)0x80;
            bad += cno__ws_copy(to, text, size, key) || cno__ws_copy_portable(to, text, size, key);
        }
    }
    CHECK(bad == 0);
}

// ---- sending -----------------------------------------------------------------------------------

static void test_heads(void) {
    char out[14];
    const struct {
        uint32_t first;
        uint64_t size;
        int masked;
        const char *head;
        int head_size;
    } heads[] = {
        {0x81, 0, 0, "\x81\0", 2},
        {0x82, 125, 0, "\x82\x7d", 2},
        {0x01, 126, 0, "\1\x7e\0\x7e", 4},
        {0xc1, 65535, 0, "\xc1\x7e\xff\xff", 4},
        {0x00, 65536, 0, "\0\x7f\0\0\0\0\0\1\0\0", 10},
        {0x80, 5, 1, "\x80\x85mask", 6},
        {0x82, 300, 1, "\x82\xfe\1\x2cmask", 8},
        {0x42, UINT64_MAX >> 1, 1, "\x42\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask", 14},
        {0x89, 125, 0, "\x89\x7d", 2},
    };
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++)
        CHECK(cno_ws_head(out, heads[i].first, heads[i].size, heads[i].masked ? "mask" : NULL) ==
                  heads[i].head_size &&
              !memcmp(out, heads[i].head, (size_t)heads[i].head_size));
    const struct {
        uint32_t first;
        uint64_t size;
    } wrong[] = {{0x83, 0},
                 {0x87, 0},
                 {0x8b, 0},
                 {0x8f, 0},
                 {0xa1, 0},
                 {0x91, 0},
                 {0x181, 0},
                 {0x09, 0},
                 {0xc9, 0},
                 {0x89, 126},
                 {0x88, 126},
                 {0xc0, 0},
                 {0x82, (uint64_t)1 << 63}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        CHECK(cno_ws_head(out, wrong[i].first, wrong[i].size, NULL) == CNO_ERROR &&
              cno_error()->code == CNO_ERRNO_ASSERTION &&
              !strcmp(cno_error()->reason, "bad-frame"));
}

static void test_close(void) {
    char out[125], long_reason[124];
    memset(long_reason, 'r', sizeof(long_reason));
    CHECK(cno_ws_close(out, 1005, NULL, 0) == 0);
    CHECK(cno_ws_close(out, 1000, NULL, 0) == 2 && !memcmp(out, "\x03\xe8", 2));
    CHECK(cno_ws_close(out, 4999, "bye", 3) == 5 && !memcmp(out,
                                                            "\x13\x87"
                                                            "bye",
                                                            5));
    CHECK(cno_ws_close(out, 1001, long_reason, 123) == 125);
    const struct {
        uint32_t code;
        const char *reason;
        size_t size;
    } wrong[] = {{1005, "x", 1},
                 {1006, "", 0},
                 {1004, "", 0},
                 {0, "", 0},
                 {1000, "\xff", 1},
                 {1000, "\xc3", 1},
                 {1000, long_reason, 124},
                 {66536, "", 0}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        CHECK(cno_ws_close(out, wrong[i].code, wrong[i].reason, wrong[i].size) == CNO_ERROR &&
              cno_error()->code == CNO_ERRNO_ASSERTION &&
              !strcmp(cno_error()->reason, "bad-close"));
}

static void test_accept(void) {
    char out[28];
    CHECK(!cno_ws_accept("dGhlIHNhbXBsZSBub25jZQ==", 24, out));
    CHECK(!memcmp(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28));  // RFC 6455 section 1.3
    CHECK(!cno_ws_accept("x3JJHMbDL1EzLkh9GBhXDw==", 24, out));
    CHECK(!memcmp(out, "HSmrc0sMlYUkAGmm5OPpG2HaGWk=", 28));
    const char *const wrong[] = {"",
                                 "dGhlIHNhbXBsZSBub25jZQ=",
                                 "dGhlIHNhbXBsZSBub25jZQ===",
                                 "dGhlIHNhbXBsZSBub25jZQaa",
                                 "dGhlIHNhbXBsZSBub25jZQa=",
                                 "dGhlIHNhbXBsZSBub25j Q==",
                                 "dGhlIHNhbXBsZSBub25j-Q==",
                                 "=GhlIHNhbXBsZSBub25jZQ==",
                                 "dGhlIHNhbXBsZSBub25jZWFiYw=="};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        CHECK(cno_ws_accept(wrong[i], strlen(wrong[i]), out) == CNO_ERROR);
        CHECK(cno_error()->code == CNO_ERRNO_PROTOCOL && cno_error()->wire == 400);
    }
    char zero[24] = "dGhlIHNhbXBsZSBub25jZQ==";
    zero[3] = 0;
    CHECK(cno_ws_accept(zero, 24, out) == CNO_ERROR);
}

// What one endpoint sends, another of the other role reads.
static void test_pair(void) {
    for (int role = 0; role < 2; role++) {
        for (size_t size = 0; size < 70000; size = size * 3 + 1) {
            struct log l = {0};
            struct cno_ws_t ws;
            cno_ws_init(&ws, (enum CNO_WS_ROLE)role, 100000, 0);
            ws.cb_code = &LOG_PLAIN;
            ws.cb_data = &l;
            const char *key = role == CNO_WS_SERVER ? "k\xe9y!" : NULL;
            char *frame = malloc(size + 14), told[100];
            int head = cno_ws_head(frame, CNO_WS_FIN | CNO_WS_TEXT, size, key);
            memset(frame + head, 'z', size);
            if (key)
                cno_ws_mask(frame + head, size, key, 0);
            CHECK(cno_ws_consume(&ws, frame, (size_t)head + size, NULL) == head + (int)size);
            snprintf(told, sizeof(told), size > 40 ? "text:%.*s..%zu;" : "text:%.*s;",
                     (int)(size > 40 ? 40 : size), "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
                     size);
            CHECK(!strcmp(l.text, told));
            free(frame);
            cno_ws_fini(&ws);
        }
    }
}

int main(void) {
    test_examples();
    test_codes();
    test_room();
    test_callbacks();
    test_allocations();
    test_buffer();
    test_mask();
    test_heads();
    test_close();
    test_accept();
    test_pair();
    guard_close(&guard);
    return finish();
}
