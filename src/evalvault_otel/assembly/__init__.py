"""Spans of a trace to stages: pure functions, no I/O, no clock."""

from .assemble import assemble

__all__ = ["assemble"]
