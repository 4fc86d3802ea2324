"""A Celery application with one task, for a prefork pool."""

import os
from pathlib import Path

from celery import Celery
from opentelemetry import trace

import evalvault_otel as ev

folder = os.environ["CELERY_FOLDER"]
app = Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": folder,
    "data_folder_out": folder,
    "control_folder": str(Path(folder, "control")),  # else it would be where the program runs
}
ev.instrument()
trace.get_tracer("app").start_span("parent").end()


@app.task  # type: ignore[untyped-decorator]  # Celery has no types
def work(number: int) -> None:
    """One span."""
    trace.get_tracer("app").start_span(f"task {number}").end()
