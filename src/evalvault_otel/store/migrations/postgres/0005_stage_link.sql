-- What stages are linked to, and what they are to it (ADR 0018). Few traces have any.
CREATE TABLE stage_link (
    trace_id text COLLATE "C" NOT NULL,
    -- Empty when no stage encloses the linking span.
    stage_id text COLLATE "C" NOT NULL,
    ordinal integer NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    link_type text COLLATE "C" NOT NULL,
    -- Empty when an evaluation names a response: its id is in linked_span_id then.
    linked_trace_id text COLLATE "C" NOT NULL,
    linked_span_id text COLLATE "C" NOT NULL,
    attributes jsonb,
    PRIMARY KEY (trace_id, stage_id, ordinal)
);
CREATE INDEX stage_link_linked ON stage_link (linked_trace_id, linked_span_id);
