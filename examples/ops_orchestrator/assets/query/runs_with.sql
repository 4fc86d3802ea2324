name: runs_with
version: 1
---
SELECT run_id, count(DISTINCT trace_id) AS traces FROM v_asset_use
WHERE run_id = :run AND name = :asset
GROUP BY run_id
