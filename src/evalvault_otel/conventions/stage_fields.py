"""Fields of a stage, by the names they have in its StageEvent, as span attributes: what `stage.record(...)` writes.

Names of our registry become its attributes, others of the common vocabulary those of OpenTelemetry GenAI; a name that
nobody knows is kept as it is, and comes back in the stage's attributes under that name. Lists stay whole.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final

from ..text import without_surrogates
from . import names

Attribute = Any

_OF_REGISTRY: Final = {
    field: (key, read)
    for key, part, field, read in reversed(names.FILLS)
    if part == "field" and key != names.CONTENT_HIDDEN_KEYS
}
# Fields that several attributes fill, by stage type.
_BY_TYPE: Final = {
    "input": {"query": (names.INPUT_QUERY, "text")},
    "rerank": {"doc_ids": (names.RERANK_DOC_IDS, "texts"), "scores": (names.RERANK_SCORES, "numbers")},
}
_ELSEWHERE: Final = {
    "query": (names.RETRIEVAL_QUERY, "text"),
    "doc_ids": (names.RETRIEVAL_DOC_IDS, "texts"),
    "scores": (names.RETRIEVAL_SCORES, "numbers"),
}
_OF_STAGE: Final = {
    "input": (names.STAGE_INPUT_VALUE, "anything"),
    "output": (names.STAGE_OUTPUT_VALUE, "anything"),
    "input_uri": (names.STAGE_INPUT_URI, "text"),
    "output_uri": (names.STAGE_OUTPUT_URI, "text"),
    "status": (names.STAGE_STATUS, "text"),
    "attempt": (names.STAGE_ATTEMPT, "integer"),
    "index": (names.STAGE_INDEX, "integer"),
    "skip_reason": (names.STAGE_SKIP_REASON, "text"),
}
# OpenTelemetry GenAI, docs/gen-ai/gen-ai-spans.md: what it names already is not named again.
_OF_GENAI: Final = {
    "model": ("gen_ai.request.model", "text"),
    "model_name": ("gen_ai.request.model", "text"),
    "provider": ("gen_ai.provider.name", "text"),
    "temperature": ("gen_ai.request.temperature", "number"),
    "top_p": ("gen_ai.request.top_p", "number"),
    "max_tokens": ("gen_ai.request.max_tokens", "integer"),
    "seed": ("gen_ai.request.seed", "integer"),
    "response_id": ("gen_ai.response.id", "text"),
    "tool_name": ("gen_ai.tool.name", "text"),
    "tool_call_id": ("gen_ai.tool.call.id", "text"),
    "dimension": ("gen_ai.embeddings.dimension.count", "integer"),
    "finish_reason": ("gen_ai.response.finish_reasons", "texts"),
}
FIELDS: Final = {**_OF_GENAI, **_OF_REGISTRY, **_ELSEWHERE, **_OF_STAGE}
"""Every field by name: the attribute that it becomes, and as what its value is written."""


def attributes_of(stage_type: str, fields: Mapping[str, Any]) -> dict[str, Attribute]:
    """Span attributes for these fields of a stage of this type. What is None is left out.

    A name with a dot is an attribute already. Values of another type than the field's are kept as they are, so that a
    report can say what is wrong. Raises only what the values themselves raise.
    """
    own = _BY_TYPE.get(stage_type, {})
    found: dict[str, Attribute] = {}
    for name, value in fields.items():
        if value is None:
            continue
        key, read = own.get(name) or FIELDS.get(name) or (without_surrogates(str(name)) or "unnamed", "anything")
        found[key] = _READ[read](value)
    return found


def plain(value: Any) -> Attribute:
    """A value as every SDK takes it: a scalar, a list of scalars of one type, else JSON text.

    Arrays and scalars of numeric libraries are taken by their `tolist`; what JSON cannot say is its text.
    """
    if value.__class__ is str:
        return without_surrogates(value)
    if value.__class__ in _SCALARS:
        return value if value.__class__ is not int or _fits(value) else str(value)
    if isinstance(value, Enum):
        return plain(value.value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, str | int | float):
        return plain(str(value) if isinstance(value, str) else float(value) if isinstance(value, float) else int(value))
    if isinstance(value, Mapping):
        return _json(value)
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        return _list(list(value))
    return without_surrogates(str(value))


def _fits(number: int) -> bool:
    """OTLP has whole numbers of 64 bits."""
    return -(1 << 63) <= number < 1 << 63


_SCALARS: Final = frozenset({str, bool, int, float})


def _list(items: list[Any]) -> Attribute:
    kinds = {item.__class__ for item in items if item is not None}
    if kinds == {int, float}:
        return [None if item is None else float(item) for item in items]
    if kinds == {str}:
        return [None if item is None else without_surrogates(item) for item in items]
    simple = kinds <= _SCALARS and len(kinds) <= 1
    return items if simple and all(_fits(item) for item in items if item.__class__ is int) else _json(items)


def _json(value: Any) -> str:
    return without_surrogates(json.dumps(value, default=_jsonable, ensure_ascii=False))


def _jsonable(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, set | frozenset | tuple) else str(value)


def _texts(value: Any) -> Attribute:
    if isinstance(value, str | bytes | Mapping) or not (isinstance(value, Iterable) or hasattr(value, "tolist")):
        return [str(value)]
    items = value.tolist() if hasattr(value, "tolist") else value
    return [None if item is None else _text(item) for item in items]


def _numbers(value: Any) -> Attribute:
    items = value.tolist() if hasattr(value, "tolist") else value
    items = list(items) if isinstance(items, Iterable) and not isinstance(items, str | Mapping) else [items]
    try:
        return [None if item is None else float(item) for item in items]
    except (TypeError, ValueError):
        return plain(items)


def _text(value: Any) -> str:
    said = plain(value)
    return said if isinstance(said, str) else str(said)


def _number_as(kind: Callable[[Any], Any]) -> Callable[[Any], Attribute]:
    def read(value: Any) -> Attribute:
        said = plain(value)
        try:
            made = kind(said)
        except (TypeError, ValueError, OverflowError):
            return said
        return made if made == said or isinstance(said, str) else said

    return read


_READ: Final[Mapping[str, Callable[[Any], Attribute]]] = {
    "anything": plain,
    "boolean": plain,
    "citations": plain,
    "integer": _number_as(int),
    "number": _number_as(float),
    "numbers": _numbers,
    "question": _text,
    "text": _text,
    "texts": _texts,
}
