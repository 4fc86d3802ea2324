import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalvault_otel.store.percentile import Percentiles


def percentiles(*values: float | str | None) -> list[float] | None:
    aggregate = Percentiles()
    for value in values:
        aggregate.step(value)
    found: list[float] | None = orjson.loads(aggregate.finalize() or "null")
    return found


def test_between_two_ranks_it_interpolates() -> None:
    assert percentiles(1, 2, 3, 4) == pytest.approx([2.5, 3.85, 3.97, 1.3])
    assert percentiles(4, 1, 3, 2) == percentiles(1, 2, 3, 4)


def test_null_and_text_are_passed_over() -> None:
    assert percentiles(None, 7, "x") == [7.0, 7.0, 7.0, 7.0]
    assert percentiles(None) is None
    assert percentiles() is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
def test_it_gives_what_postgresql_gives(postgres_url: str, values: list[float]) -> None:
    sql = "SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99, 0.1]) WITHIN GROUP (ORDER BY x) FROM unnest(%s::float8[]) AS x"
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute(sql, (values,)).fetchone()
    assert row is not None
    assert percentiles(*values) == pytest.approx(row[0], rel=1e-12, abs=1e-6)
