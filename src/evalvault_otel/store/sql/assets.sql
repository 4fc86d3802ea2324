-- Reads about assets, of every database. `filled_stages` is in the dialect's file.

-- name: uses_of_traces
-- `of_trace` looks rows up by trace; see `version_metrics`.
WITH g AS MATERIALIZED (SELECT value AS trace_id FROM {list(traces)} AS t)
SELECT s.* FROM g {of_trace(v_asset_use)}
WHERE s.stage_id IS NOT NULL
AND s.run_id || '' = :run_id -- if run_id
ORDER BY s.trace_id, s.stage_id, s.ordinal

-- name: asset_list
WITH used AS (
    SELECT run_id, asset, count(*) AS uses, min(used_ns) AS first_ns, max(used_ns) AS last_ns
    FROM asset_use
    WHERE run_id IS NOT NULL
    AND used_ns >= :since_ns -- if since_ns
    AND used_ns < :until_ns -- if until_ns
    GROUP BY run_id, asset
),
named AS MATERIALIZED (
    SELECT a.kind, a.name, COALESCE(a.version, '') AS version, CASE WHEN a.fallback THEN u.uses ELSE 0 END AS fallbacks,
        u.run_id, u.uses, u.first_ns, u.last_ns
    FROM used AS u JOIN asset AS a ON a.id = u.asset
    WHERE a.id IS NOT NULL
    AND a.kind = :kind -- if kind
    AND lower(a.name) LIKE :q ESCAPE '\' -- if q
    AND (a.kind, a.name) > (:after_kind, :after_name) -- if after_name
),
versions AS (
    SELECT kind, name, version, CAST(sum(uses) AS bigint) AS uses, CAST(sum(fallbacks) AS bigint) AS fallbacks,
        min(first_ns) AS first_ns, max(last_ns) AS last_ns,
        row_number() OVER (PARTITION BY kind, name ORDER BY COALESCE(max(last_ns), 0) DESC, version DESC) AS place
    FROM named GROUP BY kind, name, version
),
runs AS (SELECT kind, name, count(DISTINCT run_id) AS runs FROM named GROUP BY kind, name)
SELECT v.kind, v.name, count(*) AS versions, max(CASE WHEN v.place = 1 THEN v.version END) AS latest,
    CAST(sum(v.uses) AS bigint) AS uses, CAST(sum(v.fallbacks) AS bigint) AS fallbacks, r.runs,
    min(v.first_ns) AS first_ns, max(v.last_ns) AS last_ns
FROM versions AS v JOIN runs AS r ON r.kind = v.kind AND r.name = v.name
GROUP BY v.kind, v.name, r.runs
ORDER BY v.kind, v.name
LIMIT :limit

-- name: uses_of_asset
-- Run by run: there is an index by run and asset, and one by asset alone would cost every write. CROSS JOIN keeps SQLite
-- to that order; PostgreSQL finds its own.
FROM asset AS a CROSS JOIN run AS r CROSS JOIN asset_use AS b
WHERE b.run_id = r.run_id AND b.asset = a.id AND a.kind = :kind AND a.name = :asset_name

-- name: ledger_versions
SELECT COALESCE(a.version, '') AS version, count(*) AS uses,
    count(*) FILTER (WHERE a.fallback) AS fallbacks,
    count(DISTINCT b.run_id) AS runs, count(DISTINCT b.trace_id) AS traces,
    min(b.used_ns) AS first_ns, max(b.used_ns) AS last_ns,
    count(b.load_ms) AS loads, COALESCE(sum(b.load_ms), 0.0) AS load_ms, {percentiles(b.load_ms)} AS percentiles,
    COALESCE(sum(CASE WHEN b.cache_hit THEN NULL ELSE b.load_ms END), 0.0) AS missed_load_ms,
    count(CASE WHEN b.cache_hit THEN NULL ELSE b.load_ms END) AS missed_loads,
    count(*) FILTER (WHERE b.cache_hit) AS hits, count(*) FILTER (WHERE NOT b.cache_hit) AS misses
{uses_of_asset}
GROUP BY COALESCE(a.version, '')

-- name: ledger_digests
SELECT COALESCE(a.version, '') AS version, a.digest, count(*) AS uses,
    min(b.used_ns) AS first_ns, max(b.used_ns) AS last_ns
{uses_of_asset}
AND a.digest IS NOT NULL
GROUP BY COALESCE(a.version, ''), a.digest
ORDER BY version, COALESCE(min(b.used_ns), 0), a.digest

-- name: ledger_sample
-- Stages that used a version lately, each once per version.
WITH g AS MATERIALIZED (
    SELECT DISTINCT version, trace_id, stage_id
    FROM (
        SELECT COALESCE(a.version, '') AS version, b.trace_id, b.stage_id, row_number() OVER (
            PARTITION BY COALESCE(a.version, '') ORDER BY COALESCE(b.used_ns, 0) DESC, b.trace_id, b.stage_id
        ) AS place
        {uses_of_asset}
        AND COALESCE(a.version, '') IN (SELECT value FROM {list(versions)} AS v)
    ) AS u
    WHERE place <= :most
),
measured AS MATERIALIZED (
    SELECT g.version, s.stage_type, s.status, s.metrics, CASE WHEN NOT s.derived THEN s.duration_ms END AS duration_ms
    FROM g {of_trace(stage_event)}
    WHERE s.stage_id = g.stage_id
)

-- name: ledger_figures
count(*) AS stages, count(*) FILTER (WHERE {failed}) AS errors, count(duration_ms) AS timed, avg(duration_ms) AS avg_ms,
    {percentiles(duration_ms)} AS percentiles

