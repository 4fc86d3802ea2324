name: documents
version: 1
---
SELECT avg(CAST(metrics ->> 'result_count' AS double precision)) AS documents FROM v_stage
WHERE run_id = :run AND stage_type = :stage
