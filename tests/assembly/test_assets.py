"""Rule 10: which stage used which asset in which version, and that nothing is guessed."""

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import AssetUse, Span, SpanEvent, Value
from tests.support.traces import TRACE_ID, asset, at, kind, raised, sid, span, stage

RUN = "rag-api@2026-01-01"


def _uses(*spans: Span) -> tuple[AssetUse, ...]:
    return assemble(spans).asset_uses


def _brief(*spans: Span) -> list[tuple[str, int, str, str, str | None]]:
    return [(use.stage_id, use.ordinal, use.kind, use.name, use.version) for use in _uses(*spans)]


def test_an_event_with_all_its_attributes() -> None:
    event = asset(
        3,
        kind="prompt",
        id="7b3c",
        name="ops/answer",
        version="12",
        digest="sha256:ab",
        origin="registry",
        fallback=False,
        subtype="chat",
        role="system",
        scope="ignored",
    )

    assert _uses(stage(1, 0, "output", events=(event,))) == (
        AssetUse(
            trace_id=TRACE_ID,
            stage_id=sid(1),
            ordinal=0,
            run_id=RUN,
            kind="prompt",
            name="ops/answer",
            asset_id="7b3c",
            version="12",
            digest="sha256:ab",
            origin="registry",
            fallback=False,
            subtype="chat",
            role="system",
            used_ns=at(3),
        ),
    )


def test_the_alias_of_the_event_and_of_the_kind() -> None:
    said = {"evalvault.asset.type": "policy", "evalvault.asset.name": "tone", "evalvault.asset.version": 4}

    assert _brief(stage(1, 0, "output", events=(SpanEvent(at(1), "evalvault.asset", said),))) == [
        (sid(1), 0, "policy", "tone", "4")
    ]


