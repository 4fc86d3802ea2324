-- What changed, in the order of the transactions that did it. Two are in the dialects. `settled`: every transaction with
-- a smaller number has ended, so none can add anything there any more. `newest`: no transaction had a larger number.

-- name: settled_number
SELECT {settled} AS n

-- name: newest_number
SELECT {newest} AS n

-- name: latest_change
SELECT COALESCE(max(changed), 0) AS n FROM trace WHERE NOT dirty AND changed < {settled}

-- name: changes
SELECT changed, trace_id, run_id, assemblies
FROM trace
WHERE NOT dirty AND changed >= :number AND (changed > :number OR trace_id > :trace_id) AND changed < {settled}
AND assembled_ns IS NOT NULL
ORDER BY changed, trace_id
LIMIT :limit

-- name: changed_parts
SELECT * FROM run_trace WHERE trace_id IN (SELECT value FROM {list(traces)} AS l) ORDER BY trace_id, run_id

-- name: changed_stages
SELECT * FROM v_stage WHERE trace_id IN (SELECT value FROM {list(traces)} AS l)
ORDER BY trace_id, CASE WHEN started_ns IS NULL THEN 1 ELSE 0 END, started_ns, stage_id

-- name: changed_runs
SELECT run_id, name, kind, dataset, dataset_version, service, first_ns, last_ns
FROM run WHERE run_id IN (SELECT value FROM {list(runs)} AS l) ORDER BY run_id
