"""Spans that real instrumentations made, recorded: the stages are those of the pipeline, whoever traced it."""

import re

import pytest

from tests.interop.pipelines import FOLDER, NAMES, PAIRS, recording
from tests.interop.tables import Pipeline, expected, recorded, shown, unannounced

_MACHINE = re.compile(r"/(?:root|home|Users|tmp|usr|work|opt|private|var)/|host\.name|process\.|\\\\Users")


@pytest.mark.parametrize("pipeline, instrumentation", PAIRS, ids=NAMES)
def test_the_stages_are_those_of_the_pipeline(pipeline: Pipeline, instrumentation: str) -> None:
    found = recorded(recording(pipeline, instrumentation))

    assert [shown(assembly) for assembly in found] == expected(pipeline, instrumentation)


@pytest.mark.parametrize("pipeline, instrumentation", PAIRS, ids=NAMES)
def test_findings_say_what_the_spans_cannot_show(pipeline: Pipeline, instrumentation: str) -> None:
    assert unannounced(pipeline, instrumentation, recorded(recording(pipeline, instrumentation))) == []


@pytest.mark.parametrize("pipeline, instrumentation", PAIRS, ids=NAMES)
def test_every_difference_is_one_and_has_its_reason(pipeline: Pipeline, instrumentation: str) -> None:
    for said in pipeline.instrumentations[instrumentation]:
        row = pipeline.tables[said.trace][said.stage] if said.extra is None else None
        same = [name for name, value in (said.becomes or {}).items() if getattr(row, name) == value]

        assert not same
        assert said.because


def test_every_recording_has_its_pipeline_and_tells_nothing_of_the_machine() -> None:
    files = sorted(FOLDER.glob("*.jsonl"))

    assert {path.stem for path in files} == set(NAMES)
    assert {path.name: found for path in files if (found := _MACHINE.findall(path.read_text()))} == {}