def test_an_event_of_another_name_is_no_asset() -> None:
    said = {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"}

    assert _uses(stage(1, 0, "output", events=(SpanEvent(at(1), "log", said),))) == ()


@pytest.mark.parametrize(
    "said, singular",
    [
        ("Prompts", "prompt"),
        ("policies", "policy"),
        ("queries", "query"),
        ("indices", "index"),
        ("catalogs", "catalog"),
        ("glossaries", "glossaries"),
        (" schema ", "schema"),
    ],
)
def test_plural_kinds_become_singular_and_unknown_ones_stay(said: str, singular: str) -> None:
    assert _uses(stage(1, 0, "tool", events=(asset(kind=said, name="n"),)))[0].kind == singular


@pytest.mark.parametrize(
    "said, version",
    [
        ("12", "12"),
        (12, "12"),
        (1.5, "1.5"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        ("unversioned", None),
        (None, None),
        (True, None),
        ([1], None),
    ],
)
def test_versions_are_text(said: Value, version: str | None) -> None:
    assert _uses(stage(1, 0, "tool", events=(asset(kind="prompt", name="n", version=said),)))[0].version == version


@pytest.mark.parametrize(
    "said", [{}, {"kind": "prompt"}, {"name": "n"}, {"kind": 0j, "name": "n"}, {"kind": "p", "name": []}]
)
def test_without_kind_or_name_nothing_is_guessed(said: dict[str, Value]) -> None:
    assert _uses(stage(1, 0, "tool", events=(asset(**said),))) == ()


def test_an_id_may_stand_for_the_name() -> None:
    (use,) = _uses(stage(1, 0, "tool", events=(asset(kind="source", id="idx-1"),)))

    assert (use.name, use.asset_id) == ("idx-1", "idx-1")


@pytest.mark.parametrize(
    "said, fallback", [({"fallback": True}, True), ({"fallback": "false"}, False), ({"origin": "fallback"}, True)]
)
def test_a_fallback_says_so(said: dict[str, Value], fallback: bool) -> None:
    assert _uses(stage(1, 0, "tool", events=(asset(kind="prompt", name="n", **said),)))[0].fallback is fallback


# Whose asset it is.


def test_an_asset_belongs_to_a_stage_that_raised() -> None:
    failed = stage(1, 0, "output", status_code=2, events=(asset(kind="prompt", name="p", version=1), raised("E", "m")))

    (found,) = assemble([failed]).stages
    assert found.status == "error"
    assert _brief(failed) == [(sid(1), 0, "prompt", "p", "1")]


def test_an_asset_of_a_structural_span_belongs_to_the_nearest_stage_above() -> None:
    loader = span(3, 2, events=(asset(kind="prompt", name="p", version=1),))

    assert _brief(stage(1, 0, "workflow"), stage(2, 1, "output"), loader) == [(sid(2), 0, "prompt", "p", "1")]


def test_an_asset_of_a_collapsed_span_belongs_to_the_stage_that_stands_for_it() -> None:
    inner = kind(2, 1, "RETRIEVER", events=(asset(kind="index", name="i"),))

    assert _brief(kind(1, 0, "RETRIEVER"), inner) == [(sid(1), 0, "index", "i", None)]


def test_without_a_stage_above_the_asset_belongs_to_the_run() -> None:
    root = span(1, events=(asset(kind="policy", name="p"),))

    (use,) = _uses(root, stage(2, 1, "tool"))
    assert (use.stage_id, use.run_id) == ("", RUN)


# More than one.


def test_uses_are_counted_by_time_within_a_stage_and_equal_ones_stay() -> None:
    spans = [
        stage(
            1,
            0,
            "output",
            events=(asset(9, kind="prompt", name="p", version=2), asset(2, kind="prompt", name="p", version=1)),
        ),
        span(2, 1, events=(asset(5, kind="prompt", name="p", version=1), asset(5, kind="prompt", name="p", version=1))),
        stage(3, 1, "rerank", events=(asset(1, kind="model", name="m"),)),
    ]

    assert _brief(*spans) == [
        (sid(1), 0, "prompt", "p", "1"),
        (sid(1), 1, "prompt", "p", "1"),
        (sid(1), 2, "prompt", "p", "1"),
        (sid(1), 3, "prompt", "p", "2"),
        (sid(3), 0, "model", "m", None),
    ]


def test_an_event_without_a_time_has_none() -> None:
    event = SpanEvent(0, "evalvault.asset.used", {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"})

    assert [use.used_ns for use in _uses(stage(1, 0, "tool", events=(event,)))] == [None]


# The aggregate attribute.


@pytest.mark.parametrize("as_text", [True, False])
def test_the_aggregate_attribute_as_array_of_maps_or_as_json(as_text: bool) -> None:
    entries = [
        {"kind": "prompt", "name": "p", "version": 3},
        {"kind": "policy", "id": "t"},
        {"kind": "prompt"},
        "p:v3",
        None,
    ]
    said = '[{"kind":"prompt","name":"p","version":3},{"kind":"policy","id":"t"},{"kind":"prompt"},"p:v3",null]'

    found = stage(1, 0, "output", {"evalvault.assets": said if as_text else entries})

    assert _brief(found) == [(sid(1), 0, "prompt", "p", "3"), (sid(1), 1, "policy", "t", None)]


@pytest.mark.parametrize(
    "said", ["", "{", '{"kind": "prompt", "name": "p"}', "[[]]", 5, None, [[1]], [{"kind": {}, "name": []}]]
)
def test_an_aggregate_of_another_shape_is_left_out(said: Value) -> None:
    assert _uses(stage(1, 0, "output", {"evalvault.assets": said})) == ()


# By convention.


def test_what_a_foreign_convention_names_has_that_origin() -> None:
    said = {"prompt.id": "qa", "llm.prompt_template.version": "v2", "llm.model_name": "gpt"}

    uses = _uses(kind(1, 0, "LLM", said))

    assert [(use.kind, use.name, use.version, use.origin) for use in uses] == [
        ("prompt", "qa", "v2", "convention"),
        ("model", "gpt", None, "convention"),
    ]


def test_a_tool_is_an_asset_and_its_model_is_not() -> None:
    uses = _uses(kind(1, 0, "TOOL", {"tool.name": "search", "llm.model_name": "gpt"}))

    assert [(use.kind, use.name, use.origin) for use in uses] == [("tool", "search", "convention")]


def test_what_the_stage_recorded_itself_is_not_named_again() -> None:
    recorded = asset(kind="model", name="gpt", version="0613")

    uses = _uses(kind(1, 0, "LLM", {"llm.model_name": "gpt", "prompt.id": "qa"}, events=(recorded,)))

    assert [(use.kind, use.name, use.version, use.origin) for use in uses] == [
        ("prompt", "qa", None, "convention"),
        ("model", "gpt", "0613", None),
    ]


def test_texts_are_clean() -> None:
    (use,) = _uses(stage(1, 0, "tool", events=(asset(kind="pro\0mpt", name="a\0", digest="\0"),)))

    assert (use.kind, use.name, use.digest) == ("pro\ufffdmpt", "a\ufffd", "\ufffd")
