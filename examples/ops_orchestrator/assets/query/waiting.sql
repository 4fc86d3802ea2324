name: waiting
version: 1
---
SELECT count(*) AS waiting FROM trace WHERE dirty
