// The tables of test_states.c: what the RFC says of every state of a stream, for each frame and each call.
#pragma once

#include "states.h"

// clang-format off
// ---- what is fed and called --------------------------------------------------------------------

// The columns of `frames`; `#` is the stream. A dot is END_STREAM.
static const char *const FRAMES[] = {
    "DATA # - t:xy",                                     // DATA
    "DATA # END_STREAM|PADDED u8:2 t:xy u16:0",          // DATA.
    "HEADERS # END_HEADERS @get",                        // REQ
    "HEADERS # END_STREAM|END_HEADERS @get",             // REQ.
    "HEADERS # END_HEADERS @ok",                         // RESP
    "HEADERS # END_STREAM|END_HEADERS @ok",              // RESP.
    "HEADERS # END_HEADERS :status=103",                 // 1XX
    "HEADERS # END_STREAM|END_HEADERS :status=103",      // 1XX.
    "HEADERS # END_HEADERS a=b",                         // TRL
    "HEADERS # END_STREAM|END_HEADERS|PADDED u8:0 a=b",  // TRL.
    "PRIORITY # - u32:0 u8:1",                           // PRIO
    "RST_STREAM # - u32:8",                              // RST
    "PUSH_PROMISE # END_HEADERS u32:100 @get",           // PUSH
    "WINDOW_UPDATE # - u32:5",                           // WU
    "WINDOW_UPDATE # - u32:0",                           // WU0
    "CONTINUATION # END_HEADERS a=b",                    // CONT
    "0xbb # 0xff t:xy",                                  // UNK
};
#define PROMISED 100

static const char *const SERVER_CALLS[] = {"interim",  "head",     "whole", "message", "data",
                                           "last",     "tail",     "push",  "reset",   "open",
                                           "announce", "shutdown", "ping",  "eof"};
static const char *const CLIENT_CALLS[] = {"head",     "get",  "message", "data", "last",
                                           "tail",     "push", "reset",   "open", "announce",
                                           "shutdown", "ping", "eof"};

// Frames for streams 0 and # that mean the same in every state.
static const struct {
    const char *frame, *outcome;
} ANYWHERE[] = {
    {"SETTINGS # - s:3=50", "K"},
    {"SETTINGS 0 - s:3=50", "+n"},
    {"SETTINGS 0 ACK", "-"},
    {"SETTINGS 0 ACK s:3=50", "K6"},
    {"SETTINGS 0 - u8:1", "K6"},
    {"PING # - t:12345678", "K"},
    {"PING 0 - t:12345678", "=P"},
    {"PING 0 ACK t:12345678", "o"},
    {"PING 0 - t:1234567", "K6"},
    {"GOAWAY # - u32:0 u32:0", "K"},
    {"GOAWAY 0 - u32:0", "K6"},
    {"DATA 0 - t:x", "K"},
    {"HEADERS 0 END_HEADERS @get", "K"},
    {"PRIORITY 0 - u32:0 u8:1", "K"},
    {"RST_STREAM 0 - u32:8", "K"},
    {"PUSH_PROMISE 0 END_HEADERS u32:100 @get", "K"},
    {"CONTINUATION 0 END_HEADERS", "K"},
    {"WINDOW_UPDATE 0 - u32:5", "f"},
    {"WINDOW_UPDATE 0 - u32:0", "K"},
    {"0xbb 0 - t:x", "-"},
    {"RST_STREAM # - u16:8", "K6"},
    {"WINDOW_UPDATE # - u16:5", "K6"},
    {"PRIORITY # - u32:0", "S6|K6"},
    {"DATA # PADDED u8:2 t:x", "K"},
    {"DATA # PADDED", "K6"},
    {"HEADERS # END_HEADERS|PADDED u8:9 a=b", "K"},
    {"HEADERS # END_HEADERS x:80", "K9"},
};

