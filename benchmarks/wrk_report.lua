-- One line of exact figures after wrk's own report, which rounds. Times are microseconds.
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        "exact: requests=%d duration=%d bytes=%d connect=%d read=%d write=%d status=%d timeout=%d\n",
        summary.requests, summary.duration, summary.bytes,
        e.connect, e.read, e.write, e.status, e.timeout))
end
