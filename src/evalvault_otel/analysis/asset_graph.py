"""The graph of a run: which stages used which assets, and how stages follow each other. JSON and Mermaid.

Stages are one node per type and name. Bounded whatever the run holds: the latest 2,000 traces, and of stages, assets
and edges the most frequent.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..store.asset_records import GraphFlow, GraphStage, GraphUse
from ..store.reads import Queries
from .applied import version_text
from .figures import count, rounded

MOST_TRACES: Final = 2_000
_MOST_STAGES: Final = 100
_MOST_EDGES: Final = 500
_MOST_ASSETS: Final = 200
_LONGEST_LABEL: Final = 80
_SPACE: Final = re.compile(r"[\s\x00-\x1f\x7f]+")
# Everything that Mermaid or the HTML in its labels acts on, as the entity codes of Mermaid
# (mermaid.js.org, "Flowcharts: Entity codes to escape characters"). A mark before a space would begin a list.
_SPECIAL: Final = re.compile(r"[^\w \-.,:/@+()=]|[.\-+](?= )")


@dataclass(frozen=True, slots=True)
class StageNode:
    """Stages of one type and name. `id` is only valid in this graph."""

    id: str
    stage_type: str
    stage_name: str | None
    stages: int
    errors: int
    avg_ms: float | None


@dataclass(frozen=True, slots=True)
class AssetNode:
    """An asset in a version. `id` is only valid in this graph."""

    id: str
    kind: str
    name: str
    version: str | None
    uses: int
    fallbacks: int


@dataclass(frozen=True, slots=True)
class Edge:
    """`uses` leads from a stage to an asset, `child` to a stage below, `next` to the one after it in its parent."""

    source: str
    target: str
    relation: str
    times: int


@dataclass(frozen=True, slots=True)
class AssetGraph:
    """Assets and stages of the latest `traces` traces of a run that has `traces_total`.

    `truncated` says that there were more stages, assets or edges than are shown. Uses outside of any stage are not.
    """

    run_id: str
    traces: int
    traces_total: int
    truncated: bool
    stages: list[StageNode]
    assets: list[AssetNode]
    edges: list[Edge]


_StageKey = tuple[str | None, str | None]
_AssetKey = tuple[str, str, str | None]


def asset_graph(store: Queries, run_id: str) -> AssetGraph:
    """The graph of a run.

    Raises:
        NotFound: there is no such run.
    """
    run = store.run(run_id)
    found = store.graph_stages(run_id, MOST_TRACES, _MOST_STAGES + 1)
    uses = store.graph_uses(run_id, MOST_TRACES, _MOST_EDGES + 1)
    flows = store.graph_flows(run_id, MOST_TRACES, _MOST_EDGES + 1)
    stages, assets = _stage_nodes(found[:_MOST_STAGES]), _asset_nodes(uses[:_MOST_EDGES])
    edges = [*_flow_edges(flows[:_MOST_EDGES], stages), *_use_edges(uses[:_MOST_EDGES], stages, assets)]
    many = len({(use.kind, use.name, use.version) for use in uses if use.stage_type is not None}) > _MOST_ASSETS
    return AssetGraph(
        run_id=run_id,
        traces=min(run.traces, MOST_TRACES),
        traces_total=run.traces,
        truncated=many or len(found) > _MOST_STAGES or max(len(uses), len(flows)) > _MOST_EDGES,
        stages=list(stages.values()),
        assets=list(assets.values()),
        edges=edges,
    )


def _stage_nodes(found: Sequence[GraphStage]) -> dict[_StageKey, StageNode]:
    return {
        (item.stage_type, item.stage_name): StageNode(
            f"s{n}", item.stage_type, item.stage_name, item.stages, item.errors, rounded(item.avg_ms)
        )
        for n, item in enumerate(found)
    }


def _asset_nodes(uses: Sequence[GraphUse]) -> dict[_AssetKey, AssetNode]:
    counts: dict[_AssetKey, list[int]] = {}
    for use in uses:
        if use.stage_type is not None:
            both = counts.setdefault((use.kind, use.name, use.version), [0, 0])
            both[0] += use.uses
            both[1] += use.fallbacks
    most = list(counts.items())[:_MOST_ASSETS]
    return {key: AssetNode(f"a{n}", *key, uses=both[0], fallbacks=both[1]) for n, (key, both) in enumerate(most)}


def _flow_edges(flows: Sequence[GraphFlow], stages: dict[_StageKey, StageNode]) -> Iterator[Edge]:
    for flow in flows:
        source, target = stages.get((flow.from_type, flow.from_name)), stages.get((flow.to_type, flow.to_name))
        if source is not None and target is not None:
            yield Edge(source.id, target.id, flow.relation, flow.times)


def _use_edges(
    uses: Sequence[GraphUse], stages: dict[_StageKey, StageNode], assets: dict[_AssetKey, AssetNode]
) -> Iterator[Edge]:
    for use in uses:
        source, target = stages.get((use.stage_type, use.stage_name)), assets.get((use.kind, use.name, use.version))
        if source is not None and target is not None:
            yield Edge(source.id, target.id, "uses", use.uses)


_ARROWS: Final = {"uses": "-.->", "child": "-->", "next": "==>"}


def to_mermaid(graph: AssetGraph) -> str:
    """The graph as a Mermaid flowchart: stages as boxes, assets rounded, what follows as thick arrows."""
    lines = ["flowchart LR"]
    for stage in graph.stages:
        name = stage.stage_name if stage.stage_name != stage.stage_type else None
        lines.append(f'    {stage.id}["{_label(stage.stage_type, name, count(stage.stages, "stage"))}"]')
    for asset in graph.assets:
        version = None if asset.version is None else version_text(asset.version)
        lines.append(f'    {asset.id}(["{_label(asset.kind, asset.name, version)}"])')
    lines += [f"    {edge.source} {_ARROWS[edge.relation]}|{edge.times:,}| {edge.target}" for edge in graph.edges]
    return "\n".join(lines) + "\n"


def _label(*parts: str | None) -> str:
    return "<br/>".join(map(_escaped, filter(None, parts)))


def _escaped(text: str) -> str:
    """Text from outside on one line, of a bounded length, with nothing that Mermaid or HTML would act on."""
    line = _SPACE.sub(" ", text).strip()
    shown = line if len(line) <= _LONGEST_LABEL else line[: _LONGEST_LABEL - 1] + "…"
    return _SPECIAL.sub(lambda found: f"#{ord(found[0])};", shown)