// ---- the tables --------------------------------------------------------------------------------
// What a frame does: events (see happened()), `-` for nothing, S5 for RST_STREAM with code 5, K5 for GOAWAY
// with code 5, R8 for RST_STREAM on the promised stream. Letters for what recurs:
static const struct {
    char letter;
    const char *outcome;
} SHORT[] = {
    {'K', "K1"},             // connection error PROTOCOL_ERROR
    {'M', "S1|K1"},          // malformed, section 8.1.1; any stream error may end all (5.4.1)
    {'E', "S5|K5"},          // half-closed (remote), section 5.1
    {'N', "S5|K5|K1"},       // and HEADERS of a client on an even id, section 5.1.1
    {'J', "K1|K5"},          // a lower id, section 5.1.1, or a closed stream
    {'Z', "-|S5|K5|K1"},     // closed, and the peer knew
    {'Q', "-|K5|K1"},        // the same where RST_STREAM would answer RST_STREAM, section 5.4.2
    {'V', "-|S1|S5|K5|K1"},  // a WINDOW_UPDATE of nothing on a closed stream
    {'X', "K1|sp|R7|R8"},    // a promise on a closed stream: 6.6 says K1, 5.1 lets it be processed
    {'C', "sp|R7|R8"},       // on a stream that we reset: section 6.6, "MUST handle"
};

// What a call does: `=` and the frames written (D H R S U for PUSH_PROMISE P for PING G W, a dot for
// END_STREAM), `+` and the events; or `!` and the error: A assertion, G gone, D disconnect, P protocol.

#define POST "> HEADERS 1 END_HEADERS @post;"
#define GET "> HEADERS 1 END_STREAM|END_HEADERS @get;"
#define OK_1 "> HEADERS 1 END_HEADERS @ok;"
#define OK_1_END "> HEADERS 1 END_STREAM|END_HEADERS @ok;"
#define PROMISE "! get 1;> PUSH_PROMISE 1 END_HEADERS u32:2 @get;"

enum { CLOSING = 1, ONE_STREAM = 2 };

struct state {
    const char *name;
    enum CNO_STREAM_STATE figure;
    uint32_t id;
    int flags;
    const char *setup;
    const char *frames, *calls;
};

// Recurring rows:         DATA DATA. REQ REQ. RESP RESP. 1XX 1XX. TRL TRL. PRIO RST PUSH WU  WU0 CONT UNK
#define IDLE_ALL          "K    K     K   K    K    K     K   K    K   K    -    K   K    K   K   K    -"
#define OPEN_IN           "d    dt    M   M    M    M     M   M    M   t    -    e   K    f   M   K    -"
#define HALF_LOCAL_IN     "d    dte   M   M    M    M     M   M    M   te   -    e   K    -|f -|M K    -"
#define HALF_REMOTE_IN    "E    E     E   E    E    E     E   E    E   E    -    e   K    f   M   K    -"
#define ENDED_BY_US       "Z    Z     Z   Z    Z    Z     Z   Z    Z   Z    -    -   K    -   V   K    -"
#define ENDED_BY_PEER     "Z    Z     Z   Z    Z    Z     Z   Z    Z   Z    -    Q   K    Q   V   K    -"
#define RESET_BY_US       "-    -     -   -    -    -     -   -    -   -    -    -   K    -   V   K    -"
#define RESERVED_LOCAL_IN "K    K     K   K    K    K     K   K    K   K    -    e   K    f   M   K    -"
#define PUSHED_IN         "E    E     N   N    N    N     N   N    N   N    -    e   K    f   M   K    -"

