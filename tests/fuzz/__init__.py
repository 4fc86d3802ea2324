"""Fuzzing of all that a stranger can send: see README.md."""
