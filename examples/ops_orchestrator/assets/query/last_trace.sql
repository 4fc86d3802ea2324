name: last_trace
version: 1
---
SELECT trace_id, name FROM run_trace WHERE run_id = :run ORDER BY finished_ns DESC, trace_id LIMIT 1