// Recurring rows:        1xx head whole msg    data last  tail  push   reset open ann  stop ping eof
#define GONE             "!G  !G   !G    !G     !G   !G    !G    =      !G    =    =G|= =G+c =P   =+c"
#define GONE_OTHERS_LIVE "!G  !G   !G    !G     !G   !G    !G    =      !G    =    =G   =G   =P   !P"
#define OPEN_NEW         "=H  =H   =H.   =HD.   !A   !A    !A    =U+sht =R+e  =    =G   =G   =P   !P"
#define OPEN_BODY        "!A  !A   !A    !A     =D   =D.   =H.   =U+sht =R+e  =    =G   =G   =P   !P"
#define ANSWERED         "!G  !G   !G    !G     !G   !G    !G    =      =R+e  =    =G   =G   =P   !P"
#define HALF_REMOTE_NEW  "=H  =H   =H.+e =HD.+e !A   !A    !A    =U+sht =R+e  =    =G   =G   =P   !P"
#define HALF_REMOTE_BODY "!A  !A   !A    !A     =D   =D.+e =H.+e =U+sht =R+e  =    =G   =G   =P   !P"
#define PUSH_NEW         "=H  =H   =H.+e =HD.+e !A   !A    !A    =      =R+e  =    =G   =G   =P   !P"
#define PUSH_BODY        "!A  !A   !A    !A     =D   =D.+e =H.+e =      =R+e  =    =G   =G   =P   !P"
#define LAST_NEW         "=H  =H   =H.   =HD.   !A   !A    !A    =      =R+e  =    =G|= =G|= =P   !P"
#define LAST_HALF_REMOTE "=H  =H   =H.+e =HD.+e !A   !A    !A    =      =R+e  =    =G|= =G|= =P   !P"

