"""The reading half of a store: aggregates and rows of runs, traces, stages, assets."""

from typing import Protocol


class Queries(Protocol):
    """Reads. (under construction)"""
