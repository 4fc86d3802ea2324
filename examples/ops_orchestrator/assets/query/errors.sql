name: errors
version: 1
---
SELECT stage_type, error_message, count(*) AS failures FROM v_stage
WHERE run_id = :run AND status = 'error'
GROUP BY stage_type, error_message ORDER BY count(*) DESC, stage_type
