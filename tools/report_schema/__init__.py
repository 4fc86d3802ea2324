"""The JSON Schema of the debug report, made from its records."""
