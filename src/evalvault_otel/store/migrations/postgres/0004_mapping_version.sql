-- Which mapping made the rows of a trace: `3`, or with rules of a user `3+rules:` and their digest. NULL: an earlier one,
-- that of a number only.
ALTER TABLE trace DROP COLUMN mapping_version;
ALTER TABLE trace ADD COLUMN mapping_version text COLLATE "C";
