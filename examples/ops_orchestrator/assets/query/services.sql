name: services
version: 2
---
SELECT service, count(*) AS traces FROM run_trace WHERE run_id = :run GROUP BY service ORDER BY service
