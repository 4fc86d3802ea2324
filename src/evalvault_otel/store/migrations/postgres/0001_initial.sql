-- Ids are compared byte by byte (COLLATE "C"): faster, and the same order on every server.
-- Archive documents are `json`: kept as written, so numbers keep their type (1 and 1.0 differ).

CREATE TABLE resource (
    id text COLLATE "C" PRIMARY KEY,
    attributes json NOT NULL,
    dropped_attributes bigint NOT NULL,
    schema_url text NOT NULL
);

CREATE TABLE scope (
    id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    version text NOT NULL,
    attributes json NOT NULL,
    dropped_attributes bigint NOT NULL,
    schema_url text NOT NULL
);

-- dropped_* are NULL where nothing was dropped.
CREATE TABLE span (
    trace_id text COLLATE "C" NOT NULL,
    span_id text COLLATE "C" NOT NULL,
    parent_span_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    kind integer NOT NULL,
    start_ns bigint NOT NULL,
    end_ns bigint NOT NULL,
    status_code integer NOT NULL,
    status_message text NOT NULL,
    attributes json NOT NULL,
    events json,
    links json,
    dropped_attributes bigint,
    dropped_events bigint,
    dropped_links bigint,
    flags bigint NOT NULL,
    trace_state text NOT NULL,
    resource_id text COLLATE "C" NOT NULL,
    scope_id text COLLATE "C" NOT NULL,
    received_ns bigint NOT NULL,
    PRIMARY KEY (trace_id, span_id)
);

-- lz4 compresses several times faster than the default, but not every server is built with it.
DO $$
BEGIN
    ALTER TABLE span ALTER COLUMN attributes SET COMPRESSION lz4;
    ALTER TABLE span ALTER COLUMN events SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$;

CREATE TABLE trace (
    trace_id text COLLATE "C" PRIMARY KEY,
    run_id text COLLATE "C",
    root_span_id text COLLATE "C",
    first_ns bigint,
    last_ns bigint,
    span_count bigint NOT NULL,
    dirty boolean NOT NULL,
    dirty_since_ns bigint,
    due_ns bigint,
    assemblies integer NOT NULL,
    mapping_version integer,
    assembled_ns bigint,
    received_ns bigint NOT NULL
);
CREATE INDEX trace_due ON trace (due_ns) WHERE dirty;

-- Keyed by (trace_id, stage_id), asset_use by (trace_id, stage_id, ordinal): assembly makes these unique, and rows are
-- replaced per trace under its lock. An index on the trace alone is a third of the size of a unique one (ADR 0008).
CREATE TABLE stage_event (
    trace_id text COLLATE "C" NOT NULL,
    stage_id text COLLATE "C" NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    stage_type text COLLATE "C" NOT NULL,
    stage_name text,
    parent_stage_id text COLLATE "C",
    status text COLLATE "C" NOT NULL,
    attempt integer NOT NULL,
    started_ns bigint,
    finished_ns bigint,
    duration_ms double precision,
    self_ms double precision,
    critical_ms double precision,
    input_ref text,
    output_ref text,
    attributes json NOT NULL,
    -- What differs from the metadata that all stages of the trace share (run_trace.metadata).
    metadata jsonb,
    span_id text COLLATE "C",
    derived boolean NOT NULL,
    -- NULL says what most stages say: attribute:evalvault.stage.type
    type_source text,
    wrapped_span_ids jsonb,
    error_type text,
    error_message text,
    error_fingerprint text,
    tokens_in bigint,
    tokens_out bigint,
    cost_total double precision,
    metrics jsonb
);
CREATE INDEX stage_event_trace ON stage_event (trace_id);
CREATE INDEX stage_event_run ON stage_event (run_id, started_ns);

-- Assets are few and used all the time: a dictionary, keyed by a hash of the content.
CREATE TABLE asset (
    id text COLLATE "C" PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    asset_id text,
    version text,
    digest text,
    origin text,
    fallback boolean NOT NULL,
    subtype text,
    role text
);

CREATE TABLE asset_use (
    trace_id text COLLATE "C" NOT NULL,
    stage_id text COLLATE "C" NOT NULL,
    ordinal integer NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    asset text COLLATE "C" NOT NULL,
    used_ns bigint
);
CREATE INDEX asset_use_trace ON asset_use (trace_id);
CREATE INDEX asset_use_run ON asset_use (run_id, asset);

CREATE TABLE finding (
    trace_id text COLLATE "C" NOT NULL,
    ordinal integer NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    code text COLLATE "C" NOT NULL,
    severity text COLLATE "C" NOT NULL,
    detail text NOT NULL,
    stage_id text COLLATE "C",
    span_id text COLLATE "C",
    PRIMARY KEY (trace_id, ordinal)
);
CREATE INDEX finding_run ON finding (run_id, code);

-- What one trace adds to one run: small rows, so that listing runs and traces never reads stages.
CREATE TABLE run_trace (
    trace_id text COLLATE "C" NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    service text NOT NULL,
    name text NOT NULL,
    started_ns bigint NOT NULL,
    finished_ns bigint NOT NULL,
    stages integer NOT NULL,
    errors integer NOT NULL,
    -- ',input,output,retrieval,': each type between commas, so that LIKE '%,input,%' finds it on every database.
    stage_types text NOT NULL,
    tokens_in bigint NOT NULL,
    tokens_out bigint NOT NULL,
    cost_total double precision NOT NULL,
    -- Metadata that all stages of the trace in this run share.
    metadata jsonb,
    PRIMARY KEY (trace_id, run_id)
);
CREATE INDEX run_trace_run ON run_trace (run_id, started_ns);

CREATE TABLE run (
    run_id text COLLATE "C" PRIMARY KEY,
    name text,
    kind text,
    dataset text,
    dataset_version text,
    service text NOT NULL,
    first_ns bigint NOT NULL,
    last_ns bigint NOT NULL
);
CREATE INDEX run_last ON run (last_ns);

CREATE TABLE reject (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_ns bigint NOT NULL,
    transport text NOT NULL,
    peer text NOT NULL,
    reason text NOT NULL,
    size bigint NOT NULL,
    payload bytea NOT NULL
);

-- Stages and asset uses as people read them, each row complete.
CREATE VIEW v_stage AS
SELECT
    s.trace_id, s.stage_id, s.run_id, s.stage_type, s.stage_name, s.parent_stage_id, s.status, s.attempt,
    s.started_ns, s.finished_ns, s.duration_ms, s.self_ms, s.critical_ms, s.input_ref, s.output_ref, s.attributes,
    COALESCE(t.metadata, '{}') || COALESCE(s.metadata, '{}') AS metadata,
    s.span_id, s.derived,
    COALESCE(s.type_source, 'attribute:evalvault.stage.type') AS type_source, s.wrapped_span_ids, s.error_type, s.error_message, s.error_fingerprint,
    s.tokens_in, s.tokens_out, s.cost_total, s.metrics
FROM stage_event AS s LEFT JOIN run_trace AS t ON t.trace_id = s.trace_id AND t.run_id = s.run_id;

CREATE VIEW v_asset_use AS
SELECT
    u.trace_id, u.stage_id, u.ordinal, u.run_id, a.kind, a.name, a.asset_id, a.version, a.digest, a.origin,
    a.fallback, a.subtype, a.role, u.used_ns
FROM asset_use AS u JOIN asset AS a ON a.id = u.asset;
