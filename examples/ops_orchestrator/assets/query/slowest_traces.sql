name: slowest_traces
version: 1
---
SELECT trace_id, (finished_ns - started_ns) / 1000000.0 AS ms FROM run_trace
WHERE run_id = :run
ORDER BY ms DESC LIMIT 1
