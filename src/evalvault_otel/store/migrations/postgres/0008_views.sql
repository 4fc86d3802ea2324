-- Views for people and dashboards (docs/sql.md). Their columns stay; new ones come at the end.
CREATE VIEW v_run AS
SELECT
    r.run_id, r.name, r.kind, r.dataset, r.dataset_version, r.service, r.first_ns, r.last_ns,
    (r.last_ns - r.first_ns) / 1000000.0 AS duration_ms, t.traces, t.failed_traces, t.stages, t.errors,
    t.tokens_in, t.tokens_out, t.cost_total
FROM run AS r
JOIN (
    SELECT
        run_id, COUNT(*) AS traces, SUM(CASE WHEN errors > 0 THEN 1 ELSE 0 END) AS failed_traces,
        SUM(stages) AS stages, SUM(errors) AS errors,
        CAST(SUM(tokens_in) AS bigint) AS tokens_in, CAST(SUM(tokens_out) AS bigint) AS tokens_out,
        SUM(cost_total) AS cost_total
    FROM run_trace GROUP BY run_id
) AS t ON t.run_id = r.run_id;

CREATE VIEW v_trace AS
SELECT
    p.trace_id, p.run_id, p.service, p.name, p.started_ns, p.finished_ns,
    (p.finished_ns - p.started_ns) / 1000000.0 AS duration_ms, p.stages, p.errors, p.stage_types,
    p.tokens_in, p.tokens_out, p.cost_total, t.span_count, t.log_count, t.received_ns, t.mapping_version
FROM run_trace AS p JOIN trace AS t ON t.trace_id = p.trace_id;

CREATE VIEW v_finding AS
SELECT
    f.trace_id, f.ordinal, f.run_id, f.code, f.severity, f.detail, f.stage_id, f.span_id, p.started_ns
FROM finding AS f LEFT JOIN run_trace AS p ON p.trace_id = f.trace_id AND p.run_id = f.run_id;

CREATE VIEW v_metric AS
SELECT
    s.trace_id, s.stage_id, s.run_id, s.stage_type, s.stage_name, s.started_ns,
    s.stage_type || '.' || m.key AS metric_name, CAST(m.value AS double precision) AS score
FROM stage_event AS s CROSS JOIN LATERAL jsonb_each_text(s.metrics) AS m
UNION ALL
SELECT
    s.trace_id, s.stage_id, s.run_id, s.stage_type, s.stage_name, s.started_ns,
    s.stage_type || '.latency_ms' AS metric_name, s.duration_ms AS score
FROM stage_event AS s WHERE s.duration_ms IS NOT NULL;
