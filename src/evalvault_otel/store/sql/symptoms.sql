-- What a debug report asks about symptoms: where they are at home, when they began, what repeats. Every read of whole
-- attributes is of a bounded sample, taken through the index on (run_id, started_ns).

-- name: symptom
-- Stages that show a symptom; the caller gives the parameters of one of them.
s.stage_type = :stage_type
AND {failed(s.)} -- if fingerprint
AND COALESCE(s.error_fingerprint, '') = :fingerprint -- if fingerprint
AND NOT ({failed(s.)}) AND s.self_ms > :above_ms -- if above_ms
AND s.started_ns >= :from_ns -- if from_ns
AND {metric(result_count)} = 0 -- if empty
AND {metric(duplicate_count)} > 0 -- if duplicates
AND {metric(citation_coverage)} < 1 -- if citation
AND {text_attribute(answer)} = '' -- if empty_answer
AND {metric(block_rate)} > 0 -- if blocked
AND {metric(pass_rate)} < 1 -- if invalid

-- name: segments
-- Each word that the stage, its trace or its resource says, and how many stages with and without the symptom say it.
WITH sampled AS MATERIALIZED (
    SELECT * FROM (
        SELECT 1 AS hit, s.trace_id, s.stage_id, s.span_id, s.attributes, s.metadata
        FROM stage_event AS s
        WHERE s.run_id = :run_id AND ({symptom})
        ORDER BY s.started_ns, s.trace_id, s.stage_id
        LIMIT :most
    ) AS hits
    UNION ALL
    SELECT * FROM (
        SELECT 0 AS hit, s.trace_id, s.stage_id, s.span_id, s.attributes, s.metadata
        FROM stage_event AS s
        WHERE s.run_id = :run_id AND s.stage_type = :stage_type AND s.started_ns IS NOT NULL
        AND COALESCE(NOT ({symptom}), TRUE)
        ORDER BY s.started_ns, s.trace_id, s.stage_id
        LIMIT :most
    ) AS others
),
said AS (
    SELECT s.hit, s.trace_id, s.stage_id, e.key, {word} AS word
    FROM sampled AS s, {each_value(s.attributes)} WHERE {is_word}
    UNION ALL
    SELECT s.hit, s.trace_id, s.stage_id, e.key, {word} AS word
    FROM sampled AS s, {each_value(s.metadata)} WHERE {is_word}
    UNION ALL
    SELECT s.hit, s.trace_id, s.stage_id, e.key, {word} AS word
    FROM sampled AS s JOIN run_trace AS t ON t.trace_id = s.trace_id AND t.run_id = :run_id, {each_value(t.metadata)}
    WHERE {is_word}
    UNION ALL
    SELECT s.hit, s.trace_id, s.stage_id, e.key, {word} AS word
    FROM sampled AS s
    JOIN span AS p ON p.trace_id = s.trace_id AND p.span_id = s.span_id
    JOIN resource AS r ON r.id = p.resource_id, {each_value(r.attributes)}
    WHERE {is_word}
),
counted AS (
    SELECT key, word, sum(hit) AS hits, sum(1 - hit) AS others
    FROM (SELECT DISTINCT hit, trace_id, stage_id, key, word FROM said WHERE length(word) <= :longest) AS d
    GROUP BY key, word
)
SELECT c.key, c.word, CAST(c.hits AS bigint) AS hits, CAST(c.others AS bigint) AS others, t.all_hits, t.all_others
FROM (
    SELECT CAST(COALESCE(sum(hit), 0) AS bigint) AS all_hits, CAST(COALESCE(sum(1 - hit), 0) AS bigint) AS all_others
    FROM sampled
) AS t JOIN counted AS c ON c.hits * 2 >= t.all_hits AND c.hits >= 3
ORDER BY c.key, c.word

-- name: checks
-- Answers without text, and what checks of the application itself say.
WITH seen AS (
    SELECT {place}, stage_type, started_ns, CASE stage_type
        WHEN 'safety_check' THEN CASE WHEN {metric(block_rate)} > 0 THEN 'blocked' END
        WHEN 'answer_validation' THEN CASE WHEN {metric(pass_rate)} < 1 THEN 'invalid' END
        ELSE CASE WHEN {text_attribute(answer)} = '' THEN 'empty_answer' END
    END AS problem
    FROM stage_event
    WHERE run_id = :run_id AND stage_type IN ('output', 'safety_check', 'answer_validation') AND NOT ({failed()})
    AND status <> 'skipped'
),
counted AS (
    SELECT stage_type, count(DISTINCT trace_id) AS of_all,
        count(DISTINCT CASE WHEN problem IS NOT NULL THEN trace_id END) AS count
    FROM seen GROUP BY stage_type
),
numbered AS (
    SELECT seen.*, row_number() OVER (PARTITION BY stage_type ORDER BY trace_id, stage_id) AS place
    FROM seen WHERE problem IS NOT NULL
)
SELECT n.problem, c.stage_type, c.count, c.of_all, {place(n.)}
FROM counted AS c JOIN numbered AS n ON n.stage_type = c.stage_type
WHERE n.place <= :examples
ORDER BY n.problem, n.place

