-- The transaction that last made what is derived from a trace: the live stream reads on from there (ADR 0030). Traces of
-- earlier versions have 0.
ALTER TABLE trace ADD COLUMN changed bigint NOT NULL DEFAULT 0;
ALTER TABLE trace ALTER COLUMN changed SET DEFAULT CAST(CAST(pg_current_xact_id() AS text) AS bigint);
CREATE INDEX trace_changed ON trace (changed) WHERE NOT dirty;
