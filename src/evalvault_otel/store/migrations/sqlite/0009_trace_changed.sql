-- The transaction that last made what is derived from a trace: the live stream reads on from there (ADR 0030). Traces of
-- earlier versions have 0. Here each row has a number of its own: `newest` in `sqlite.sql`.
ALTER TABLE trace ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX trace_changed ON trace (changed);
