"""One file per convention: spans as its instrumentations send them, and the stages that must come out.

A file has `source` (what it imitates), `spans` (id, parent, name, attributes, events, `ms`: start and end), `stages`
and `findings`. Of a stage the file lists what matters; attributes that it does not name are not compared.
"""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalvault_otel.assembly import assemble
from evalvault_otel.model import Assembly, Span, SpanEvent, StageEvent
from evalvault_otel.wire import identity
from tests.support.strategies import any_values, bounded
from tests.support.traces import at, exact, sid, span

FOLDER = Path(__file__).parents[1] / "golden" / "conventions"
FILES = sorted(FOLDER.glob("*.json"))


def spans_of(path: Path) -> list[Span]:
    """The spans of a golden file."""
    return _spans(json.loads(path.read_bytes()))


def _spans(document: dict[str, Any]) -> list[Span]:
    return [_span(order, said) for order, said in enumerate(document["spans"])]


def _span(order: int, said: dict[str, Any]) -> Span:
    start_ms, end_ms = said.get("ms", (10 * order, 1000 - 10 * order))
    events = tuple(SpanEvent(at(order + 1), one["name"], one["attributes"]) for one in said.get("events", ()))
    return span(
        said["id"],
        said.get("parent", 0),
        name=said["name"],
        attributes=said.get("attributes", {}),
        events=events,
        start_ns=at(start_ms),
        end_ns=at(end_ms),
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
@settings(bounded, max_examples=25)
@given(data=st.data())
def test_order_and_unknown_attributes_change_nothing(path: Path, data: st.DataObject) -> None:
    spans = spans_of(path)
    plain = assemble(spans)
    unknown = data.draw(st.lists(_UNKNOWN, min_size=len(spans), max_size=len(spans)))
    more = [replace(one, attributes={**added, **one.attributes}) for one, added in zip(spans, unknown, strict=True)]

    found = assemble(data.draw(st.permutations(more)))

    added = {key for keys in unknown for key in keys}
    assert exact([_without(one, added) for one in found.stages]) == exact(list(plain.stages))
    assert exact(found.asset_uses) == exact(plain.asset_uses)
    # A number that cannot be compared is no metric, and says so; nothing else is said of what nobody knows.
    assert _said(found, added) == _said(plain, set())


# In no table, and alike to nothing in one.
_UNKNOWN = st.dictionaries(st.text("abc._", max_size=6).map("zz.unknown.{}".format), any_values, max_size=4)


def _said(assembly: Assembly, added: Collection[str]) -> list[tuple[str, str | None, str]]:
    return [
        (said.code, said.span_id, said.detail)
        for said in assembly.findings
        if said.code != "bad_value" or not any(key in said.detail for key in added)
    ]


def _without(stage: StageEvent, added: Collection[str]) -> StageEvent:
    """The stage without what it says under these keys: itself, and the metrics that its numbers make."""
    made = {f"{stage.stage_type}.{key}" for key in added}
    return replace(
        stage,
        attributes={key: value for key, value in stage.attributes.items() if key not in added},
        metrics={name: score for name, score in stage.metrics.items() if name not in made},
    )


def test_there_is_a_file_for_each_convention() -> None:
    assert {path.stem.partition("-")[0] for path in FILES} >= {
        *("openragtrace", "openinference", "genai", "traceloop", "vercel", "haystack", "langsmith")
    }
