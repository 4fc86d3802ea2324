-- Log records that are events of a span (ADR 0010). The id is a hash of the content: a repeated record has the same.
CREATE TABLE log_event (
    trace_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    span_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    time_ns bigint NOT NULL,
    observed_ns bigint NOT NULL,
    severity integer NOT NULL,
    severity_text text NOT NULL,
    -- NULL is a record without a body.
    body json,
    attributes json NOT NULL,
    dropped_attributes bigint,
    flags bigint NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    scope_id text COLLATE "C" NOT NULL,
    received_ns bigint NOT NULL,
    PRIMARY KEY (trace_id, id)
);

DO $$
BEGIN
    ALTER TABLE log_event ALTER COLUMN body SET COMPRESSION lz4;
    ALTER TABLE log_event ALTER COLUMN attributes SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$;

-- Every write that adds a span or a log event to a trace changes one of its two counts.
ALTER TABLE trace ADD COLUMN log_count bigint NOT NULL DEFAULT 0;

-- What a trace says about its run; `run` holds the last word, and `*_by` who said it: end of the trace, then its id.
ALTER TABLE run_trace
    ADD COLUMN run_name text,
    ADD COLUMN run_kind text,
    ADD COLUMN dataset text,
    ADD COLUMN dataset_version text;
ALTER TABLE run
    ADD COLUMN name_by text COLLATE "C",
    ADD COLUMN kind_by text COLLATE "C",
    ADD COLUMN dataset_by text COLLATE "C",
    ADD COLUMN dataset_version_by text COLLATE "C",
    ADD COLUMN service_by text COLLATE "C";

-- Which of the older traces said it is not known any more: all of them did.
UPDATE run_trace SET run_name = r.name, run_kind = r.kind, dataset = r.dataset, dataset_version = r.dataset_version
FROM run AS r
WHERE r.run_id = run_trace.run_id AND COALESCE(r.name, r.kind, r.dataset, r.dataset_version) IS NOT NULL;
UPDATE run SET
    name_by = CASE WHEN name IS NOT NULL THEN lpad(CAST(last_ns AS text), 19, '0') END,
    kind_by = CASE WHEN kind IS NOT NULL THEN lpad(CAST(last_ns AS text), 19, '0') END,
    dataset_by = CASE WHEN dataset IS NOT NULL THEN lpad(CAST(last_ns AS text), 19, '0') END,
    dataset_version_by = CASE WHEN dataset_version IS NOT NULL THEN lpad(CAST(last_ns AS text), 19, '0') END,
    service_by = lpad(CAST(last_ns AS text), 19, '0');
