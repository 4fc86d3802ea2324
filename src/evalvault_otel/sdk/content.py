"""What of contents leaves the program: all of it, none, a hash, or texts that are cut and masked.

Contents are what users, documents and models say, and what tools take and give; ids, scores and counts are none. What
was changed is listed in the attribute `evalvault.content.hidden_keys`, so that a report can say what cannot be known.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from ..conventions import names

HIDDEN: Final = "__REDACTED__"
"""In place of a value that was left out: what OpenInference writes too (spec/configuration.md)."""
MASK: Final = "[masked]"
ALL, HASHED, NONE = "all", "hashed", "none"
GENAI_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

_CAPTURES: Final = (ALL, HASHED, NONE)
# opentelemetry-util-genai, `ContentCapturingMode`, and the booleans that came before it. Ours are attributes of spans.
_OFF: Final = frozenset({"false", "no_content", "event_only"})

# Attributes with contents, by their begin. Sources: docs/attributes.md; semantic-conventions-genai, gen-ai-spans.md;
# openinference, spec/semantic_conventions.md; openllmetry, semconv-ai; Vercel AI SDK, telemetry; Haystack, tracing.
_CONTENTS: Final = (
    *(names.INPUT_QUERY, names.RETRIEVAL_QUERY, names.OUTPUT_ANSWER, names.STAGE_INPUT_VALUE, names.STAGE_OUTPUT_VALUE),
    *("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.prompt.variable"),
    *("gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.retrieval.query.text"),
    *(
        "gen_ai.retrieval.documents",
        "gen_ai.memory.query.text",
        "gen_ai.memory.records",
        "gen_ai.evaluation.explanation",
    ),
    *("input.value", "output.value", "llm.input_messages.", "llm.output_messages.", "llm.prompts", "llm.choices"),
    *("llm.prompt_template.template", "llm.prompt_template.variables", "llm.function_call", "tool.parameters"),
    *("reranker.query", "query_str", "message.content", "document.content", "embedding.text", "audio.transcript"),
    *("traceloop.entity.input", "traceloop.entity.output", "traceloop.prompt.template", "db.query.result.document"),
    *("ai.prompt", "ai.response.text", "ai.response.object", "ai.toolCall.args", "ai.toolCall.result", "ai.value"),
    *("haystack.component.input", "haystack.component.output", "haystack.pipeline.input", "haystack.pipeline.output"),
)
# Of lists spread over keys, the fields with contents; and the texts of `gen_ai.prompt.0.content` and the like.
_FIELDS_OF_LISTS: Final = re.compile(
    r"(?:retrieval\.documents|reranker\.(?:input|output)_documents)\.\d+\.document\.(?:content|metadata)"
    r"|embedding\.embeddings\.\d+\.embedding\.text|gen_ai\.(?:prompt|completion)(?:\.\d+\.(?!role|finish_reason).*)?"
)
# What names things is kept: without it nothing could be found again.
_NAMES: Final = (
    "evalvault.run",
    "evalvault.stage.id",
    "evalvault.stage.type",
    "evalvault.test_case.",
    "evalvault.asset",
)


@dataclass(frozen=True, slots=True)
class ContentPolicy:
    """What becomes of contents before they are sent.

    `capture` is `all`, `hashed` (`sha256:` and the digest: equal texts stay equal) or `none`. `max_chars` cuts longer
    contents. `mask_keys` are names of attributes, or of fields in contents that are JSON, whose values are hidden (`*`
    stands for anything, small and capital letters are the same). `mask_patterns` are regular expressions: what fits
    them is masked in every text.

    Raises:
        ValueError: an unknown `capture`, a length below 0, or a pattern that is none.
    """

    capture: str = ALL
    max_chars: int | None = None
    mask_keys: tuple[str, ...] = ()
    mask_patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.capture not in _CAPTURES:
            raise ValueError(f"capture is one of {', '.join(_CAPTURES)}, not {self.capture!r}")
        if self.max_chars is not None and self.max_chars < 0:
            raise ValueError(f"max_chars is 0 or more, not {self.max_chars}")
        try:
            for pattern in self.mask_patterns:
                re.compile(pattern)
        except re.error as error:
            raise ValueError(f"a mask pattern is no regular expression: {error}") from error


EVERYTHING: Final = ContentPolicy()


class _State:
    policy: ContentPolicy | None = None


def use_content_policy(policy: ContentPolicy | None) -> None:
    """Let this hold for all stages of the process; None: what the environment says."""
    _State.policy = policy


def current() -> ContentPolicy:
    """What holds now: what was chosen, else what OpenTelemetry GenAI's own variable says, else everything is sent."""
    found = _State.policy
    if found is None:
        found = _State.policy = of_genai(os.environ.get(GENAI_CAPTURE, ""))
    return found


