name: runs_with
version: 2
---
SELECT run_id, count(DISTINCT trace_id) AS traces FROM v_asset_use
WHERE name = :asset
GROUP BY run_id ORDER BY run_id
