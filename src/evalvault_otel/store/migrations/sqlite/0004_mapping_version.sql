-- The same as on PostgreSQL; what the column means is said there.
ALTER TABLE trace DROP COLUMN mapping_version;
ALTER TABLE trace ADD COLUMN mapping_version TEXT;
