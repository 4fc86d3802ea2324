"""Conventions for span attributes: every key once, one module per dialect, tables rather than branches."""
