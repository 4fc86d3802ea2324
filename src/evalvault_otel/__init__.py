"""evalvault-otel: OpenTelemetry traces of RAG applications in, stages, assets and debug reports out."""

__version__ = "0.1.0"
__all__ = ["__version__"]
