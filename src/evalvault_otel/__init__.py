"""evalvault-otel: OpenTelemetry traces of RAG applications in, stages, assets and debug reports out."""

import logging

__version__ = "0.1.0"
__all__ = ["__version__"]

# Who uses this as a library decides what becomes of its log; `serve` writes it to standard error.
logging.getLogger(__name__).addHandler(logging.NullHandler())
