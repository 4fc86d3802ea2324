"""Makes a large database out of a small one: traces copied inside PostgreSQL, with all that hangs on them.

All tables and indexes grow as they would by ingest, in a tenth of the time.
"""

import psycopg

Connection = psycopg.Connection[tuple[object, ...]]

# Everything that hangs on a trace. A copy is another trace; which traces are copied is in `copied`.
TABLES = ("span", "log_event", "trace", "stage_event", "stage_link", "asset_use", "finding", "run_trace")


def list_traces(connection: Connection, run_id: str | None = None) -> int:
    """Put the traces (of a run) into the table `copied`, numbered from 1; how many there are."""
    given = f"WHERE trace_id IN (SELECT trace_id FROM run_trace WHERE run_id = '{run_id}')" if run_id else ""  # noqa: S608 - our own run
    connection.execute("DROP TABLE IF EXISTS copied")
    connection.execute(
        f"CREATE TABLE copied AS SELECT trace_id, row_number() OVER () AS place FROM trace {given}".encode()  # noqa: S608 - own names
    )
    connection.execute("ALTER TABLE copied ADD PRIMARY KEY (trace_id)")
    connection.execute("ANALYZE copied")
    ((count,),) = connection.execute("SELECT count(*) FROM copied").fetchall()
    return int(str(count))


def copy_traces(connection: Connection, copy: str, count: int, run_id: str) -> None:
    """Copy the first `count` traces of `copied` under other ids.

    `run_id` is an SQL expression over the rows `source` (of each table) and `c` (of `copied`).
    """
    for table in TABLES:
        columns = [column.name for column in connection.execute(f"TABLE {table} LIMIT 0".encode()).description or ()]
        changed = {"trace_id": f"md5(source.trace_id || '{copy}')", "run_id": run_id}
        listed = ", ".join(changed.get(name, f"source.{name}") for name in columns)
        connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {listed} FROM {table} AS source "  # noqa: S608 - own names
            f"JOIN copied AS c ON c.trace_id = source.trace_id WHERE c.place <= {count}".encode()
        )