def of_genai(said: str) -> ContentPolicy:
    """The policy that a value of OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT stands for; empty: everything."""
    return ContentPolicy(NONE) if said.strip().lower() in _OFF else EVERYTHING


def redact(attributes: Mapping[str, Any], policy: ContentPolicy) -> Mapping[str, Any]:
    """Attributes of a span or event as they may be sent; the same object where nothing is to change.

    What `evalvault.content.hidden_keys` lists already is left alone, so a second time changes nothing.
    """
    if policy == EVERYTHING:
        return attributes
    treat = _treatment(policy)
    before = attributes.get(names.CONTENT_HIDDEN_KEYS) or ()
    found = {key: treat(key, value) for key, value in attributes.items() if key not in before}
    hidden = [key for key, value in found.items() if value is not attributes[key]]
    if not hidden:
        return attributes
    return {**attributes, **found, names.CONTENT_HIDDEN_KEYS: sorted({*before, *hidden})}


def masked(text: str, policy: ContentPolicy) -> str:
    """A text that is no attribute, such as an error's, with what fits the patterns masked."""
    return _treatment(policy)("", text) if policy.mask_patterns else text


@lru_cache(maxsize=4096)
def is_content(key: str) -> bool:
    """Whether an attribute of this name holds contents."""
    return key.startswith(_CONTENTS) or _FIELDS_OF_LISTS.fullmatch(key) is not None


_Treat = Callable[[str, Any], Any]


@lru_cache(maxsize=16)
def _treatment(policy: ContentPolicy) -> _Treat:
    keys = re.compile("|".join(map(translate, policy.mask_keys)), re.IGNORECASE) if policy.mask_keys else None
    patterns = [re.compile(pattern) for pattern in policy.mask_patterns]

    def treat(key: str, value: Any) -> Any:
        if keys is not None and keys.match(key):
            return HIDDEN
        if key.startswith(_NAMES) or value is None:
            return value
        content = is_content(key)
        if content and policy.capture == NONE:
            return HIDDEN
        if content and policy.capture == HASHED:
            return _hashed(value)
        shown = _masked(value, keys if content else None, patterns)
        if content and policy.max_chars is not None and isinstance(shown, str) and len(shown) > policy.max_chars:
            return shown[: policy.max_chars]
        return shown

    return treat


def _hashed(value: Any) -> str:
    said = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return f"sha256:{sha256(said.encode(errors='replace')).hexdigest()}"


def _masked(value: Any, keys: re.Pattern[str] | None, patterns: list[re.Pattern[str]]) -> Any:
    """The same object where nothing fits."""
    if isinstance(value, str):
        return _masked_text(value, keys, patterns)
    if isinstance(value, Mapping):
        shown = {
            key: MASK if keys is not None and keys.match(str(key)) else _masked(item, keys, patterns)
            for key, item in value.items()
        }
        return value if all(shown[key] is value[key] for key in shown) else shown
    if isinstance(value, list | tuple):
        items = [_masked(item, keys, patterns) for item in value]
        return value if all(one is other for one, other in zip(items, value, strict=True)) else items
    return value


def _masked_text(text: str, keys: re.Pattern[str] | None, patterns: list[re.Pattern[str]]) -> str:
    if keys is not None and text[:1] in {"{", "["}:
        text = _masked_json(text, keys)
    for pattern in patterns:
        shown = pattern.sub(MASK, text)
        text = text if shown == text else shown
    return text


def _masked_json(text: str, keys: re.Pattern[str]) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    shown = _masked(value, keys, [])
    return text if shown is value else json.dumps(shown, ensure_ascii=False)
