"""Spans of a trace to stages: pure functions, no I/O, no clock."""

from .assemble import assemble
from .options import AssemblyOptions

__all__ = ["AssemblyOptions", "assemble"]
