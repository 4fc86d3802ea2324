"""Benchmarks of the whole product, on real parts: its server as a process, its databases, gRPC and HTTP clients."""
