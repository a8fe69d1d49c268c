// The server of HTTP/1.
#include "endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return endpoint(data, size, CNO_SERVER, CNO_HTTP1);
}
