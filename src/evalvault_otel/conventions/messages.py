"""Lists of chat messages, in every shape in which conventions send them, as what a stage shows of them.

A message is a map with `role` and `content` (text or a list of parts) or `parts`, or has these in `message`. Sources:
semantic-conventions-genai, gen-ai-input-messages.json and gen-ai-output-messages.json; OpenAI's chat format.
"""

from collections.abc import Iterable, Iterator, Mapping

from ..model import Value
from .coerce import parse_json, text

_SYSTEM = frozenset({"system", "developer"})
_MAX_PARTS = 1000


def messages_of(value: Value) -> list[Mapping[str, Value]]:
    """The messages of an attribute: a list, or the JSON text of one; empty for anything else."""
    found = parse_json(value) if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"} else value
    if isinstance(found, Mapping):
        found = found.get("messages", [found])
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def from_input(messages: Iterable[Mapping[str, Value]]) -> dict[str, Value]:
    """The system prompt, and the last message of the user, as fields for assembly."""
    fields: dict[str, Value] = {}
    for message in messages:
        role, content = text(message.get("role")), content_of(message)
        if not content:
            continue
        if role in _SYSTEM:
            fields.setdefault("_system_prompt", content)
        elif role == "user":
            fields["_question"] = content
    return fields


def from_output(messages: Iterable[Mapping[str, Value]]) -> dict[str, Value]:
    """The answer: the last message of the model that says something; and why it ended."""
    fields: dict[str, Value] = {}
    for message in messages:
        content, reason = content_of(message), text(message.get("finish_reason"))
        if content:
            fields["answer"] = content
        if reason:
            fields["finish_reason"] = reason
    return fields


def content_of(message: Mapping[str, Value]) -> str | None:
    """The text of a message: its content, or the texts among its parts, each on a line; None without any."""
    inner = message.get("message")
    if isinstance(inner, Mapping):
        return content_of(inner)
    content = message.get("content")
    if isinstance(content, str):
        return text(content)
    parts = content if isinstance(content, list) else message.get("parts")
    return "\n".join(_texts(parts[:_MAX_PARTS])) or None if isinstance(parts, list) else None


def _texts(parts: list[Value]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping) and part.get("type", "text") in {"text", "input_text", "output_text"}:
            found = text(part.get("content")) or text(part.get("text"))
            if found:
                yield found