-- name: ledger_stages
{ledger_sample}
SELECT version, NULL AS stage_type, {ledger_figures} FROM measured GROUP BY version
UNION ALL
SELECT version, stage_type, {ledger_figures} FROM measured GROUP BY version, stage_type

-- name: ledger_metrics
{ledger_sample},
scored AS (
    SELECT s.version, s.stage_type || '.' || m.key AS metric_name, CAST(m.value AS double precision) AS x
    FROM measured AS s, {each_metric}
    WHERE m.value IS NOT NULL
    UNION ALL
    SELECT version, stage_type || '.latency_ms', duration_ms FROM measured WHERE duration_ms IS NOT NULL
)
SELECT version, metric_name, count(*) AS count, avg(x) AS avg, avg(x * x) AS avg_square
FROM scored GROUP BY version, metric_name
ORDER BY version, metric_name

-- name: asset_runs
WITH used AS MATERIALIZED (
    SELECT b.run_id, COALESCE(a.version, '') AS version, COALESCE(a.digest, '') AS digest, count(*) AS uses,
        min(b.used_ns) AS first_ns, max(b.used_ns) AS last_ns
    {uses_of_asset}
    GROUP BY b.run_id, COALESCE(a.version, ''), COALESCE(a.digest, '')
),
latest AS MATERIALIZED (
    SELECT run_id FROM used GROUP BY run_id ORDER BY COALESCE(max(last_ns), 0) DESC, run_id LIMIT :limit
)
SELECT u.*, r.service, r.kind AS run_kind, r.first_ns AS began_ns
FROM used AS u JOIN latest AS l ON l.run_id = u.run_id JOIN run AS r ON r.run_id = u.run_id
ORDER BY r.first_ns, u.run_id, COALESCE(u.first_ns, 0), u.version, u.digest

-- name: run_before
SELECT r.run_id, r.first_ns, r.last_ns
FROM run AS r JOIN run AS n ON n.run_id = :run_id
WHERE r.last_ns < n.last_ns AND r.last_ns <= n.first_ns
AND r.service = n.service AND COALESCE(r.kind, '') = COALESCE(n.kind, '')
AND EXISTS (SELECT 1 FROM run_trace AS t WHERE t.run_id = r.run_id)
ORDER BY r.last_ns DESC, r.run_id DESC
LIMIT 1

-- name: graph_traces
-- The latest traces of a run: what a graph shows is bounded by them.
g AS MATERIALIZED (
    SELECT trace_id FROM run_trace WHERE run_id = :run_id ORDER BY started_ns DESC, trace_id LIMIT :traces
)

-- name: graph_stages
WITH {graph_traces}
SELECT s.stage_type, s.stage_name, count(*) AS stages, count(*) FILTER (WHERE {failed(s.)}) AS errors,
    avg(CASE WHEN NOT s.derived THEN s.duration_ms END) AS avg_ms
FROM g {of_trace(stage_event)}
WHERE s.run_id || '' = :run_id
GROUP BY s.stage_type, s.stage_name
ORDER BY count(*) DESC, s.stage_type, COALESCE(s.stage_name, '')
LIMIT :limit

-- name: graph_uses
WITH {graph_traces},
used AS MATERIALIZED (
    SELECT s.trace_id, s.stage_id, s.asset, count(*) AS uses FROM g {of_trace(asset_use)}
    WHERE s.run_id || '' = :run_id
    GROUP BY s.trace_id, s.stage_id, s.asset
)
SELECT s.stage_type, s.stage_name, a.kind, a.name, a.version, CAST(sum(u.uses) AS bigint) AS uses,
    CAST(sum(CASE WHEN a.fallback THEN u.uses ELSE 0 END) AS bigint) AS fallbacks
FROM used AS u JOIN asset AS a ON a.id = u.asset
LEFT JOIN stage_event AS s ON s.trace_id = u.trace_id AND s.stage_id = u.stage_id
GROUP BY s.stage_type, s.stage_name, a.kind, a.name, a.version
ORDER BY sum(u.uses) DESC, a.kind, a.name, COALESCE(a.version, ''), COALESCE(s.stage_type, ''), COALESCE(s.stage_name, '')
LIMIT :limit

-- name: graph_flows
-- The stage below another one, and the one after it under the same parent.
WITH {graph_traces},
placed AS MATERIALIZED (
    SELECT s.trace_id, s.stage_id, s.parent_stage_id, s.stage_type, s.stage_name,
        lead(s.stage_type) OVER siblings AS next_type, lead(s.stage_name) OVER siblings AS next_name
    FROM g {of_trace(stage_event)}
    WHERE s.run_id || '' = :run_id AND s.started_ns IS NOT NULL
    WINDOW siblings AS (PARTITION BY s.trace_id, COALESCE(s.parent_stage_id, '') ORDER BY s.started_ns, s.stage_id)
),
flows AS (
    SELECT 'child' AS relation, s.stage_type AS from_type, s.stage_name AS from_name, g.stage_type AS to_type,
        g.stage_name AS to_name
    FROM placed AS g {of_trace(stage_event)}
    WHERE s.stage_id = g.parent_stage_id
    UNION ALL
    SELECT 'next', stage_type, stage_name, next_type, next_name FROM placed WHERE next_type IS NOT NULL
)
SELECT relation, from_type, from_name, to_type, to_name, count(*) AS times
FROM flows
GROUP BY relation, from_type, from_name, to_type, to_name
ORDER BY count(*) DESC, relation, from_type, COALESCE(from_name, ''), to_type, COALESCE(to_name, '')
LIMIT :limit

-- name: run_versions
SELECT DISTINCT a.kind, a.name, a.version, a.digest
FROM (SELECT DISTINCT asset FROM asset_use WHERE run_id = :run_id) AS u JOIN asset AS a ON a.id = u.asset
