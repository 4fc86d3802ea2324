"""The pipelines run now, each in the environment of its framework: fresh spans give the same stages as the recorded."""

from pathlib import Path

import pytest

from tests.interop.live import traced
from tests.interop.pipelines import NAMES, PAIRS
from tests.interop.tables import Pipeline, expected, recorded, shown, unannounced
from tests.support.tools import tool

# The first test of an environment may have to install it, which is not a test that hangs.
pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("pipeline, instrumentation", PAIRS, ids=NAMES)
def test_the_stages_are_those_of_the_pipeline(pipeline: Pipeline, instrumentation: str, tmp_path: Path) -> None:
    python = tool(pipeline.environment, "interop")
    spans = tmp_path / "spans.jsonl"

    traced(python, pipeline, instrumentation, spans)

    found = recorded(spans)
    assert [shown(assembly) for assembly in found] == expected(pipeline, instrumentation)
    assert unannounced(pipeline, instrumentation, found) == []
