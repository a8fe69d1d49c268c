// The client of HTTP/2.
#include "endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return endpoint(data, size, CNO_CLIENT, CNO_HTTP2);
}
