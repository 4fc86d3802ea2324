name: average_duration
version: 2
---
SELECT stage_type, avg(duration_ms) AS avg_ms, count(*) AS stages FROM v_stage
WHERE run_id = :run AND stage_type = :stage AND duration_ms IS NOT NULL
GROUP BY stage_type
