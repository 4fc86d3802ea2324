"""Runs with one known fault each, and whether the debug report names it: `python -m tests.planted` writes the table."""
