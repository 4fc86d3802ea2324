name: tokens
version: 1
---
SELECT count(*) AS stages, sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out FROM v_stage
WHERE run_id = :run AND stage_type = :stage
