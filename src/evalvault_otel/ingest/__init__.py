"""Into the store: group commit for what arrives, background assembly for what arrived in pieces."""

from .assembler import Assembler
from .ingestor import Ingestor
from .telemetry import IngestTelemetry

__all__ = ["Assembler", "IngestTelemetry", "Ingestor"]
