"""What tests and benchmarks share: PostgreSQL, the server as a process, how a missing tool is treated."""
