"""Which documents are relevant for a test case, said after the fact: as log events of the retrievals that they judge.

So the archive stays the only source: the stages of a trace follow from its spans and log events alone, and a late span,
`remap`, or an export and import keep the judgement. It is about the retrievals that a run has when it is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from ..assembly.metrics import stage_metrics
from ..conventions.names import RELEVANCE_EVENT, RETRIEVAL_RELEVANT_DOC_IDS
from ..errors import InvalidInput
from ..model import LogEvent, StageEvent
from ..store.reads import Queries
from ..store.records import StageFilter
from ..wire import identity

Relevance = Mapping[str, tuple[str, ...]]
"""Test case id -> ids of the documents that are relevant for it."""

_PAGE: Final = 500
_MOST_IDS: Final = 10_000
_RESOURCE: Final = identity.resource({"service.name": "evalvault-otel"}, 0, "")
_SCOPE: Final = identity.scope("evalvault_otel.relevance", "", {}, 0, "")
_INFO: Final = 9


def parse_relevance(data: bytes) -> Relevance:
    """A map as EvalVault writes it: a JSON object of test case ids; a single id counts as a list of one.

    Raises:
        InvalidInput: it is something else.
    """
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise InvalidInput(f"relevance: not JSON: {exc}") from exc
    if not isinstance(found, dict) or not found:
        raise InvalidInput('relevance: write an object such as {"test-case-1": ["doc-1", "doc-7"]}')
    return {case: _ids(case, said) for case, said in found.items()}


def _ids(case: str, said: Any) -> tuple[str, ...]:
    listed = said if isinstance(said, list) else [said]
    if len(listed) > _MOST_IDS or not all(isinstance(one, str | int) and not isinstance(one, bool) for one in listed):
        raise InvalidInput(f"relevance of {case!r}: give document ids, at most {_MOST_IDS:,}")
    return tuple(dict.fromkeys(map(str, listed)))


def judged(store: Queries, run_id: str, relevance: Relevance) -> Iterator[tuple[StageEvent, tuple[str, ...]]]:
    """The retrievals of a run whose test case the map knows, each with its relevant documents.

    Raises:
        NotFound: there is no such run.
    """
    store.run(run_id)
    for stage in retrievals(store, run_id):
        case = stage.metadata.get("test_case_id")
        if isinstance(case, str) and case in relevance:
            yield stage, relevance[case]


def retrievals(store: Queries, run_id: str) -> Iterator[StageEvent]:
    """All retrievals of a run, page by page."""
    cursor: str | None = None
    while True:
        page = store.stages(run_id, StageFilter("retrieval"), _PAGE, cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def events(found: Sequence[tuple[StageEvent, tuple[str, ...]]], now_ns: int) -> list[LogEvent]:
    """The log events that say it; none for a stage that says the same itself, or that stands for no span."""
    return [
        _event(stage, ids, now_ns)
        for stage, ids in found
        if stage.span_id and set(ids) != {str(one) for one in _said(stage)}
    ]


def _said(stage: StageEvent) -> Sequence[Any]:
    said = stage.attributes.get("relevant_doc_ids")
    return said if isinstance(said, list) else []


def _event(stage: StageEvent, ids: tuple[str, ...], now_ns: int) -> LogEvent:
    return LogEvent(
        trace_id=stage.trace_id,
        span_id=stage.span_id or "",
        name=RELEVANCE_EVENT,
        time_ns=now_ns,
        observed_ns=now_ns,
        severity=_INFO,
        severity_text="INFO",
        body=None,
        attributes={RETRIEVAL_RELEVANT_DOC_IDS: list(ids)},
        dropped_attributes=0,
        flags=0,
        resource=_RESOURCE,
        scope=_SCOPE,
    )


def scores_with(stage: StageEvent, relevance: Relevance) -> Mapping[str, float]:
    """The scores of a retrieval as they would be with a map: what the stage says itself counts more."""
    ids = relevance.get(str(stage.metadata.get("test_case_id")))
    if ids is None or _said(stage):
        return stage.metrics
    return {
        **stage.metrics,
        **stage_metrics("retrieval", {**stage.attributes, "relevant_doc_ids": list(ids)}, {}).scores,
    }
