-- One line of figures for bench.py at the end of a wrk run; latencies in microseconds.
done = function(summary, latency, requests)
  io.write(string.format("FIGURES requests=%d duration_us=%d errors=%d p50=%d p99=%d\n", summary.requests, summary.duration,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
