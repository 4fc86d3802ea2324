-- How an asset was loaded, use by use; NULL where nobody said.
ALTER TABLE asset_use ADD COLUMN load_ms double precision, ADD COLUMN cache_hit boolean;

CREATE OR REPLACE VIEW v_asset_use AS
SELECT
    u.trace_id, u.stage_id, u.ordinal, u.run_id, a.kind, a.name, a.asset_id, a.version, a.digest, a.origin,
    a.fallback, a.subtype, a.role, u.used_ns, u.load_ms, u.cache_hit
FROM asset_use AS u JOIN asset AS a ON a.id = u.asset;
