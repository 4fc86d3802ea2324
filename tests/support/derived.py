"""What a database holds of a trace beyond its spans, in a form that two traces can be compared by."""

from typing import Any

from benchmarks.database import Database

_TABLES = {
    "stage_event": "stage_id",
    "v_stage": "stage_id",
    "v_asset_use": "stage_id, ordinal",
    "stage_link": "stage_id, ordinal",
    "finding": "ordinal",
    "run_trace": "run_id",
}
_BOOKS = "run_id, root_span_id, first_ns, last_ns, span_count, log_count, dirty, mapping_version"

Rows = dict[str, list[tuple[Any, ...]]]


def derived_rows(database: Database, trace_id: str) -> Rows:
    """Everything derived from a trace, as the tables have it, without the trace's id."""
    where = f"WHERE trace_id = '{trace_id}'"
    found = {
        table: [row[1:] for row in database.query(f"SELECT * FROM {table} {where} ORDER BY {order}")]  # noqa: S608 - our own names
        for table, order in _TABLES.items()
    }
    return found | {"trace": database.query(f"SELECT {_BOOKS} FROM trace {where}")}  # noqa: S608 - as above


def repeated_keys(database: Database) -> list[tuple[Any, ...]]:
    """Keys of derived rows that two rows share; there should be none."""
    return database.query(
        "SELECT trace_id, stage_id, 0 FROM stage_event GROUP BY trace_id, stage_id HAVING count(*) > 1 UNION ALL "
        "SELECT trace_id, stage_id, ordinal FROM asset_use GROUP BY trace_id, stage_id, ordinal HAVING count(*) > 1"
    )
