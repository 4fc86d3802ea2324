-- A reject says which signal it is, how its payload is encoded and how much was lost with it. `upto_bytes` is the size of
-- the payloads of all rejects up to this one: those that exceed a bound are found from the oldest end, without a sum.
ALTER TABLE reject
    ADD COLUMN signal text COLLATE "C" NOT NULL DEFAULT 'traces',
    ADD COLUMN encoding text COLLATE "C" NOT NULL DEFAULT 'bytes',
    ADD COLUMN count bigint NOT NULL DEFAULT 1,
    ADD COLUMN upto_bytes bigint NOT NULL DEFAULT 0;
UPDATE reject SET payload = substring(payload FROM 1 FOR 65536) WHERE size > 65536;
UPDATE reject SET upto_bytes = b.upto_bytes
FROM (SELECT id, CAST(sum(length(payload)) OVER (ORDER BY id) AS bigint) AS upto_bytes FROM reject) AS b
WHERE b.id = reject.id;

-- From here on `received_ns` of a trace is its latest arrival, not its first. A trace that came at once was assembled on
-- arrival; of the others the spans know.
UPDATE trace SET received_ns = COALESCE(
    (SELECT max(s.received_ns) FROM span AS s WHERE s.trace_id = trace.trace_id), received_ns
)
WHERE assembled_ns IS NULL OR assembled_ns <> received_ns;
-- To find the oldest traces. New entries come at its right end, so it costs writers little.
CREATE INDEX trace_received ON trace (received_ns);
