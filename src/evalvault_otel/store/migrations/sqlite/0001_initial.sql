-- The same tables as on PostgreSQL; JSON documents are TEXT, booleans 0 and 1.

CREATE TABLE resource (
    id TEXT PRIMARY KEY,
    attributes TEXT NOT NULL,
    dropped_attributes INTEGER NOT NULL,
    schema_url TEXT NOT NULL
);

CREATE TABLE scope (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    attributes TEXT NOT NULL,
    dropped_attributes INTEGER NOT NULL,
    schema_url TEXT NOT NULL
);

-- dropped_* are NULL where nothing was dropped.
CREATE TABLE span (
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    parent_span_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    status_code INTEGER NOT NULL,
    status_message TEXT NOT NULL,
    attributes TEXT NOT NULL,
    events TEXT,
    links TEXT,
    dropped_attributes INTEGER,
    dropped_events INTEGER,
    dropped_links INTEGER,
    flags INTEGER NOT NULL,
    trace_state TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    scope_id TEXT NOT NULL,
    received_ns INTEGER NOT NULL,
    PRIMARY KEY (trace_id, span_id)
);

CREATE TABLE trace (
    trace_id TEXT PRIMARY KEY,
    run_id TEXT,
    root_span_id TEXT,
    first_ns INTEGER,
    last_ns INTEGER,
    span_count INTEGER NOT NULL,
    dirty INTEGER NOT NULL,
    dirty_since_ns INTEGER,
    due_ns INTEGER,
    assemblies INTEGER NOT NULL,
    mapping_version INTEGER,
    assembled_ns INTEGER,
    received_ns INTEGER NOT NULL
);
CREATE INDEX trace_due ON trace (due_ns) WHERE dirty;

-- Keyed by (trace_id, stage_id), asset_use by (trace_id, stage_id, ordinal): assembly makes these unique, and rows are
-- replaced per trace under its lock. An index on the trace alone is a third of the size of a unique one (ADR 0008).
CREATE TABLE stage_event (
    trace_id TEXT NOT NULL,
    stage_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    stage_type TEXT NOT NULL,
    stage_name TEXT,
    parent_stage_id TEXT,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    started_ns INTEGER,
    finished_ns INTEGER,
    duration_ms REAL,
    self_ms REAL,
    critical_ms REAL,
    input_ref TEXT,
    output_ref TEXT,
    attributes TEXT NOT NULL,
    -- What differs from the metadata that all stages of the trace share (run_trace.metadata).
    metadata TEXT,
    span_id TEXT,
    derived INTEGER NOT NULL,
    -- NULL says what most stages say: attribute:evalvault.stage.type
    type_source TEXT,
    wrapped_span_ids TEXT,
    error_type TEXT,
    error_message TEXT,
    error_fingerprint TEXT,
    tokens_in INTEGER,
    tokens_out INTEGER,
    cost_total REAL,
    metrics TEXT
);
CREATE INDEX stage_event_trace ON stage_event (trace_id);
CREATE INDEX stage_event_run ON stage_event (run_id, started_ns);

-- Assets are few and used all the time: a dictionary, keyed by a hash of the content.
CREATE TABLE asset (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    asset_id TEXT,
    version TEXT,
    digest TEXT,
    origin TEXT,
    fallback INTEGER NOT NULL,
    subtype TEXT,
    role TEXT
);

CREATE TABLE asset_use (
    trace_id TEXT NOT NULL,
    stage_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    asset TEXT NOT NULL,
    used_ns INTEGER
);
CREATE INDEX asset_use_trace ON asset_use (trace_id);
CREATE INDEX asset_use_run ON asset_use (run_id, asset);

CREATE TABLE finding (
    trace_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    code TEXT NOT NULL,
    severity TEXT NOT NULL,
    detail TEXT NOT NULL,
    stage_id TEXT,
    span_id TEXT,
    PRIMARY KEY (trace_id, ordinal)
);
CREATE INDEX finding_run ON finding (run_id, code);

-- What one trace adds to one run: small rows, so that listing runs and traces never reads stages.
CREATE TABLE run_trace (
    trace_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    finished_ns INTEGER NOT NULL,
    stages INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    -- ',input,output,retrieval,': each type between commas, so that LIKE '%,input,%' finds it on every database.
    stage_types TEXT NOT NULL,
    tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL,
    cost_total REAL NOT NULL,
    -- Metadata that all stages of the trace in this run share.
    metadata TEXT,
    PRIMARY KEY (trace_id, run_id)
);
CREATE INDEX run_trace_run ON run_trace (run_id, started_ns);

CREATE TABLE run (
    run_id TEXT PRIMARY KEY,
    name TEXT,
    kind TEXT,
    dataset TEXT,
    dataset_version TEXT,
    service TEXT NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL
);
CREATE INDEX run_last ON run (last_ns);

CREATE TABLE reject (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received_ns INTEGER NOT NULL,
    transport TEXT NOT NULL,
    peer TEXT NOT NULL,
    reason TEXT NOT NULL,
    size INTEGER NOT NULL,
    payload BLOB NOT NULL
);

-- Stages and asset uses as people read them, each row complete.
CREATE VIEW v_stage AS
SELECT
    s.trace_id, s.stage_id, s.run_id, s.stage_type, s.stage_name, s.parent_stage_id, s.status, s.attempt,
    s.started_ns, s.finished_ns, s.duration_ms, s.self_ms, s.critical_ms, s.input_ref, s.output_ref, s.attributes,
    json_patch(COALESCE(t.metadata, '{}'), COALESCE(s.metadata, '{}')) AS metadata,
    s.span_id, s.derived,
    COALESCE(s.type_source, 'attribute:evalvault.stage.type') AS type_source, s.wrapped_span_ids, s.error_type, s.error_message, s.error_fingerprint,
    s.tokens_in, s.tokens_out, s.cost_total, s.metrics
FROM stage_event AS s LEFT JOIN run_trace AS t ON t.trace_id = s.trace_id AND t.run_id = s.run_id;

CREATE VIEW v_asset_use AS
SELECT
    u.trace_id, u.stage_id, u.ordinal, u.run_id, a.kind, a.name, a.asset_id, a.version, a.digest, a.origin,
    a.fallback, a.subtype, a.role, u.used_ns
FROM asset_use AS u JOIN asset AS a ON a.id = u.asset;
