-- Reads of every database. Texts with a `$1`, and the words `percentiles`, `each_metric`, `metric`, `text_attribute`,
-- `limits`, `list`, `floors`, `changed`, `of_trace` and `position`, are in the dialect's file.
-- Casts in sums: PostgreSQL would answer in decimals.
-- Lists given as JSON are materialized and joined from the left: SQLite would read them again for every row.

-- name: failed
-- Statuses that count as an error; `run_trace.errors` counts the same.
$1status IN ('error', 'timeout')

-- name: place
$1trace_id, $1stage_id, $1span_id, $1stage_name

-- name: run_filter
FROM run AS r
WHERE EXISTS (
    SELECT 1 FROM run_trace AS t WHERE t.run_id = r.run_id
    AND t.service = :service -- if service
)
AND r.run_id = :run_id -- if run_id
AND r.kind = :kind -- if kind
AND r.last_ns >= :since_ns -- if since_ns
AND r.first_ns < :until_ns -- if until_ns
AND (lower(r.run_id) LIKE :q ESCAPE '\' OR lower(r.name) LIKE :q ESCAPE '\' OR lower(r.dataset) LIKE :q ESCAPE '\') -- if q

-- name: runs_total
SELECT count(*) AS n
{run_filter}

-- name: runs
WITH page AS (
    SELECT r.run_id, r.name, r.kind, r.dataset, r.dataset_version, r.service, r.last_ns AS seen_ns
    {run_filter}
    AND (r.last_ns, r.run_id) < (:after_ns, :after_id) -- if after_id
    ORDER BY r.last_ns DESC, r.run_id DESC
    LIMIT :limit
)
SELECT
    p.run_id, p.name, p.kind, p.dataset, p.dataset_version, p.service, p.seen_ns,
    count(DISTINCT t.service) AS services,
    min(t.started_ns) AS first_ns,
    max(t.finished_ns) AS last_ns,
    count(*) AS traces,
    count(*) FILTER (WHERE t.errors > 0) AS failed_traces,
    CAST(sum(t.stages) AS bigint) AS stages,
    CAST(sum(t.errors) AS bigint) AS errors,
    CAST(sum(t.tokens_in) AS bigint) AS tokens_in,
    CAST(sum(t.tokens_out) AS bigint) AS tokens_out,
    sum(t.cost_total) AS cost_total
FROM page AS p JOIN run_trace AS t ON t.run_id = p.run_id
GROUP BY p.run_id, p.name, p.kind, p.dataset, p.dataset_version, p.service, p.seen_ns
ORDER BY p.seen_ns DESC, p.run_id DESC

-- name: trace
SELECT trace_id, run_id, root_span_id, first_ns, last_ns, span_count, assembled_ns FROM trace WHERE trace_id = :trace_id

-- name: trace_parts
SELECT * FROM run_trace WHERE trace_id = :trace_id ORDER BY run_id

-- name: trace_stages
SELECT * FROM v_stage WHERE trace_id = :trace_id
AND run_id || '' = :run_id -- if run_id
ORDER BY CASE WHEN started_ns IS NULL THEN 1 ELSE 0 END, started_ns, stage_id

-- name: trace_assets
SELECT * FROM v_asset_use WHERE trace_id = :trace_id
AND run_id || '' = :run_id -- if run_id
ORDER BY stage_id, ordinal

-- name: trace_links
SELECT * FROM stage_link WHERE trace_id = :trace_id ORDER BY stage_id, ordinal

-- name: trace_evaluations
-- Stages of other traces that evaluate this one, by the span they name or by the response.
SELECT l.linked_trace_id, l.linked_span_id, s.*
FROM (
    SELECT * FROM stage_link WHERE linked_trace_id = :trace_id
    UNION ALL SELECT * FROM stage_link WHERE linked_trace_id = '' AND linked_span_id IN (SELECT value FROM {list(responses)} AS r) -- if responses
) AS l
JOIN v_stage AS s ON s.trace_id = l.trace_id AND s.stage_id = l.stage_id
WHERE l.link_type = 'evaluates' AND l.trace_id <> :trace_id
ORDER BY COALESCE(s.started_ns, 0), s.trace_id, s.stage_id, l.ordinal
LIMIT :limit

-- name: trace_findings
SELECT * FROM finding WHERE trace_id = :trace_id ORDER BY ordinal

-- name: stage_filter
FROM v_stage
WHERE run_id = :run_id
AND stage_type = :stage_type -- if stage_type
AND trace_id = :trace_id -- if trace_id
AND status = :status -- if status

-- name: stages_total
SELECT count(*) AS n
{stage_filter}

-- name: stages_timed
SELECT *
{stage_filter}
AND started_ns IS NOT NULL
AND (started_ns, stage_id, trace_id) > (:after_ns, :after_stage, :after_trace) -- if after_ns
ORDER BY started_ns, stage_id, trace_id
LIMIT :limit

-- name: stages_untimed
SELECT *
{stage_filter}
AND started_ns IS NULL
AND (stage_id, trace_id) > (:after_stage, :after_trace) -- if after_stage
ORDER BY stage_id, trace_id
LIMIT :limit

-- name: stage_types
SELECT
    stage_type,
    count(*) AS count,
    count(*) FILTER (WHERE {failed}) AS errors,
    count(*) FILTER (WHERE attempt > 1) AS retries,
    count(*) FILTER (WHERE status = 'skipped') AS skipped,
    count(x) AS timed,
    avg(x) AS avg_ms,
    {percentiles(x)} AS percentiles,
    max(x) AS max_ms,
    COALESCE(sum(self_ms), 0.0) AS self_ms,
    {percentiles(self_ms)} AS self_percentiles,
    COALESCE(sum(critical_ms), 0.0) AS critical_ms
FROM (
    SELECT
        stage_type, status, attempt, critical_ms,
        CASE WHEN NOT derived THEN self_ms END AS self_ms,
        CASE WHEN NOT derived THEN duration_ms END AS x
    FROM stage_event WHERE run_id = :run_id
) AS s
GROUP BY stage_type
ORDER BY stage_type

-- name: missing_types
SELECT
    n.value AS stage_type,
    count(*) AS of_traces,
    count(*) FILTER (WHERE {lacks}) AS traces,
    min(CASE WHEN {lacks} THEN t.trace_id END) AS trace_id
FROM {list(required)} AS n CROSS JOIN run_trace AS t
WHERE t.run_id = :run_id
GROUP BY n.value
ORDER BY n.value

-- name: lacks
{position}(t.stage_types, ',' || n.value || ',') = 0

-- name: nth_start
-- When the stage starts that comes so many after a time.
SELECT started_ns FROM stage_event
WHERE run_id = :run_id AND started_ns IS NOT NULL
AND started_ns >= :after_ns -- if after_ns
ORDER BY started_ns
LIMIT 1 OFFSET :n

-- name: metric_rows
SELECT s.trace_id, s.stage_id, s.span_id, s.stage_name, s.stage_type, s.started_ns,
    s.stage_type || '.' || m.key AS metric_name, CAST(m.value AS double precision) AS x
FROM stage_event AS s, {each_metric}
WHERE s.run_id = :run_id AND m.value IS NOT NULL
AND s.stage_id = :stage_id -- if stage_id
AND (s.started_ns >= :after_ns OR s.started_ns IS NULL) -- if after_ns
AND s.started_ns <= :until_ns -- if until_ns
AND s.stage_type IN (SELECT value FROM {list(types)} AS t) -- if types
UNION ALL
SELECT s.trace_id, s.stage_id, s.span_id, s.stage_name, s.stage_type, s.started_ns,
    s.stage_type || '.latency_ms' AS metric_name, s.duration_ms AS x
FROM stage_event AS s
WHERE s.run_id = :run_id AND s.duration_ms IS NOT NULL AND NOT s.derived
AND s.stage_id = :stage_id -- if stage_id
AND (s.started_ns >= :after_ns OR s.started_ns IS NULL) -- if after_ns
AND s.started_ns <= :until_ns -- if until_ns
AND s.stage_type IN (SELECT value FROM {list(types)} AS t) -- if types

-- name: passed
CASE WHEN l.at_most THEN v.x <= l.bound ELSE v.x >= l.bound END

-- name: metric_stats
WITH limits AS MATERIALIZED ({limits})
SELECT
    v.metric_name,
    count(*) AS count,
    avg(v.x) AS avg,
    min(v.x) AS min,
    max(v.x) AS max,
    {percentiles(v.x)} AS percentiles,
    count(*) FILTER (WHERE {passed}) AS passed
FROM ({metric_rows}) AS v LEFT JOIN limits AS l ON l.metric_name = v.metric_name
GROUP BY v.metric_name
ORDER BY v.metric_name

-- name: scores
WITH limits AS MATERIALIZED ({limits})
SELECT {place(p.)}, p.stage_type, p.begun_ns, p.metric_name, p.x, s.duration_ms, s.attributes, s.metadata
FROM (
    SELECT {place(v.)}, v.stage_type, v.metric_name, v.x, COALESCE(v.started_ns, :never_ns) AS begun_ns
    FROM ({metric_rows}) AS v LEFT JOIN limits AS l ON l.metric_name = v.metric_name
    WHERE v.x IS NOT NULL
    AND v.metric_name = :metric_name -- if metric_name
    AND NOT ({passed}) -- if failing
    AND ({passed}) -- if passing
    AND (COALESCE(v.started_ns, :never_ns), v.stage_id, v.trace_id, v.metric_name) -- if after_ns
        > (:after_ns, :after_stage, :after_trace, :after_metric) -- if after_ns
    ORDER BY begun_ns, v.stage_id, v.trace_id, v.metric_name
    LIMIT :limit
) AS p
JOIN v_stage AS s ON s.trace_id = p.trace_id AND s.stage_id = p.stage_id
ORDER BY p.begun_ns, p.stage_id, p.trace_id, p.metric_name

-- name: worst_scores
WITH limits AS MATERIALIZED ({limits})
SELECT * FROM (
    SELECT {place(v.)}, v.metric_name, v.x, row_number() OVER (
        PARTITION BY v.metric_name ORDER BY CASE WHEN l.at_most THEN -v.x ELSE v.x END, v.trace_id, v.stage_id
    ) AS place
    FROM ({metric_rows}) AS v LEFT JOIN limits AS l ON l.metric_name = v.metric_name
    WHERE NOT ({passed})
) AS w
WHERE place <= :examples
ORDER BY metric_name, place

-- name: error_groups
-- A failure is passed on when a stage below failed too: the group of that stage is where to look.
WITH failure AS (
    SELECT s.*, CASE WHEN EXISTS (
        SELECT 1 FROM stage_event AS c
        WHERE c.trace_id = s.trace_id AND c.parent_stage_id = s.stage_id AND {failed(c.)}
    ) THEN 1 ELSE 0 END AS passed_on
    FROM stage_event AS s WHERE s.run_id = :run_id AND {failed(s.)}
),
numbered AS (
    SELECT {place}, stage_type, error_type, error_message, COALESCE(error_fingerprint, '') AS fingerprint,
        row_number() OVER (
            PARTITION BY stage_type, COALESCE(error_fingerprint, '')
            ORDER BY passed_on, COALESCE(started_ns, 0), trace_id, stage_id
        ) AS place
    FROM failure
),
grouped AS (
    SELECT stage_type, COALESCE(error_fingerprint, '') AS fingerprint, count(*) AS count,
        CAST(sum(passed_on) AS bigint) AS propagated, count(DISTINCT trace_id) AS traces,
        min(started_ns) AS first_ns, max(started_ns) AS last_ns
    FROM failure GROUP BY stage_type, COALESCE(error_fingerprint, '')
    ORDER BY count(*) - sum(passed_on) DESC, count(*) DESC, stage_type, fingerprint
    LIMIT :limit
)
SELECT g.*, {place(n.)}, n.error_type, n.error_message, n.place
FROM grouped AS g JOIN numbered AS n ON n.stage_type = g.stage_type AND n.fingerprint = g.fingerprint
WHERE n.place <= :examples
ORDER BY g.count - g.propagated DESC, g.count DESC, g.stage_type, g.fingerprint, n.place

-- name: outliers
-- Over the time a stage took itself: a parent is not slow because its child was. One that failed, at the end of a
-- timeout, is not slow but failed.
WITH floors AS MATERIALIZED ({floors})
SELECT * FROM (
    SELECT {place(s.)}, s.stage_type, s.self_ms AS x,
        count(*) OVER (PARTITION BY s.stage_type) AS count,
        sum(s.self_ms - f.typical_ms) OVER (PARTITION BY s.stage_type) AS excess_ms,
        row_number() OVER (PARTITION BY s.stage_type ORDER BY s.self_ms DESC, s.trace_id, s.stage_id) AS place
    FROM stage_event AS s LEFT JOIN floors AS f ON f.stage_type = s.stage_type
    WHERE s.run_id = :run_id AND NOT s.derived AND s.self_ms > f.floor_ms AND NOT ({failed(s.)})
) AS o
WHERE place <= :examples
ORDER BY stage_type, place

-- name: slowest_traces
SELECT t.*, b.root_span_id, (t.finished_ns - t.started_ns) / 1000000.0 AS duration_ms
FROM run_trace AS t LEFT JOIN trace AS b ON b.trace_id = t.trace_id
WHERE t.run_id = :run_id
ORDER BY t.finished_ns - t.started_ns DESC, t.trace_id
LIMIT :limit

-- name: retrieval_health
WITH seen AS MATERIALIZED (
    SELECT {place}, stage_type, {text_attribute(query)} AS query,
        {metric(result_count)} AS results,
        {metric(duplicate_count)} AS duplicates,
        {metric(order_inversions)} AS inversions,
        {metric(citation_coverage)} AS covered
    FROM stage_event
    WHERE run_id = :run_id AND stage_type IN ('retrieval', 'output') AND status = 'success'
),
counted AS (
    SELECT count(*) FILTER (WHERE stage_type = 'retrieval') AS count,
        count(*) FILTER (WHERE results = 0) AS empty,
        count(*) FILTER (WHERE duplicates > 0) AS with_duplicates,
        count(*) FILTER (WHERE inversions > 0) AS out_of_order,
        count(covered) AS citing,
        count(*) FILTER (WHERE covered < 1) AS citing_others
    FROM seen
),
odd AS (
    SELECT seen.*, CASE WHEN covered < 1 THEN 'citation' WHEN results = 0 THEN 'empty' WHEN duplicates > 0
        THEN 'duplicates' ELSE 'order' END AS problem
    FROM seen WHERE results = 0 OR duplicates > 0 OR inversions > 0 OR covered < 1
),
numbered AS (
    SELECT odd.*, row_number() OVER (PARTITION BY problem ORDER BY trace_id, stage_id) AS place FROM odd
)
SELECT c.*, n.problem, n.query, {place(n.)}
FROM counted AS c LEFT JOIN numbered AS n ON n.place <= :examples
ORDER BY n.problem, n.place

-- name: asset_versions
SELECT u.stage_type, a.kind, a.name, a.version, a.digest, a.origin, CAST(sum(u.uses) AS bigint) AS uses,
    CAST(sum(CASE WHEN a.fallback THEN u.uses ELSE 0 END) AS bigint) AS fallbacks,
    min(u.first_ns) AS first_ns, max(u.last_ns) AS last_ns
FROM (
    SELECT s.stage_type, b.asset, count(*) AS uses, min(b.used_ns) AS first_ns, max(b.used_ns) AS last_ns
    FROM asset_use AS b LEFT JOIN stage_event AS s ON s.trace_id = b.trace_id AND s.stage_id = b.stage_id
    WHERE b.run_id = :run_id
    GROUP BY s.stage_type, b.asset
) AS u JOIN asset AS a ON a.id = u.asset
GROUP BY u.stage_type, a.kind, a.name, a.version, a.digest, a.origin

-- name: changed_uses
-- Uses of assets that changed; `v` is the version, or the digest where that is what changed.
SELECT a.trace_id, a.stage_id, a.ordinal, a.kind, a.name, a.used_ns, c.measured_types,
    COALESCE(CASE WHEN c.by_digest THEN a.digest ELSE a.version END, '') AS v
FROM v_asset_use AS a JOIN changed AS c ON c.kind = a.kind AND c.name = a.name
WHERE a.run_id = :run_id

-- name: version_uses
WITH changed AS MATERIALIZED ({changed})
SELECT n.kind, n.name, n.v AS version, n.traces, n.first_ns, n.last_ns, n.trace_id, n.stage_id, s.span_id, s.stage_name
FROM (
    SELECT u.*,
        min(u.used_ns) OVER (PARTITION BY u.kind, u.name, u.v) AS first_ns,
        max(u.used_ns) OVER (PARTITION BY u.kind, u.name, u.v) AS last_ns,
        CAST(sum(CASE WHEN u.nth_of_trace = 1 THEN 1 ELSE 0 END) OVER (PARTITION BY u.kind, u.name, u.v) AS bigint) AS traces,
        row_number() OVER (PARTITION BY u.kind, u.name, u.v ORDER BY COALESCE(u.used_ns, 0), u.trace_id, u.stage_id, u.ordinal) AS place
    FROM (
        SELECT w.*, row_number() OVER (PARTITION BY w.kind, w.name, w.v, w.trace_id ORDER BY w.ordinal) AS nth_of_trace
        FROM ({changed_uses}) AS w
    ) AS u
) AS n LEFT JOIN stage_event AS s ON s.trace_id = n.trace_id AND s.stage_id = n.stage_id
WHERE n.place = 1
ORDER BY n.kind, n.name, COALESCE(n.first_ns, 0), n.v

-- name: version_metrics
-- Traces that used one version only; of these, stages of the types that used the asset. `of_trace` looks rows up by
-- trace: right after an import there are no statistics, and a free join of two long lists then takes a minute. For the
-- same reason `|| ''` keeps SQLite from looking stages up by run.
WITH changed AS MATERIALIZED ({changed}),
single AS MATERIALIZED (
    SELECT kind, name, trace_id, min(v) AS v, min(measured_types) AS measured_types
    FROM ({changed_uses}) AS u GROUP BY kind, name, trace_id HAVING min(v) = max(v)
),
measured AS MATERIALIZED (
    SELECT g.kind, g.name, g.v, s.stage_type, s.metrics, CASE WHEN NOT s.derived THEN s.duration_ms END AS duration_ms
    FROM single AS g {of_trace(stage_event)}
    WHERE s.run_id || '' = :run_id AND {position}(g.measured_types, ',' || s.stage_type || ',') > 0
),
scored AS (
    SELECT s.kind, s.name, s.v, s.stage_type || '.' || m.key AS metric_name, CAST(m.value AS double precision) AS x
    FROM measured AS s, {each_metric}
    WHERE m.value IS NOT NULL
    UNION ALL
    SELECT s.kind, s.name, s.v, s.stage_type || '.latency_ms', s.duration_ms
    FROM measured AS s WHERE s.duration_ms IS NOT NULL
    UNION ALL
    SELECT g.kind, g.name, g.v, 'trace.error_rate', CASE WHEN s.errors > 0 THEN 1.0 ELSE 0.0 END
    FROM single AS g {of_trace(run_trace)}
    WHERE s.run_id || '' = :run_id
)
SELECT kind, name, v AS version, metric_name, count(*) AS count, avg(x) AS avg, avg(x * x) AS avg_square
FROM scored
GROUP BY kind, name, v, metric_name
ORDER BY kind, name, metric_name, v

-- name: finding_codes
WITH numbered AS (
    SELECT f.code, f.severity, f.detail, f.trace_id, COALESCE(f.stage_id, '') AS stage_id,
        COALESCE(f.span_id, s.span_id) AS span_id, s.stage_name,
        row_number() OVER (PARTITION BY f.code, f.severity ORDER BY f.trace_id, f.ordinal) AS place
    FROM finding AS f LEFT JOIN stage_event AS s ON s.trace_id = f.trace_id AND s.stage_id = f.stage_id
    WHERE f.run_id = :run_id
),
counted AS (
    SELECT code, severity, count(*) AS count, count(DISTINCT trace_id) AS traces
    FROM finding WHERE run_id = :run_id GROUP BY code, severity
)
SELECT c.code, c.severity, c.count, c.traces, n.detail, {place(n.)}
FROM counted AS c JOIN numbered AS n ON n.code = c.code AND n.severity = c.severity
WHERE n.place <= :examples
ORDER BY c.count DESC, c.code, c.severity, n.place

-- name: rejects
-- SQLite has NULL for a part of nothing.
SELECT id, received_ns, transport, peer, signal, encoding, reason, count, size,
    COALESCE(substr(payload, 1, :head), payload) AS payload
FROM reject
WHERE id > 0
AND id < :before_id -- if before_id
AND received_ns >= :since_ns -- if since_ns
AND signal = :signal -- if signal
AND lower(reason) LIKE :q ESCAPE '\' -- if q
ORDER BY id DESC
LIMIT :limit

-- name: reject
SELECT id, received_ns, transport, peer, signal, encoding, reason, count, size, payload FROM reject WHERE id = :id

-- name: migrations_done
SELECT version FROM migration

-- name: waiting
SELECT count(*) AS n, min(dirty_since_ns) AS oldest_ns FROM trace WHERE dirty

-- name: prunable
SELECT count(*) AS traces, CAST(COALESCE(sum(span_count), 0) AS bigint) AS spans, min(received_ns) AS oldest_ns
FROM trace WHERE received_ns < :before_ns

-- name: no_trace
NOT EXISTS (SELECT 1 FROM run_trace AS t WHERE t.run_id = run.run_id)

-- name: locked_runs
SELECT run_id FROM run WHERE {of_listed_runs} ORDER BY run_id {for_update}

-- name: empty_runs
SELECT run_id FROM run WHERE {of_listed_runs} AND {no_trace}

-- name: delete_empty_runs
DELETE FROM run WHERE {of_listed_runs} AND {no_trace} RETURNING 1

-- name: recent_traces
SELECT trace_id, span_count, received_ns FROM trace
WHERE span_count > 0
AND received_ns >= :since_ns -- if since_ns
ORDER BY received_ns DESC, trace_id
LIMIT :limit

-- name: selection
-- Traces of the archive. Assembled by another mapping, if one is given.
FROM trace AS t WHERE t.span_count + t.log_count > 0
AND t.trace_id = :trace_id -- if trace_id
AND t.received_ns >= :since_ns -- if since_ns
AND EXISTS (SELECT 1 FROM run_trace AS r WHERE r.trace_id = t.trace_id AND r.run_id = :run_id) -- if run_id
AND t.assembled_ns IS NOT NULL AND t.span_count > 0 -- if assembled
AND t.dirty -- if waiting
AND COALESCE(t.mapping_version, '') <> :not_mapping -- if not_mapping

-- name: selected
SELECT count(*) AS traces, CAST(COALESCE(sum(t.span_count), 0) AS bigint) AS spans
{selection}

-- name: selected_mappings
SELECT COALESCE(t.mapping_version, '') AS mapping, count(*) AS traces
{selection}
GROUP BY 1

-- name: selected_page
SELECT t.trace_id, t.span_count, t.log_count
{selection}
AND t.trace_id > :after -- if after
ORDER BY t.trace_id
LIMIT :limit
