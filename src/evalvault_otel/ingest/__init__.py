"""Into the store: group commit for what arrives, background assembly for what arrived in pieces."""

from .admission import Admission, Room
from .assembler import Assembler
from .ingestor import Ingestor
from .telemetry import IngestTelemetry

__all__ = ["Admission", "Assembler", "IngestTelemetry", "Ingestor", "Room"]
