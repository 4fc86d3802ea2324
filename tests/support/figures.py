"""The server's own figures, as a scraper gets them from `/metrics`."""

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.support.server import Server


def figures(server: Server) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples by name and labels. Each call is a connection of its own."""
    answer = requests.get(server.url("/metrics"), timeout=10)
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def figure(server: Server, name: str, **labels: str) -> float:
    """One sample."""
    return figures(server)[name, tuple(sorted(labels.items()))]


def spans_counted(server: Server) -> tuple[float, float]:
    """How many spans were stored, and how many were duplicates."""
    found = figures(server)
    stored, duplicate = (found["evalvault_spans_total", (("outcome", said),)] for said in ("stored", "duplicate"))
    return stored, duplicate
