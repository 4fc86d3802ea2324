-- The transaction that last made what is derived from a trace: the live stream reads on from there (ADR 0030). Traces of
-- earlier versions have 0.
ALTER TABLE trace ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
-- One row: how many transactions wrote to `trace`. PostgreSQL numbers its transactions itself.
CREATE TABLE trace_write (number INTEGER NOT NULL);
INSERT INTO trace_write VALUES (0);
CREATE INDEX trace_changed ON trace (changed) WHERE NOT dirty;
