// The same octets and calls twice: what arrives at once against what arrives in pieces. Events, their order,
// the place of a fault and the output are the same, for both roles and versions.
#include "script.h"

static struct side *run(struct reader r, enum CNO_CONNECTION_KIND kind,
                        enum CNO_HTTP_VERSION version, uint32_t seed, int cutting) {
    int greeted;
    memory_begin(-1);
    struct side *s = script_side(&r, kind, &greeted);
    struct script script = {.side = s, .cutting = cutting, .seed = seed};
    s->logging = 1;
    cno_begin(&s->c, version);
    if (version == CNO_HTTP2 && greeted)
        say_hello(&script, kind == CNO_SERVER);
    while (r.size)
        script_step(&script, &r, version == CNO_HTTP2);
    script_end(&script);
    return s;
}

static void compare(const char *what, const struct octets *whole, const struct octets *cut) {
    size_t at = 0;
    while (at < whole->size && at < cut->size && whole->data[at] == cut->data[at])
        at++;
    if (at == whole->size && at == cut->size)
        return;
    fprintf(stderr, "%s differ from %zu on: %zu octets whole, %zu cut\n%.*s\n---\n%.*s\n", what, at,
            whole->size, cut->size, (int)whole->size, whole->data, (int)cut->size, cut->data);
    REQUIRE(!"the same, however the input is cut");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size};
    unsigned how = take(&r);
    uint32_t seed = take2(&r) << 16;
    enum CNO_CONNECTION_KIND kind = how & 1 ? CNO_CLIENT : CNO_SERVER;
    enum CNO_HTTP_VERSION version = how & 2 ? CNO_HTTP2 : CNO_HTTP1;
    struct side *whole = run(r, kind, version, seed, 0), *cut = run(r, kind, version, seed, 1);
    compare("events", &whole->log, &cut->log);
    compare("octets", &whole->out, &cut->out);
    side_free(whole);
    side_free(cut);
    return 0;
}
