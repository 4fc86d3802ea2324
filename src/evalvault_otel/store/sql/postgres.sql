-- What PostgreSQL says in its own words.

-- name: percentiles
percentile_cont(ARRAY[0.5, 0.95, 0.99, 0.1]) WITHIN GROUP (ORDER BY $1)

-- name: each_metric
jsonb_each_text(s.metrics) AS m (key, value)

-- name: metric
CAST(metrics ->> '$1' AS double precision)

-- name: text_attribute
attributes ->> '$1'

-- name: list
jsonb_array_elements_text(CAST(:$1 AS jsonb))

-- name: limits
SELECT * FROM jsonb_to_recordset(CAST(:limits AS jsonb)) AS r (metric_name text, bound double precision, at_most boolean)

-- name: floors
SELECT * FROM jsonb_to_recordset(CAST(:floors AS jsonb))
    AS r (stage_type text, typical_ms double precision, floor_ms double precision)

-- name: changed
SELECT * FROM jsonb_to_recordset(CAST(:changed AS jsonb))
    AS r (kind text, name text, by_digest boolean, measured_types text)

-- name: of_trace
CROSS JOIN LATERAL (SELECT * FROM $1 AS x WHERE x.trace_id = g.trace_id OFFSET 0) AS s

-- name: kind_bit
COALESCE(CAST(CAST(:bits AS jsonb) ->> a.kind AS bigint), 1)

-- name: position
strpos

-- name: lock_rejects
-- Any constant: all processes of this product take the same advisory lock before they write rejects.
SELECT pg_advisory_xact_lock(7021977311)

-- name: estimates
SELECT c.relname AS name, CAST(c.reltuples AS bigint) AS n
FROM pg_class AS c
WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid) AND c.reltuples > :many

-- name: oldest_traces
SELECT trace_id FROM trace WHERE received_ns < ? ORDER BY received_ns LIMIT ? FOR UPDATE SKIP LOCKED

-- name: of_listed_traces
trace_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(? AS jsonb))))

-- name: of_listed_runs
run_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(? AS jsonb))))

-- name: of_listed_ids
id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(? AS jsonb))))

-- name: for_update
FOR UPDATE

-- name: filled_stages
-- Grouped and not joined: a join of two lists as long as a run takes for ever where statistics lack.
WITH kinds AS MATERIALIZED (SELECT a.id, {kind_bit} AS bit FROM asset AS a)
SELECT stage_type, mask, count(*) AS stages
FROM (
    SELECT max(stage_type) AS stage_type, bit_or(bit) AS mask
    FROM (
        SELECT s.trace_id, s.stage_id, s.stage_type, CAST(0 AS bigint) AS bit
        FROM stage_event AS s
        WHERE s.run_id = :run_id AND s.status <> 'skipped' AND NOT s.derived
        AND s.stage_type IN (SELECT value FROM {list(types)} AS t)
        UNION ALL
        SELECT u.trace_id, u.stage_id, CAST(NULL AS text), k.bit
        FROM asset_use AS u JOIN kinds AS k ON k.id = u.asset
        WHERE u.run_id = :run_id
    ) AS b
    GROUP BY trace_id, stage_id
) AS f
WHERE stage_type IS NOT NULL
GROUP BY stage_type, mask
ORDER BY stage_type, mask

-- name: each_value
json_each(CAST($1 AS json)) AS e (key, value)

-- name: is_word
json_typeof(e.value) IN ('string', 'boolean')

-- name: word
json_build_array(e.value) ->> 0

-- name: settled
CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)

-- name: newest
CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)
