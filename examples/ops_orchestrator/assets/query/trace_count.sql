name: trace_count
version: 1
---
SELECT count(*) AS traces, sum(span_count) AS spans FROM trace WHERE run_id = :run