static const struct state SERVER[] = {
    {"idle", CNO_STREAM_IDLE, 1, 0, "", "K K sh sht M M M M M M - K K K K K -", GONE},
    {"idle, of ours", CNO_STREAM_IDLE, 2, 0, "", IDLE_ALL, GONE},
    {"closed, left out", CNO_STREAM_CLOSED, 1, 0, "> HEADERS 3 END_HEADERS @post",
     "Z Z J J J J J J J J - Q K Q V K -", GONE_OTHERS_LIVE},
    {"reserved (local)", CNO_STREAM_RESERVED_LOCAL, 2, 0, GET "! push 1", RESERVED_LOCAL_IN,
     PUSH_NEW},
    {"pushed, 1xx written", CNO_STREAM_HALF_REMOTE, 2, 0, GET "! push 1;! interim 2", PUSHED_IN,
     PUSH_NEW},
    {"pushed, head written", CNO_STREAM_HALF_REMOTE, 2, 0, GET "! push 1;! head 2", PUSHED_IN,
     PUSH_BODY},
    {"pushed, in the body", CNO_STREAM_HALF_REMOTE, 2, 0, GET "! push 1;! head 2;! data 2",
     PUSHED_IN, PUSH_BODY},
    {"pushed, closed", CNO_STREAM_CLOSED, 2, 0, GET "! push 1;! whole 2", ENDED_BY_US,
     GONE_OTHERS_LIVE},
    {"pushed, reset by us", CNO_STREAM_CLOSED, 2, 0, GET "! push 1;! reset 2", ENDED_BY_US,
     GONE_OTHERS_LIVE},
    {"pushed, reset by the peer", CNO_STREAM_CLOSED, 2, 0, GET "! push 1;> RST_STREAM 2 - u32:8",
     ENDED_BY_PEER, GONE_OTHERS_LIVE},
    {"open", CNO_STREAM_OPEN, 1, 0, POST, OPEN_IN, OPEN_NEW},
    {"open, body under way", CNO_STREAM_OPEN, 1, 0, POST "> DATA 1 - t:x", OPEN_IN, OPEN_NEW},
    {"open, 1xx written", CNO_STREAM_OPEN, 1, 0, POST "! interim 1", OPEN_IN, OPEN_NEW},
    {"open, head written", CNO_STREAM_OPEN, 1, 0, POST "! head 1", OPEN_IN, OPEN_BODY},
    {"open, bodies both ways", CNO_STREAM_OPEN, 1, 0, POST "> DATA 1 - t:x;! head 1;! data 1",
     OPEN_IN, OPEN_BODY},
    {"half-closed (local)", CNO_STREAM_HALF_LOCAL, 1, 0, POST "! whole 1", HALF_LOCAL_IN, ANSWERED},
    {"half-closed (local) by data", CNO_STREAM_HALF_LOCAL, 1, 0,
     POST "> DATA 1 - t:x;! head 1;! last 1", HALF_LOCAL_IN, ANSWERED},
    {"half-closed (local) by trailers", CNO_STREAM_HALF_LOCAL, 1, 0, POST "! head 1;! tail 1",
     HALF_LOCAL_IN, ANSWERED},
    {"half-closed (remote)", CNO_STREAM_HALF_REMOTE, 1, 0, GET, HALF_REMOTE_IN, HALF_REMOTE_NEW},
    {"half-closed (remote) by data", CNO_STREAM_HALF_REMOTE, 1, 0, POST "> DATA 1 END_STREAM t:x",
     HALF_REMOTE_IN, HALF_REMOTE_NEW},
    {"half-closed (remote) by trailers", CNO_STREAM_HALF_REMOTE, 1, 0,
     POST "> HEADERS 1 END_STREAM|END_HEADERS a=b", HALF_REMOTE_IN, HALF_REMOTE_NEW},
    {"half-closed (remote), 1xx written", CNO_STREAM_HALF_REMOTE, 1, 0, GET "! interim 1",
     HALF_REMOTE_IN, HALF_REMOTE_NEW},
    {"half-closed (remote), head written", CNO_STREAM_HALF_REMOTE, 1, 0, GET "! head 1",
     HALF_REMOTE_IN, HALF_REMOTE_BODY},
    {"half-closed (remote), in the body", CNO_STREAM_HALF_REMOTE, 1, 0, GET "! head 1;! data 1",
     HALF_REMOTE_IN, HALF_REMOTE_BODY},
    {"closed, we ended last", CNO_STREAM_CLOSED, 1, 0, GET "! whole 1", ENDED_BY_US, GONE},
    {"closed, the peer ended last", CNO_STREAM_CLOSED, 1, 0,
     POST "! whole 1;> DATA 1 END_STREAM t:x", ENDED_BY_US, GONE},
    {"open, reset by us", CNO_STREAM_CLOSED, 1, 0, POST "! reset 1", RESET_BY_US, GONE},
    {"half-closed (local), reset by us", CNO_STREAM_CLOSED, 1, 0, POST "! whole 1;! reset 1",
     RESET_BY_US, GONE},
    {"half-closed (remote), reset by us", CNO_STREAM_CLOSED, 1, 0, GET "! reset 1", ENDED_BY_US,
     GONE},
    {"open, reset by the peer", CNO_STREAM_CLOSED, 1, 0, POST "> RST_STREAM 1 - u32:8",
     ENDED_BY_PEER, GONE},
    {"half-closed (remote), reset by the peer", CNO_STREAM_CLOSED, 1, 0,
     GET "> RST_STREAM 1 - u32:8", ENDED_BY_PEER, GONE},
    {"half-closed (local), reset by the peer", CNO_STREAM_CLOSED, 1, 0,
     POST "! whole 1;> RST_STREAM 1 - u32:8", ENDED_BY_PEER, GONE},
    {"malformed", CNO_STREAM_CLOSED, 1, 0, "> HEADERS 1 END_HEADERS a=b", RESET_BY_US, GONE},
    {"refused", CNO_STREAM_CLOSED, 3, ONE_STREAM, POST "> HEADERS 3 END_HEADERS @post", RESET_BY_US,
     GONE_OTHERS_LIVE},
    {"GOAWAY announced, idle", CNO_STREAM_IDLE, 1, 0, "! announce",
     "K K sh sht M M M M M M - K K K K K -", GONE},
    {"GOAWAY sent, open", CNO_STREAM_OPEN, 1, CLOSING, POST "! shutdown", OPEN_IN, LAST_NEW},
    {"GOAWAY sent, half-closed (remote)", CNO_STREAM_HALF_REMOTE, 1, CLOSING, GET "! shutdown",
     HALF_REMOTE_IN, LAST_HALF_REMOTE},
    {"GOAWAY sent, idle above it", CNO_STREAM_IDLE, 3, CLOSING, POST "! shutdown",
     "K|- K|- -|S7 -|S7 -|S7|M -|S7|M -|S7|M -|S7|M -|S7|M -|S7|M - K|- K K|- K|- K -",
     "!G !G !G !G !G !G !G = !G = =G|= =G|= =P !P"},
    {"GOAWAY sent, refused above it", CNO_STREAM_CLOSED, 3, CLOSING,
     POST "! shutdown;> HEADERS 3 END_HEADERS @post", RESET_BY_US,
     "!G !G !G !G !G !G !G = !G = =G|= =G|= =P !P"},
    {"GOAWAY received, open", CNO_STREAM_OPEN, 1, CLOSING, POST "> GOAWAY 0 - u32:0 u32:0", OPEN_IN,
     LAST_NEW},
    {"GOAWAY received, half-closed (remote)", CNO_STREAM_HALF_REMOTE, 1, CLOSING,
     GET "> GOAWAY 0 - u32:0 u32:0", HALF_REMOTE_IN, LAST_HALF_REMOTE},
    {"GOAWAY announced to us, open", CNO_STREAM_OPEN, 1, 0,
     POST "> GOAWAY 0 - u32:2147483647 u32:0", OPEN_IN, LAST_NEW},
    {"GOAWAY received, promised above it", CNO_STREAM_CLOSED, 2, CLOSING,
     GET "! push 1;> GOAWAY 0 - u32:0 u32:0", ENDED_BY_PEER, GONE_OTHERS_LIVE},
    {"GOAWAY received, promised below it", CNO_STREAM_RESERVED_LOCAL, 2, CLOSING,
     GET "! push 1;> GOAWAY 0 - u32:2 u32:0", RESERVED_LOCAL_IN, PUSH_NEW},
};

