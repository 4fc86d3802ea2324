-- The same as on PostgreSQL; what the columns mean is said there.
ALTER TABLE reject ADD COLUMN signal TEXT NOT NULL DEFAULT 'traces';
ALTER TABLE reject ADD COLUMN encoding TEXT NOT NULL DEFAULT 'bytes';
ALTER TABLE reject ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
ALTER TABLE reject ADD COLUMN upto_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE reject SET payload = substr(payload, 1, 65536) WHERE size > 65536;
UPDATE reject SET upto_bytes = b.upto_bytes
FROM (SELECT id, sum(length(payload)) OVER (ORDER BY id) AS upto_bytes FROM reject) AS b
WHERE b.id = reject.id;

UPDATE trace SET received_ns = COALESCE(
    (SELECT max(s.received_ns) FROM span AS s WHERE s.trace_id = trace.trace_id), received_ns
)
WHERE assembled_ns IS NULL OR assembled_ns <> received_ns;
CREATE INDEX trace_received ON trace (received_ns);
