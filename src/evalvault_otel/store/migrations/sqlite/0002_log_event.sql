-- Log records that are events of a span (ADR 0010). The id is a hash of the content: a repeated record has the same.
CREATE TABLE log_event (
    trace_id TEXT NOT NULL,
    id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    name TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    observed_ns INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    severity_text TEXT NOT NULL,
    -- NULL is a record without a body.
    body TEXT,
    attributes TEXT NOT NULL,
    dropped_attributes INTEGER,
    flags INTEGER NOT NULL,
    resource_id TEXT NOT NULL,
    scope_id TEXT NOT NULL,
    received_ns INTEGER NOT NULL,
    PRIMARY KEY (trace_id, id)
);

-- Every write that adds a span or a log event to a trace changes one of its two counts.
ALTER TABLE trace ADD COLUMN log_count INTEGER NOT NULL DEFAULT 0;

-- What a trace says about its run; `run` holds the last word, and `*_by` who said it: end of the trace, then its id.
ALTER TABLE run_trace ADD COLUMN run_name TEXT;
ALTER TABLE run_trace ADD COLUMN run_kind TEXT;
ALTER TABLE run_trace ADD COLUMN dataset TEXT;
ALTER TABLE run_trace ADD COLUMN dataset_version TEXT;
ALTER TABLE run ADD COLUMN name_by TEXT;
ALTER TABLE run ADD COLUMN kind_by TEXT;
ALTER TABLE run ADD COLUMN dataset_by TEXT;
ALTER TABLE run ADD COLUMN dataset_version_by TEXT;
ALTER TABLE run ADD COLUMN service_by TEXT;

-- Which of the older traces said it is not known any more: all of them did.
UPDATE run_trace SET
    run_name = (SELECT r.name FROM run AS r WHERE r.run_id = run_trace.run_id),
    run_kind = (SELECT r.kind FROM run AS r WHERE r.run_id = run_trace.run_id),
    dataset = (SELECT r.dataset FROM run AS r WHERE r.run_id = run_trace.run_id),
    dataset_version = (SELECT r.dataset_version FROM run AS r WHERE r.run_id = run_trace.run_id);
UPDATE run SET
    name_by = CASE WHEN name IS NOT NULL THEN printf('%019d', last_ns) END,
    kind_by = CASE WHEN kind IS NOT NULL THEN printf('%019d', last_ns) END,
    dataset_by = CASE WHEN dataset IS NOT NULL THEN printf('%019d', last_ns) END,
    dataset_version_by = CASE WHEN dataset_version IS NOT NULL THEN printf('%019d', last_ns) END,
    service_by = printf('%019d', last_ns);
