-- What SQLite says in its own words. `percentiles` is our own aggregate (percentile.py).

-- name: percentiles
percentiles($1)

-- name: each_metric
json_each(s.metrics) AS m

-- name: metric
CAST(json_extract(metrics, '$."$1"') AS REAL)

-- name: text_attribute
CAST(json_extract(attributes, '$."$1"') AS TEXT)

-- name: list
json_each(:$1)

-- name: limits
SELECT json_extract(value, '$.metric_name') AS metric_name, json_extract(value, '$.bound') AS bound,
    json_extract(value, '$.at_most') AS at_most
FROM json_each(:limits)

-- name: floors
SELECT json_extract(value, '$.stage_type') AS stage_type, json_extract(value, '$.typical_ms') AS typical_ms,
    json_extract(value, '$.floor_ms') AS floor_ms
FROM json_each(:floors)

-- name: changed
SELECT json_extract(value, '$.kind') AS kind, json_extract(value, '$.name') AS name,
    json_extract(value, '$.by_digest') AS by_digest, json_extract(value, '$.measured_types') AS measured_types
FROM json_each(:changed)

-- name: of_trace
CROSS JOIN $1 AS s ON s.trace_id = g.trace_id

-- name: kind_bit
COALESCE((SELECT j.value FROM json_each(:bits) AS j WHERE j.key = a.kind), 1)

-- name: position
instr

-- name: lock_rejects
-- A writing transaction has the whole file.
SELECT 1

-- name: oldest_traces
SELECT trace_id FROM trace WHERE received_ns < ? ORDER BY received_ns LIMIT ?

-- name: of_listed_traces
trace_id IN (SELECT value FROM json_each(?))

-- name: of_listed_runs
run_id IN (SELECT value FROM json_each(?))

-- name: of_listed_ids
id IN (SELECT value FROM json_each(?))

-- name: for_update
-- A writing transaction has the whole file.

-- name: estimates
-- Every table is counted.
SELECT NULL AS name, 0 AS n WHERE :many < 0

-- name: filled_stages
-- Four times as fast here as the grouping that PostgreSQL does: uses are looked up stage by stage.
WITH kinds AS MATERIALIZED (SELECT a.id, {kind_bit} AS bit FROM asset AS a)
SELECT stage_type, mask, count(*) AS stages
FROM (
    SELECT s.stage_type, COALESCE(sum(DISTINCT k.bit), 0) AS mask
    FROM stage_event AS s
    LEFT JOIN asset_use AS u ON u.trace_id = s.trace_id AND u.stage_id = s.stage_id AND u.run_id || '' = s.run_id
    LEFT JOIN kinds AS k ON k.id = u.asset
    WHERE s.run_id = :run_id AND s.status <> 'skipped' AND NOT s.derived
    AND s.stage_type IN (SELECT value FROM {list(types)} AS t)
    GROUP BY s.trace_id, s.stage_id, s.stage_type
) AS f
GROUP BY stage_type, mask
ORDER BY stage_type, mask

-- name: each_value
json_each($1) AS e

-- name: is_word
e.type IN ('text', 'true', 'false')

-- name: word
CASE e.type WHEN 'text' THEN e.value ELSE e.type END

-- name: newest
-- One transaction writes at a time, so numbers go up in the order of commits. The time keeps a number from coming again
-- when the traces that had the highest ones are removed.
(SELECT max(COALESCE(max(changed), 0) + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)) FROM trace)

-- name: settled
(SELECT COALESCE(max(changed) + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)) FROM trace)
