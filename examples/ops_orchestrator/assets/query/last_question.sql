name: last_question
version: 1
---
SELECT attributes ->> 'query' AS question FROM v_stage
WHERE run_id = :run AND stage_type = 'input'
ORDER BY started_ns DESC LIMIT 1
