-- Reads of a comparison: a value per metric and unit, a unit being a trace or a test case. Stages of one trace depend on
-- each other, so their mean counts once.

-- name: unit_of_trace
SELECT t.trace_id,
    COALESCE(t.metadata ->> 'test_case_id', '') AS unit -- if by_case
    t.trace_id AS unit -- if by_trace
FROM run_trace AS t
WHERE t.run_id = :run_id
AND t.started_ns >= :part_from_ns -- if part_from_ns
AND t.started_ns < :part_to_ns -- if part_to_ns

-- name: compared_values
WITH units AS MATERIALIZED ({unit_of_trace}),
measured AS (
    SELECT v.trace_id, v.metric_name, v.x FROM ({metric_rows}) AS v
    UNION ALL
    SELECT s.trace_id, s.stage_type || '.error_rate', CASE WHEN {failed(s.)} THEN 1.0 ELSE 0.0 END
    FROM stage_event AS s WHERE s.run_id = :run_id AND NOT s.derived AND s.status <> 'skipped'
    UNION ALL
    SELECT t.trace_id, 'trace.latency_ms', (t.finished_ns - t.started_ns) / 1000000.0
    FROM run_trace AS t WHERE t.run_id = :run_id
    UNION ALL
    SELECT t.trace_id, 'trace.error_rate', CASE WHEN t.errors > 0 THEN 1.0 ELSE 0.0 END
    FROM run_trace AS t WHERE t.run_id = :run_id
    UNION ALL
    SELECT t.trace_id, 'trace.tokens', t.tokens_in + t.tokens_out
    FROM run_trace AS t WHERE t.run_id = :run_id AND t.tokens_in + t.tokens_out > 0
    UNION ALL
    SELECT t.trace_id, 'trace.cost', t.cost_total
    FROM run_trace AS t WHERE t.run_id = :run_id AND t.cost_total > 0
)
SELECT metric_name, unit, x FROM (
    SELECT m.metric_name, u.unit, avg(m.x) AS x,
        row_number() OVER (PARTITION BY m.metric_name ORDER BY u.unit) AS place
    FROM measured AS m JOIN units AS u ON u.trace_id = m.trace_id
    WHERE u.unit <> '' AND m.x IS NOT NULL
    GROUP BY m.metric_name, u.unit
) AS w
WHERE place <= :most
ORDER BY metric_name, unit

-- name: compared_types
-- In how many traces each stage type is.
WITH units AS MATERIALIZED ({unit_of_trace})
SELECT s.stage_type, count(DISTINCT s.trace_id) AS traces
FROM units AS u JOIN stage_event AS s ON s.trace_id = u.trace_id
WHERE s.run_id = :run_id
GROUP BY s.stage_type
ORDER BY s.stage_type

-- name: compared_cases
-- Each test case: how many traces it has, and how many of them failed.
SELECT u.unit AS test_case, count(*) AS traces, CAST(sum(CASE WHEN t.errors > 0 THEN 1 ELSE 0 END) AS bigint) AS failed,
    min(t.trace_id) AS trace_id
FROM ({unit_of_trace}) AS u JOIN run_trace AS t ON t.trace_id = u.trace_id AND t.run_id = :run_id
WHERE u.unit <> ''
GROUP BY u.unit
ORDER BY u.unit
LIMIT :most

-- name: compared_traces
SELECT count(*) AS traces FROM ({unit_of_trace}) AS u

-- name: compared_assets
-- What was used, in which version, by stages of which type.
WITH units AS MATERIALIZED ({unit_of_trace})
SELECT DISTINCT s.stage_type, a.kind, a.name, a.version, a.digest
FROM units AS u
JOIN asset_use AS b ON b.trace_id = u.trace_id
JOIN asset AS a ON a.id = b.asset
LEFT JOIN stage_event AS s ON s.trace_id = b.trace_id AND s.stage_id = b.stage_id
WHERE b.run_id = :run_id
