"""Documents that a retrieval or a reranking returned, in every shape, as ids and scores."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from ..model import Value
from .coerce import number, parse_json, text

# Where an id may stand: in the document, else in its metadata.
ID_KEYS = ("id", "doc_id", "document_id", "chunk_id", "node_id", "id_")
_METADATA_KEYS = (*ID_KEYS, "source", "_id", "url")
_SCORE_KEYS = ("score", "similarity", "relevance_score", "similarity_score")
_CONTENT_KEYS = ("content", "page_content", "text", "document")


def from_documents(documents: Sequence[Value]) -> dict[str, Value]:
    """`doc_ids`, and `scores` or `distances` where there are any, in the order of the documents."""
    found = [_document(item) for item in documents]
    if not found:
        return {}
    fields: dict[str, Value] = {"doc_ids": [document_id(item) for item in found]}
    for name, keys in (("scores", _SCORE_KEYS), ("distances", ("distance",))):
        values = [_first_number(item, keys) for item in found]
        if any(value is not None for value in values):
            fields[name] = values
    return fields


def documents_in(value: Value) -> list[Value]:
    """The list of documents in a payload: the list itself, or what a map calls documents, nodes or the like.

    Traceloop writes the nodes of LlamaIndex as a list of JSON texts.
    """
    found = parse_json(value)
    for _ in range(2):
        if isinstance(found, Mapping):
            found = next((found[key] for key in ("documents", "nodes", "results", "outputs") if key in found), None)
    if not isinstance(found, list):
        return []
    documents = [parse_json(item) if isinstance(item, str) and item[:1] == "{" else item for item in found]
    return documents if any(isinstance(item, Mapping) for item in documents) else []


def document_id(document: Mapping[str, Value]) -> str | None:
    """The id of a document, else one made of its content, else None: of two unknown ones nothing says they are one."""
    found = _first_text(document, ID_KEYS)
    metadata = parse_json(document.get("metadata"))
    if found is None and isinstance(metadata, Mapping):
        found = _first_text(metadata, _METADATA_KEYS)
    return found or content_id(_first_text(document, _CONTENT_KEYS))


def content_id(content: str | None) -> str | None:
    """The id of a document without one: the same text has the same id, whoever returns it."""
    return "h:" + sha256(content.encode("utf-8", "replace")).hexdigest()[:16] if content else None


def _document(item: Value) -> Mapping[str, Value]:
    """A document as a map; LlamaIndex and others put it, with its score beside it, into another one."""
    if not isinstance(item, Mapping):
        return {"content": item} if isinstance(item, str) else {}
    for key in ("node", "kwargs"):
        inner = item.get(key)
        if isinstance(inner, Mapping):
            return {**inner, **{name: value for name, value in item.items() if name != key and value is not None}}
    return item


def _first_text(holder: Mapping[str, Value], keys: Iterable[str]) -> str | None:
    return next((found for key in keys if key in holder and (found := text(holder[key]))), None)


def _first_number(holder: Mapping[str, Value], keys: Iterable[str]) -> float | int | None:
    return next((found for key in keys if key in holder and (found := number(holder[key])) is not None), None)
