name: slowest_type
version: 1
---
SELECT stage_type, avg(self_ms) AS avg_ms FROM v_stage
WHERE run_id = :run AND self_ms IS NOT NULL
GROUP BY stage_type ORDER BY avg(self_ms) DESC, stage_type LIMIT 1
