"""The graph of a run: every node and edge of a small one, its bounds, and names that try to break out of Mermaid."""

import re
from typing import Any

import pytest

from evalvault_otel.analysis import asset_graph as module
from evalvault_otel.analysis.asset_graph import AssetGraph, asset_graph, to_mermaid
from evalvault_otel.errors import NotFound
from evalvault_otel.store import Store
from tests.support.stages import RUN, assembly, save, stage, use

EXPECTED = """\
flowchart LR
    s0["execute<br/>sql<br/>3 stages"]
    s1["ops<br/>2 stages"]
    s2["present<br/>2 stages"]
    a0(["query<br/>find<br/>v1"])
    a1(["prompt<br/>answer"])
    a2(["query<br/>find<br/>v2"])
    s0 ==>|2| s2
    s1 -->|2| s2
    s1 -->|3| s0
    s0 ==>|1| s0
    s0 -.->|3| a0
    s2 -.->|2| a1
    s0 -.->|1| a2
"""


def fill(store: Store) -> None:
    """Two traces: a step that executes (once twice) and one that presents, below one that holds both."""
    for n in (1, 2):
        stages = [
            stage(n, 1, "ops", 0, 90, stage_name="ops"),
            stage(n, 2, "execute", 1, 20 * n, stage_name="sql", parent_stage_id=f"t{n}-s1", status="error"),
            *([stage(n, 4, "execute", 40, 10, stage_name="sql", parent_stage_id=f"t{n}-s1")] if n == 2 else []),
            stage(n, 3, "present", 60, 10, parent_stage_id=f"t{n}-s1"),
        ]
        uses = [use(n, 2, "query", "find", "1"), use(n, 3, "prompt", "answer", fallback=True)]
        uses += [use(n, 4, "query", "find", "2"), use(n, 2, "query", "find", "1", ordinal=1)] if n == 2 else []
        save(store, assembly(stages, [*uses, use(n, 9, "policy", "outside of any stage")]))


def test_nodes_and_edges(store: Store) -> None:
    fill(store)
    found = asset_graph(store, RUN)
    assert (found.run_id, found.traces, found.traces_total, found.truncated) == (RUN, 2, 2, False)
    assert [(node.id, node.stage_type, node.stage_name, node.stages, node.errors) for node in found.stages] == [
        ("s0", "execute", "sql", 3, 2),
        ("s1", "ops", "ops", 2, 0),
        ("s2", "present", None, 2, 0),
    ]
    assert found.stages[0].avg_ms == pytest.approx(70 / 3, rel=1e-5)
    assert [(node.id, node.kind, node.name, node.version, node.uses, node.fallbacks) for node in found.assets] == [
        ("a0", "query", "find", "1", 3, 0),
        ("a1", "prompt", "answer", None, 2, 2),
        ("a2", "query", "find", "2", 1, 0),
    ]
    assert sorted((edge.relation, edge.source, edge.target, edge.times) for edge in found.edges) == [
        ("child", "s1", "s0", 3),
        ("child", "s1", "s2", 2),
        ("next", "s0", "s0", 1),
        ("next", "s0", "s2", 2),
        ("uses", "s0", "a0", 3),
        ("uses", "s0", "a2", 1),
        ("uses", "s2", "a1", 2),
    ]


def test_the_graph_as_mermaid(store: Store) -> None:
    fill(store)
    found = to_mermaid(asset_graph(store, RUN))
    # Edges that are equally frequent have their own order.
    assert sorted(found.splitlines()) == sorted(EXPECTED.splitlines())
    assert found.startswith("flowchart LR\n")


@pytest.mark.parametrize(
    "name",
    [
        'x"] --> evil["y',
        "a\nclick s0 callback",
        "<script>alert(1)</script>",
        "`**bold**` #35; %% note",
        "end",
        "1. first - second",
        "{{x}} | y ; z & w",
        "\u2028\u202e",
        "プロンプト 😀",
        "x" * 5000,
    ],
)
def test_no_name_breaks_out_of_its_label(store: Store, name: str) -> None:
    used = use(1, 1, "prompt", name, name)
    save(store, assembly([stage(1, 1, "output", stage_name=name)], [used]))
    lines = to_mermaid(asset_graph(store, RUN)).splitlines()
    assert len(lines) == 4
    for line, form in zip(lines[1:], (r's0\["(.*)"\]', r'a0\(\["(.*)"\]\)', r"s0 -\.->\|1\| (a0)"), strict=True):
        label = re.fullmatch(rf"    {form}", line)
        assert label is not None, line
        assert not re.search(r'["<>`{}|;*&\[\]]', re.sub(r"<br/>|#\d+;", "", label[1])), line
        assert not re.search(r"(^|<br/>)(\d+\.|-) ", label[1]), line
        assert len(label[1]) < 2000


def test_a_large_run_gives_a_small_graph(store: Store) -> None:
    stages = [stage(1, n, "tool", n, 1, stage_name=f"name-{n}") for n in range(1, 701)]
    uses = [use(1, n, "query", f"q{n}", str(n)) for n in range(1, 701)]
    save(store, assembly(stages, uses))
    found = asset_graph(store, RUN)
    assert found.truncated
    assert (len(found.stages), len(found.assets)) == (100, 200)
    shown = {node.id for node in found.stages} | {node.id for node in found.assets}
    assert all({edge.source, edge.target} <= shown for edge in found.edges)
    assert len(found.edges) <= 1000


def test_only_the_latest_traces_are_shown(store: Store) -> None:
    for n in (1, 2, 3):
        save(store, assembly([stage(n, 1, f"type-{n}", 1000 * n)], [use(n, 1, "prompt", f"p{n}")]))
    assert {item.stage_type for item in store.graph_stages(RUN, 2, 10)} == {"type-2", "type-3"}
    assert {item.name for item in store.graph_uses(RUN, 1, 10)} == {"p3"}
    assert module.MOST_TRACES == 2_000


def test_a_run_without_assets_and_an_unknown_one(store: Store) -> None:
    save(store, assembly([stage(1, 1, "output", started_ns=None), stage(1, 2, "output")]))
    found: Any = asset_graph(store, RUN)
    assert isinstance(found, AssetGraph)
    assert (len(found.stages), found.assets, found.edges) == (1, [], [])
    with pytest.raises(NotFound):
        asset_graph(store, "nothing")
