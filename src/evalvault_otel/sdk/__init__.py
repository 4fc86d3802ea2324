"""The application side: what a traced program calls. Imports nothing of the server; names are in `evalvault_otel`."""
