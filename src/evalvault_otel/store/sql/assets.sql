-- Reads about assets, of every database. `kinds` is in the dialect's file.

-- name: uses_of_traces
-- `of_trace` looks rows up by trace; see `version_metrics`.
WITH g AS MATERIALIZED (SELECT value AS trace_id FROM {list(traces)} AS t)
SELECT s.* FROM g {of_trace(v_asset_use)}
WHERE s.stage_id IS NOT NULL
AND s.run_id || '' = :run_id -- if run_id
ORDER BY s.trace_id, s.stage_id, s.ordinal

-- name: filled_stages
SELECT stage_type, kinds, count(*) AS stages
FROM (
    SELECT s.stage_type, {kinds} AS kinds
    FROM stage_event AS s
    LEFT JOIN asset_use AS u ON u.trace_id = s.trace_id AND u.stage_id = s.stage_id
    LEFT JOIN asset AS a ON a.id = u.asset
    WHERE s.run_id = :run_id AND s.status <> 'skipped' AND NOT s.derived
    AND s.stage_type IN (SELECT value FROM {list(types)} AS t)
    GROUP BY s.trace_id, s.stage_id, s.stage_type
) AS f
GROUP BY stage_type, kinds
ORDER BY stage_type, kinds
