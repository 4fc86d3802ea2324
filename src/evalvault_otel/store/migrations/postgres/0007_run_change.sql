-- Another number after every transaction that changed what is derived from the traces of a run; see `kept`.
ALTER TABLE run ADD COLUMN change bigint NOT NULL DEFAULT 0;