-- name: window
-- The first stages of one of the parts of a run.
SELECT * FROM (
    SELECT $1 AS part, s.trace_id, s.stage_type, s.started_ns, s.metrics, s.duration_ms, s.tokens_in, s.cost_total
    FROM stage_event AS s
    WHERE s.run_id = :run_id AND s.started_ns >= :first_ns + $1 * CAST(:step_ns AS bigint)
    AND s.started_ns < :first_ns + ($1 + 1) * CAST(:step_ns AS bigint)
    AND s.status = 'success' AND NOT s.derived
    ORDER BY s.started_ns, s.trace_id, s.stage_id
    LIMIT :most
) AS window_$1

-- name: windows
-- One score per trace and part: stages of one trace are alike, and a loop would count for many.
WITH s AS MATERIALIZED (
    {window(0)}
    UNION ALL
    {window(1)}
    UNION ALL
    {window(2)}
    UNION ALL
    {window(3)}
    UNION ALL
    {window(4)}
    UNION ALL
    {window(5)}
    UNION ALL
    {window(6)}
    UNION ALL
    {window(7)}
),
scored AS (
    SELECT s.part, s.trace_id, s.stage_type, m.key AS name, CAST(m.value AS double precision) AS x
    FROM s, {each_metric} WHERE m.value IS NOT NULL
    UNION ALL SELECT s.part, s.trace_id, s.stage_type, 'latency_ms', s.duration_ms FROM s WHERE s.duration_ms IS NOT NULL
    UNION ALL SELECT s.part, s.trace_id, s.stage_type, 'tokens_in', s.tokens_in FROM s WHERE s.tokens_in IS NOT NULL
    UNION ALL SELECT s.part, s.trace_id, s.stage_type, 'cost_total', s.cost_total FROM s WHERE s.cost_total IS NOT NULL
),
averaged AS (
    SELECT part, stage_type, name, avg(x) AS x FROM scored GROUP BY part, stage_type, name, trace_id
)
SELECT part, stage_type, name, count(*) AS count, avg(x) AS avg, avg(x * x) AS avg_square
FROM averaged
GROUP BY part, stage_type, name
ORDER BY stage_type, name, part

-- name: repeats
-- Stages of one type and name that a trace has many of. Looked for in the traces with most stages and most errors; what is
-- usual is the median over the first traces that have any.
WITH first AS MATERIALIZED (
    SELECT trace_id FROM run_trace WHERE run_id = :run_id ORDER BY started_ns, trace_id LIMIT :most
),
chosen AS MATERIALIZED (
    SELECT trace_id FROM first
    UNION SELECT trace_id FROM (
        SELECT trace_id FROM run_trace WHERE run_id = :run_id ORDER BY stages DESC, trace_id LIMIT :most
    ) AS largest
    UNION SELECT trace_id FROM (
        SELECT trace_id FROM run_trace WHERE run_id = :run_id AND errors > 0 ORDER BY errors DESC, trace_id LIMIT :most
    ) AS failing
),
per_trace AS MATERIALIZED (
    SELECT s.stage_type, COALESCE(s.stage_name, '') AS name, s.trace_id, count(*) AS n,
        CAST(sum(CASE WHEN {failed(s.)} THEN 1 ELSE 0 END) AS bigint) AS failures, min(s.error_type) AS error_type,
        min(s.error_message) AS error_message
    FROM chosen AS g {of_trace(stage_event)}
    WHERE s.run_id || '' = :run_id AND NOT s.derived
    GROUP BY s.stage_type, COALESCE(s.stage_name, ''), s.trace_id
),
usual AS (
    SELECT stage_type, name, {percentiles(n)} AS percentiles
    FROM per_trace WHERE trace_id IN (SELECT trace_id FROM first)
    GROUP BY stage_type, name
)
SELECT p.stage_type, p.name, p.trace_id, p.n, p.failures, p.error_type, p.error_message, u.percentiles
FROM per_trace AS p LEFT JOIN usual AS u ON u.stage_type = p.stage_type AND u.name = p.name
WHERE p.n >= :least OR p.failures >= :least_failures
ORDER BY p.stage_type, p.name, p.n DESC, p.trace_id

-- name: late_children
-- Stages that began after the stage that they hang under had ended, in the first traces of the run. What is meant to run
-- later is left out.
WITH first AS MATERIALIZED (
    SELECT trace_id FROM run_trace WHERE run_id = :run_id ORDER BY started_ns, trace_id LIMIT :most
),
found AS (
    SELECT s.trace_id, s.stage_id, s.span_id, s.stage_name, s.stage_type, p.stage_type AS parent_type
    FROM first AS g {of_trace(stage_event)}
    JOIN stage_event AS p ON p.trace_id = s.trace_id AND p.stage_id = s.parent_stage_id
    WHERE s.run_id || '' = :run_id AND s.started_ns - :slack_ns > p.finished_ns
    AND s.stage_type NOT IN ('evaluation', 'memory', 'ingest')
),
numbered AS (
    SELECT f.*, row_number() OVER (PARTITION BY f.stage_type, f.parent_type ORDER BY f.trace_id, f.stage_id) AS place
    FROM found AS f
),
counted AS (
    SELECT stage_type, parent_type, count(DISTINCT trace_id) AS traces FROM found GROUP BY stage_type, parent_type
)
SELECT c.stage_type, c.parent_type, c.traces, (SELECT count(*) FROM first) AS of_traces, {place(n.)}
FROM counted AS c JOIN numbered AS n ON n.stage_type = c.stage_type AND n.parent_type = c.parent_type
WHERE n.place <= :examples
ORDER BY c.traces DESC, c.stage_type, c.parent_type, n.place
