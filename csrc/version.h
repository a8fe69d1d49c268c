// Which libcno this is. The numbers here are the only ones: the file name and the soname of the
// shared library and libcno.pc are made from them, and a test compares the Python package.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// As semver.org has it. Before 1.0 a new MINOR may change a structure or a prototype.
#define CNO_VERSION_MAJOR 0
#define CNO_VERSION_MINOR 1
#define CNO_VERSION_PATCH 0

// For comparison: 0.1.0 is 0x000100.
#define CNO_VERSION_NUMBER (CNO_VERSION_MAJOR << 16 | CNO_VERSION_MINOR << 8 | CNO_VERSION_PATCH)

#define CNO__QUOTE(number) #number
#define CNO__DOTTED(a, b, c) CNO__QUOTE(a) "." CNO__QUOTE(b) "." CNO__QUOTE(c)
#define CNO_VERSION_STRING CNO__DOTTED(CNO_VERSION_MAJOR, CNO_VERSION_MINOR, CNO_VERSION_PATCH)

// CNO_VERSION_NUMBER of the library that was linked, which is not that of the header where a shared
// library was replaced. (cno_version of core.h is about HTTP.)
uint32_t cno_library_version(void);

#ifdef __cplusplus
}
#endif
