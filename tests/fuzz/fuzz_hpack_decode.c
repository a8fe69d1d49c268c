// The HPACK decoder: any octets as blocks on one table, with changes of its limit between them. What it
// gives is readable and counted right; what it holds stays below its limit.
#include "hpack/table.h"
#include "harness.h"

// One decoder, and the last block that its fields may point into.
static int decode(struct cno_hpack_t *t, struct reader run, size_t capacity, size_t max_size) {
    struct cno_header_t *list = malloc(capacity * sizeof(*list) + 1);
    char *block = malloc(run.size ? run.size : 1);
    struct cno_hpack_fields_t fields = {list, capacity, max_size, 0, 0};
    if (run.size)
        memcpy(block, run.data, run.size);
    int r = cno_hpack_decode(t, (struct cno_buffer_t){block, run.size}, &fields);
    size_t stored = fields.count < capacity ? fields.count : capacity, sum = 0;
    if (r) {
        REQUIRE(cno_error()->code == CNO_ERRNO_PROTOCOL ||
                (starved && cno_error()->code == CNO_ERRNO_NO_MEMORY));
        REQUIRE(cno_error()->code != CNO_ERRNO_PROTOCOL || cno_error()->wire == 9 ||
                cno_error()->wire == 11);
    } else if (fields.size <= max_size && fields.count <= capacity) {
        for (size_t i = 0; i < stored; i++) {
            touch(list[i].name.data, list[i].name.size);
            touch(list[i].value.data, list[i].value.size);
            sum += list[i].name.size + list[i].value.size + 32;
            REQUIRE(list[i].name.size || list[i].flags & CNO_HEADER_BAD_NAME);
        }
        REQUIRE(sum == fields.size);
    }
    uint32_t held = 0;
    for (uint32_t i = 0; i < t->count; i++)
        held += entry_size(cno__hpack_entry(t, i));
    REQUIRE(held == t->size && (r || (t->size <= t->limit && t->limit <= t->limit_upper)));
    free(block);
    free(list);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t limits[] = {4096, 0, 64, 256, 1000, 65536, 4095, 100};
    struct reader r = {data, size};
    struct cno_hpack_t t;
    unsigned how = take(&r), fail = take(&r);
    memory_begin(fail >= 0xf0 ? (long)(fail & 15) : -1);
    cno_hpack_init(&t, limits[how & 7]);
    while (r.size) {
        unsigned op = take(&r);
        if ((op & 7) == 7)
            cno_hpack_set_limit(&t, limits[op >> 3 & 7]);
        else if (decode(&t, take_run(&r, op & 4 ? SIZE_MAX : take(&r)), op & 2 ? 128 : op >> 3,
                        op & 1 ? 65536 : 300))
            break;
    }
    REQUIRE(peak < 400000 + 20 * size);
    cno_hpack_fini(&t);
    REQUIRE(live == 0);
    return 0;
}
