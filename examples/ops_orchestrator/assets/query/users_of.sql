name: users_of
version: 1
---
SELECT DISTINCT s.stage_type, a.version
FROM v_asset_use AS a JOIN v_stage AS s ON s.trace_id = a.trace_id AND s.stage_id = a.stage_id
WHERE a.run_id = :run AND a.name = :asset
ORDER BY s.stage_type, a.version
