"""A program that knows nothing of us: it uses sqlite3, requests and its own spans. Argument: what else to do."""

import sqlite3
import sys
import time

import requests
from opentelemetry import trace


def main() -> None:
    """Some spans, by hand and by the instrumentors that are there."""
    with trace.get_tracer("app").start_as_current_span("ask", attributes={"evalvault.stage.type": "output"}):
        connection = sqlite3.connect(":memory:")
        connection.cursor().execute("SELECT 1")
        connection.close()
        if len(sys.argv) > 1:
            requests.get(sys.argv[1], timeout=5)
    # Long enough for exports of exports to show, if there were any.
    time.sleep(1.5)


if __name__ == "__main__":
    main()
