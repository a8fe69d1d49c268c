// The server of HTTP/2.
#include "endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return endpoint(data, size, CNO_SERVER, CNO_HTTP2);
}
