name: error_rate
version: 1
---
SELECT stage_type, count(*) AS stages, sum(CASE WHEN status IN ('error', 'timeout') THEN 1 ELSE 0 END) AS failed
FROM v_stage WHERE run_id = :run AND stage_type = :stage
GROUP BY stage_type
