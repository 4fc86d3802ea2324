"""The `evalvault.*` registry: YAML in, the Python names, the page of attributes and the JSON Schema out (ADR 0017)."""
