name: versions
version: 1
---
SELECT version, count(*) AS uses FROM v_asset_use
WHERE run_id = :run AND name = :asset
GROUP BY version ORDER BY version
