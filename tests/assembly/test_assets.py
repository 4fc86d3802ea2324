"""Rule 10: which stage used which asset in which version, and that nothing is guessed."""

import json
from dataclasses import replace

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import AssetUse, Span, SpanEvent, Value
from tests.support.traces import TRACE_ID, asset, at, kind, log, raised, sid, span, stage

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


@pytest.mark.parametrize("unset", [0, 2**63, 2**64 - 1])
def test_without_a_time_it_was_used_when_its_span_began_or_after_the_use_before(unset: int) -> None:
    said = {"evalvault.asset.kind": "prompt", "evalvault.asset.name": "p"}
    untimed = SpanEvent(unset, "evalvault.asset.used", said)
    begun = stage(1, 0, "tool", events=(untimed, asset(7, kind="prompt", name="q"), untimed))

    assert [(use.name, use.used_ns) for use in _uses(begun)] == [("p", begun.start_ns), ("q", at(7)), ("p", at(7))]


def test_a_span_without_a_time_has_uses_without_one() -> None:
    begun = replace(stage(1, 0, "output", {"evalvault.assets": [{"kind": "prompt", "name": "p"}]}), start_ns=0)

    assert [use.used_ns for use in _uses(begun)] == [None]


# How it was loaded.


@pytest.mark.parametrize(
    "said, load_ms, cache_hit",
    [
        ({"load.duration": 0.25, "cache_hit": False}, 250.0, False),
        ({"load.duration": "2"}, 2000.0, None),
        ({"cache_hit": "true"}, None, True),
        ({"load.duration": -1.0}, None, None),
        ({"load.duration": 1e300}, None, None),
        ({"load.duration": [1], "cache_hit": {}}, None, None),
        ({}, None, None),
    ],
)
@pytest.mark.parametrize("aggregate", [False, True])
def test_load_time_and_cache_hit(
    said: dict[str, Value], load_ms: float | None, cache_hit: bool | None, aggregate: bool
) -> None:
    entry = {"kind": "prompt", "name": "p", **said}
    found = (
        stage(1, 0, "output", {"evalvault.assets": [entry]})
        if aggregate
        else stage(1, 0, "output", events=(asset(3, **entry),))
    )

    assert [(use.load_ms, use.cache_hit) for use in _uses(found)] == [(load_ms, cache_hit)]


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


def _mixed(first: int, rest: int) -> tuple[tuple[SpanEvent, ...], list[dict[str, Value]]]:
    """Uses as an SDK records them when a span has more than its events can hold: `first` events, the rest a list."""
    events = tuple(asset(n, kind="query", name=f"q{n}", version=n) for n in range(1, first + 1))
    return events, [{"kind": "query", "name": f"q{n}", "version": n} for n in range(first + 1, first + rest + 1)]


@pytest.mark.parametrize("as_text", [True, False])
def test_more_uses_than_a_span_has_events_go_on_in_order_in_the_aggregate_attribute(as_text: bool) -> None:
    events, entries = _mixed(100, 5000)
    said = json.dumps(entries) if as_text else entries

    found = _uses(stage(1, 0, "execute", {"evalvault.assets": said}, events=events))

    assert [(use.ordinal, use.name, use.version) for use in found] == [(n - 1, f"q{n}", str(n)) for n in range(1, 5101)]
    assert {use.used_ns for use in found[100:]} == {at(100)}


@pytest.mark.parametrize(
    "said, used_ns", [(at(4), at(4)), (str(at(4)), at(4)), (0, at(3)), (2**64, at(3)), ([], at(3))]
)
def test_an_entry_of_the_aggregate_may_say_when(said: Value, used_ns: int) -> None:
    events, entries = _mixed(3, 1)
    found = _uses(stage(1, 0, "execute", {"evalvault.assets": [{**entries[0], "time_unix_nano": said}]}, events=events))

    assert (found[-1].ordinal, found[-1].used_ns) == (3, used_ns)


def test_uses_of_another_span_keep_their_place_beside_an_aggregate() -> None:
    events, entries = _mixed(3, 2)
    loader = span(2, 1, events=(asset(2, kind="prompt", name="p"), asset(9, kind="prompt", name="p")))

    found = _brief(stage(1, 0, "execute", {"evalvault.assets": entries}, events=events), loader)

    assert [name for *_, name, _ in found] == ["q1", "q2", "p", "q3", "q4", "q5", "p"]


def test_all_three_carriers_say_the_same() -> None:
    entries = [
        {"kind": "prompts", "name": "p", "version": 3, "digest": "d", "origin": "registry", "role": "system"},
        {"kind": "policy", "id": "t", "fallback": True, "subtype": "s", "cache_hit": True, "load.duration": 0.5},
        {"kind": "prompts", "name": "p", "version": 3, "digest": "d", "origin": "registry", "role": "system"},
    ]
    by_event = stage(1, 0, "output", events=tuple(asset(n, **entry) for n, entry in enumerate(entries)))
    by_attribute = stage(1, 0, "output", {"evalvault.assets": entries})
    prefixed = [{f"evalvault.asset.{key}": value for key, value in entry.items()} for entry in entries]
    by_log = [log(1, "evalvault.asset.used", said, ms=n) for n, said in enumerate(prefixed)]

    events = _uses(by_event)
    assert len(events) == 3
    assert [replace(use, used_ns=None) for use in _uses(by_attribute)] == [replace(use, used_ns=None) for use in events]
    assert assemble([stage(1, 0, "output")], by_log).asset_uses == events


def test_an_event_that_also_came_as_a_log_counts_once_beside_an_aggregate() -> None:
    events, entries = _mixed(3, 2)
    copies = [log(1, event.name, event.attributes, time_ns=event.time_ns) for event in events]
    mixed = stage(1, 0, "execute", {"evalvault.assets": entries}, events=events)

    assert assemble([mixed], copies).asset_uses == _uses(mixed)


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
