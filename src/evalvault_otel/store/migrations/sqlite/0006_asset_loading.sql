-- The same as on PostgreSQL; what the columns mean is said there.
ALTER TABLE asset_use ADD COLUMN load_ms REAL;
ALTER TABLE asset_use ADD COLUMN cache_hit INTEGER;

DROP VIEW v_asset_use;
CREATE VIEW v_asset_use AS
SELECT
    u.trace_id, u.stage_id, u.ordinal, u.run_id, a.kind, a.name, a.asset_id, a.version, a.digest, a.origin,
    a.fallback, a.subtype, a.role, u.used_ns, u.load_ms, u.cache_hit
FROM asset_use AS u JOIN asset AS a ON a.id = u.asset;

-- With the time, so that the ledger of assets is read from the index alone. PostgreSQL reads the table faster than that.
DROP INDEX asset_use_run;
CREATE INDEX asset_use_run ON asset_use (run_id, asset, used_ns);