// Recurring rows:        DATA DATA. REQ REQ. RESP RESP. 1XX 1XX. TRL TRL. PRIO RST PUSH WU  WU0 CONT UNK
#define RESPONSE_TO_COME "M    M     M   M    h    ht    h   M    M   M    -    e   sp   f   M   K    -"
#define RESPONSE_BODY    "d    dt    M   M    M    M     M   M    M   t    -    e   sp   f   M   K    -"
#define RESPONSE_AWAITED "M    M     M   M    h    hte   h   M    M   M    -    e   sp   -|f -|M K    -"
#define RESPONSE_READ    "d    dte   M   M    M    M     M   M    M   te   -    e   sp   -|f -|M K    -"
#define PUSH_READ        "d    dte   M   M    M    M     M   M    M   te   -    e   K    -|f -|M K    -"
#define RESPONSE_OVER    "E    E     E   E    E    E     E   E    E   E    -    e   K    f   M   K    -"
#define OVER_BY_BOTH     "Z    Z     Z   Z    Z    Z     Z   Z    Z   Z    -    -   X    -   V   K    -"
#define OVER_BY_PEER     "Z    Z     Z   Z    Z    Z     Z   Z    Z   Z    -    Q   X    Q   V   K    -"
#define CANCELLED        "-    -     -   -    -    -     -   -    -   -    -    -   C    -   V   K    -"

// Recurring rows:        head get msg data last  tail  push reset open ann stop ping eof
#define ASKING           "!A   !A  !A  =D   =D.   =H.   =    =R+e  =    =G  =G   =P   !P"
#define ASKED            "!G   !G  !G  !G   !G    !G    =    =R+e  =    =G  =G   =P   !P"
#define ANSWER_CAME      "!A   !A  !A  =D   =D.+e =H.+e =    =R+e  =    =G  =G   =P   !P"
#define OVER             "!G   !G  !G  !G   !G    !G    =    !G    =    =GG+c =G+c =P  =+c"
#define OVER_OTHERS_LIVE "!G   !G  !G  !G   !G    !G    =    !G    =    =G  =G   =P   !P"

