"""evalvault-otel: OpenTelemetry traces of RAG applications in, stages, assets and debug reports out."""

from importlib.metadata import version

__version__ = version("evalvault-otel")
__all__ = ["__version__"]
