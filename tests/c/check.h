// The one macro of the C tests. Each test is a program with a plain main that ends in `return finish();`.
#pragma once

#include <stdio.h>

static int checks_passed, checks_failed;

// Counts; prints the place on failure. Goes on either way, and is true when the check held.
#define CHECK(...) check_((__VA_ARGS__) ? 1 : 0, #__VA_ARGS__, __FILE__, __LINE__)

static inline int check_(int ok, const char *what, const char *file, int line) {
    if (ok) {
        checks_passed++;
    } else {
        checks_failed++;
        printf("%s:%d: failed: %s\n", file, line, what);
    }
    return ok;
}

static inline int finish(void) {
    printf("%d passed, %d failed\n", checks_passed, checks_failed);
    return checks_failed != 0;
}