static const struct state CLIENT[] = {
    {"idle", CNO_STREAM_IDLE, 1, 0, "", IDLE_ALL,
     "=H+s =H.+s =HD.+s !G !G !G = !G = =GG+c =G+c =P =+c"},
    {"idle, of the server", CNO_STREAM_IDLE, 2, 0, "! head 1", IDLE_ALL, OVER_OTHERS_LIVE},
    {"open", CNO_STREAM_OPEN, 1, 0, "! head 1", RESPONSE_TO_COME, ASKING},
    {"open, body under way", CNO_STREAM_OPEN, 1, 0, "! head 1;! data 1", RESPONSE_TO_COME, ASKING},
    {"open, 1xx came", CNO_STREAM_OPEN, 1, 0, "! head 1;> HEADERS 1 END_HEADERS :status=103",
     RESPONSE_TO_COME, ASKING},
    {"open, head came", CNO_STREAM_OPEN, 1, 0, "! head 1;" OK_1, RESPONSE_BODY, ASKING},
    {"open, bodies both ways", CNO_STREAM_OPEN, 1, 0, "! head 1;! data 1;" OK_1 "> DATA 1 - t:x",
     RESPONSE_BODY, ASKING},
    {"half-closed (local)", CNO_STREAM_HALF_LOCAL, 1, 0, "! get 1", RESPONSE_AWAITED, ASKED},
    {"half-closed (local) by data", CNO_STREAM_HALF_LOCAL, 1, 0, "! head 1;! last 1",
     RESPONSE_AWAITED, ASKED},
    {"half-closed (local) by trailers", CNO_STREAM_HALF_LOCAL, 1, 0, "! head 1;! tail 1",
     RESPONSE_AWAITED, ASKED},
    {"half-closed (local), 1xx came", CNO_STREAM_HALF_LOCAL, 1, 0,
     "! get 1;> HEADERS 1 END_HEADERS :status=103", RESPONSE_AWAITED, ASKED},
    {"half-closed (local), head came", CNO_STREAM_HALF_LOCAL, 1, 0, "! get 1;" OK_1, RESPONSE_READ,
     ASKED},
    {"half-closed (local), in the body", CNO_STREAM_HALF_LOCAL, 1, 0,
     "! get 1;" OK_1 "> DATA 1 - t:x", RESPONSE_READ, ASKED},
    {"half-closed (remote)", CNO_STREAM_HALF_REMOTE, 1, 0, "! head 1;" OK_1_END, RESPONSE_OVER,
     ANSWER_CAME},
    {"half-closed (remote) by trailers", CNO_STREAM_HALF_REMOTE, 1, 0,
     "! head 1;! data 1;" OK_1 "> HEADERS 1 END_STREAM|END_HEADERS a=b", RESPONSE_OVER,
     ANSWER_CAME},
    {"reserved (remote)", CNO_STREAM_RESERVED_REMOTE, 2, 0, PROMISE,
     "K K M M h hte h M M M - e K K K K -", ASKED},
    {"pushed, 1xx came", CNO_STREAM_HALF_LOCAL, 2, 0, PROMISE "> HEADERS 2 END_HEADERS :status=103",
     "M M M M h hte h M M M - e K -|f -|M K -", ASKED},
    {"pushed, head came", CNO_STREAM_HALF_LOCAL, 2, 0, PROMISE "> HEADERS 2 END_HEADERS @ok",
     PUSH_READ, ASKED},
    {"pushed, closed", CNO_STREAM_CLOSED, 2, 0, PROMISE "> HEADERS 2 END_STREAM|END_HEADERS @ok",
     "Z Z Z Z Z Z Z Z Z Z - Q K Q V K -", OVER_OTHERS_LIVE},
    {"pushed, declined", CNO_STREAM_CLOSED, 2, 0, PROMISE "! reset 2",
     "- - - - - - - - - - - - K|- Q V K -", OVER_OTHERS_LIVE},
    {"pushed, head came, reset by us", CNO_STREAM_CLOSED, 2, 0,
     PROMISE "> HEADERS 2 END_HEADERS @ok;! reset 2", "- - - - - - - - - - - - K|- Q V K -",
     OVER_OTHERS_LIVE},
    {"pushed, reset by the peer", CNO_STREAM_CLOSED, 2, 0, PROMISE "> RST_STREAM 2 - u32:8",
     "Z Z Z Z Z Z Z Z Z Z - Q K Q V K -", OVER_OTHERS_LIVE},
    {"closed, the peer ended last", CNO_STREAM_CLOSED, 1, 0, "! get 1;" OK_1_END, OVER_BY_BOTH,
     OVER},
    {"closed, we ended last", CNO_STREAM_CLOSED, 1, 0, "! head 1;" OK_1_END "! last 1",
     OVER_BY_BOTH, OVER},
    {"open, reset by us", CNO_STREAM_CLOSED, 1, 0, "! head 1;! reset 1", CANCELLED, OVER},
    {"half-closed (local), reset by us", CNO_STREAM_CLOSED, 1, 0, "! get 1;! reset 1", CANCELLED,
     OVER},
    {"half-closed (remote), reset by us", CNO_STREAM_CLOSED, 1, 0, "! head 1;" OK_1_END "! reset 1",
     OVER_BY_BOTH, OVER},
    {"open, reset by the peer", CNO_STREAM_CLOSED, 1, 0, "! head 1;> RST_STREAM 1 - u32:8",
     OVER_BY_PEER, OVER},
    {"half-closed (local), reset by the peer", CNO_STREAM_CLOSED, 1, 0,
     "! get 1;> RST_STREAM 1 - u32:8", OVER_BY_PEER, OVER},
    {"malformed", CNO_STREAM_CLOSED, 1, 0, "! get 1;> HEADERS 1 END_HEADERS a=b", CANCELLED, OVER},
    {"GOAWAY received, above it", CNO_STREAM_CLOSED, 3, CLOSING,
     "! get 1;! get 3;> GOAWAY 0 - u32:1 u32:0", OVER_BY_PEER, 
     "!D !D !D !G !G !G = !G = =G =G =P !P"},
    {"GOAWAY received, open", CNO_STREAM_OPEN, 1, CLOSING, "! head 1;> GOAWAY 0 - u32:1 u32:0",
     RESPONSE_TO_COME, ASKING},
    {"GOAWAY received, idle", CNO_STREAM_IDLE, 3, CLOSING, "! get 1;> GOAWAY 0 - u32:1 u32:0",
     IDLE_ALL, "!D !D !D !G !G !G = !G = =G =G =P !P"},
    {"GOAWAY announced to us, open", CNO_STREAM_OPEN, 1, CLOSING,
     "! head 1;> GOAWAY 0 - u32:2147483647 u32:0", RESPONSE_TO_COME, ASKING},
    // Section 6.8: whoever receives GOAWAY MUST NOT open streams, whatever id it names.
    {"GOAWAY announced to us, idle", CNO_STREAM_IDLE, 3, CLOSING,
     "! head 1;> GOAWAY 0 - u32:2147483647 u32:0", IDLE_ALL,
     "!D !D !D !G !G !G = !G = =G =G =P !P"},
    {"GOAWAY announced, open", CNO_STREAM_OPEN, 1, CLOSING, "! head 1;! announce",
     RESPONSE_TO_COME, "!A !A !A =D =D. =H. = =R+e = = =G =P !P"},
    {"GOAWAY announced, idle", CNO_STREAM_IDLE, 3, CLOSING, "! head 1;! announce", IDLE_ALL,
     "!D !D !D !G !G !G = !G = = =G =P !P"},
    {"GOAWAY sent, open", CNO_STREAM_OPEN, 1, CLOSING, "! head 1;! shutdown",
     "M M M M h ht h M M M - e R7|R8|- f M K -", "!A !A !A =D =D. =H. = =R+e = =G|= =G|= =P !P"},
    {"GOAWAY sent, idle", CNO_STREAM_IDLE, 3, CLOSING, "! head 1;! shutdown", IDLE_ALL,
     "!D !D !D !G !G !G = !G = =G|= =G|= =P !P"},
    {"GOAWAY sent, promised below it", CNO_STREAM_RESERVED_REMOTE, 2, CLOSING, PROMISE "! shutdown",
     "K K M M h hte h M M M - e K K K K -", "!G !G !G !G !G !G = =R+e = =G|= =G|= =P !P"},
};
