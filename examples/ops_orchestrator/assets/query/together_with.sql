name: together_with
version: 1
---
SELECT o.stage_type, count(DISTINCT o.trace_id) AS traces
FROM v_stage AS s JOIN v_stage AS o ON o.trace_id = s.trace_id AND o.stage_type <> s.stage_type
WHERE s.run_id = :run AND s.stage_type = :stage
GROUP BY o.stage_type ORDER BY o.stage_type
