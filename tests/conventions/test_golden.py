"""One file per convention: spans as its instrumentations send them, and the stages that must come out.

A file has `source` (what it imitates), `spans` (id, parent, name, attributes, events), `stages` and `findings`. Of a
stage the file lists what matters; attributes that it does not name are not compared.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Assembly, Span, SpanEvent, StageEvent
from evalvault_otel.wire import identity
from tests.support.traces import at, sid, span

FOLDER = Path(__file__).parents[1] / "golden" / "conventions"
FILES = sorted(FOLDER.glob("*.json"))


def spans_of(path: Path) -> list[Span]:
    """The spans of a golden file."""
    return _spans(json.loads(path.read_bytes()))


def _spans(document: dict[str, Any]) -> list[Span]:
    return [_span(order, said) for order, said in enumerate(document["spans"])]


def _span(order: int, said: dict[str, Any]) -> Span:
    events = tuple(SpanEvent(at(order + 1), one["name"], one["attributes"]) for one in said.get("events", ()))
    return span(
        said["id"],
        said.get("parent", 0),
        name=said["name"],
        attributes=said.get("attributes", {}),
        events=events,
        start_ns=at(10 * order),
        end_ns=at(1000 - 10 * order),
        **({"scope": identity.scope(said["scope"], "", {}, 0, "")} if "scope" in said else {}),
    )


def _shown(stage: StageEvent, expected: dict[str, Any]) -> dict[str, Any]:
    """What the file says of a stage, as it is."""
    known: dict[str, Any] = {
        "id": stage.stage_id.removeprefix("0" * 15) if stage.derived else stage.stage_id,
        "type": stage.stage_type,
        "name": stage.stage_name,
        "why": stage.type_source,
        "parent": stage.parent_stage_id,
        "status": stage.status,
        "attempt": stage.attempt,
        "tokens": [stage.tokens_in, stage.tokens_out],
        "wrapped": list(stage.wrapped_span_ids),
        "fields": {name: stage.attributes.get(name) for name in expected.get("fields", ())},
    }
    return {name: known[name] for name in expected}


def _expected(said: dict[str, Any]) -> dict[str, Any]:
    ids = {name: sid(said[name]) for name in ("id", "parent") if isinstance(said.get(name), int)}
    return {**said, **ids, **({"wrapped": [sid(n) for n in said["wrapped"]]} if "wrapped" in said else {})}


def _assets(assembly: Assembly) -> list[list[str | None]]:
    return [[use.kind, use.name, use.version] for use in assembly.asset_uses if use.kind != "model"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_spans_of_the_convention_become_these_stages(path: Path) -> None:
    document = json.loads(path.read_bytes())
    expected = [_expected(said) for said in document["stages"]]

    assembly = assemble(_spans(document))

    assert len(assembly.stages) == len(expected), [(one.stage_type, one.stage_name) for one in assembly.stages]
    assert [_shown(stage, said) for stage, said in zip(assembly.stages, expected, strict=True)] == expected
    assert sorted({finding.code for finding in assembly.findings}) == document["findings"]
    assert _assets(assembly) == document.get("assets", [])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_order_and_unknown_attributes_change_nothing(path: Path) -> None:
    document = json.loads(path.read_bytes())
    plain = assemble(_spans(document))
    for said in document["spans"]:
        said["attributes"] = {"some.unknown": [1], **said.get("attributes", {})}
    spans = _spans(document)
    random.Random(1).shuffle(spans)  # noqa: S311 - a reproducible order, no secret

    found = assemble(spans)

    assert [(one.stage_id, one.stage_type, one.type_source, one.parent_stage_id) for one in found.stages] == [
        (one.stage_id, one.stage_type, one.type_source, one.parent_stage_id) for one in plain.stages
    ]


def test_there_is_a_file_for_each_convention() -> None:
    assert {path.stem.partition("-")[0] for path in FILES} >= {
        *("openragtrace", "openinference", "genai", "traceloop", "vercel", "haystack", "langsmith")
    }
