-- The same as on PostgreSQL; what the columns mean is said there.
CREATE TABLE stage_link (
    trace_id TEXT NOT NULL,
    stage_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    link_type TEXT NOT NULL,
    linked_trace_id TEXT NOT NULL,
    linked_span_id TEXT NOT NULL,
    attributes TEXT,
    PRIMARY KEY (trace_id, stage_id, ordinal)
);
CREATE INDEX stage_link_linked ON stage_link (linked_trace_id, linked_span_id);
