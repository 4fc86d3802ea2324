"""Attribute names as a diagnosis sees them: of which convention, of which generation, replaced, or nobody's."""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

from ..conventions.deprecated import DEPRECATED
from ..conventions.reading import DIALECTS

# What names of a convention begin with; `llm.` and `db.` belong to several.
_CONVENTIONS: Final = {
    "evalvault.": "evalvault",
    "openinference.": "OpenInference",
    "gen_ai.": "OpenTelemetry GenAI",
    "traceloop.": "Traceloop",
    "ai.": "Vercel AI SDK",
    "haystack.": "Haystack",
    "rag.module": "Open RAG Trace",
    "langgraph_": "LangGraph",
    "ls_": "LangSmith",
}
# Namespaces of OpenTelemetry's semantic conventions that say nothing about stages: known, and kept in the archive.
_MACHINERY: Final = (
    *("http.", "url.", "net.", "network.", "server.", "client.", "code.", "thread.", "process.", "peer.", "host."),
    *("rpc.", "db.", "messaging.", "telemetry.", "otel.", "exception.", "error.", "service.", "user_agent.", "faas."),
    *("deployment.", "session.", "user.", "enduser.", "feature_flag.", "cloud.", "k8s.", "container.", "aws.", "gcp."),
    *("tls.", "dns.", "graphql.", "peer.", "sampling.", "openinference.", "browser.", "log."),
)
_CLAIMED: Final = frozenset(
    key
    for dialect in DIALECTS
    for key in (
        *(rule.key for rule in dialect.rules),
        *(typing.key for typing in dialect.typings),
        *dialect.wrappers,
        *(prefix.rstrip(".") for prefix in dialect.flattened),
    )
)
# Read where the stage type asks for it, by no rule of a table.
_READ_BESIDE: Final = frozenset({"gen_ai.agent.name"})
_LISTS: Final = tuple(prefix for dialect in DIALECTS for prefix in dialect.flattened)
_NUMBER: Final = re.compile(r"\.\d+(?=\.|$)")
_CACHED: Final = 10_000


@lru_cache(maxsize=_CACHED)
def general(key: str) -> str:
    """The name without the numbers of a flattened list."""
    return _NUMBER.sub(".N", key)


@lru_cache(maxsize=_CACHED)
def convention_of(key: str) -> str | None:
    """The convention that a name belongs to beyond doubt."""
    return next((name for prefix, name in _CONVENTIONS.items() if key.startswith(prefix)), None)


@lru_cache(maxsize=_CACHED)
def is_unknown(key: str) -> bool:
    """Whether no convention claims the name, so that it is at most an attribute of its stage."""
    return not (key in _CLAIMED or key in DEPRECATED or key in _READ_BESIDE or key.startswith((*_LISTS, *_MACHINERY)))


@lru_cache(maxsize=_CACHED)
def meant(key: str) -> str:
    """What someone may have meant by an unknown name of ours."""
    if not key.startswith("evalvault"):
        return ""
    near = get_close_matches(key, [name for name in _CLAIMED if name.startswith("evalvault.")], 1, 0.8)
    return f"did you mean {near[0]}?" if near else ""


# Names by which generations of the GenAI conventions are told apart, the newest first.
_GENERATIONS: Final[Mapping[str, Collection[str]]] = {
    "v1.37 or newer": {"gen_ai.provider.name", "gen_ai.input.messages", "gen_ai.output.messages"},
    "v1.27 to v1.36": {"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.operation.name"},
    "v1.26 or older": {"gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens", "gen_ai.prompt"},
}


def generation(keys: Collection[str]) -> str | None:
    """Which generation of the GenAI conventions the names are of; the newer when a scope writes both."""
    if "gen_ai.system" in keys and "gen_ai.provider.name" not in keys:
        newer = any(mark in keys for mark in _GENERATIONS["v1.27 to v1.36"])
        return "v1.27 to v1.36" if newer else "v1.26 or older"
    return next((name for name, marks in _GENERATIONS.items() if any(mark in keys for mark in marks)), None)
