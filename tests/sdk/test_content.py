"""What of contents leaves the program, and that a report can say what does not."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest

import evalvault_otel as ev
from evalvault_otel.sdk.content import HIDDEN, ContentPolicy, is_content, of_genai, redact
from tests.support.recording import Recording

_SECRET = "my number is 4111 1111 1111 1111"  # noqa: S105 - the data of a test
_NUMBER = r"\d{4}( \d{4}){3}"


def _retrieval(recorded: Recording, policy: ContentPolicy) -> Mapping[str, Any]:
    ev.use_content_policy(policy)
    with ev.run("r"), ev.stage("retrieval", name="bm25") as stage:
        stage.record(query=_SECRET, doc_ids=["d1"], top_k=5)
        stage.record(output='{"text": "long", "Password": "hunter2"}')
    return recorded.received()[0].attributes


def test_by_default_all_is_sent(recorded: Recording) -> None:
    assert _retrieval(recorded, ContentPolicy())["evalvault.retrieval.query"] == _SECRET
    assert recorded.assembly().findings == ()


def test_without_capture_contents_are_hidden_and_the_report_says_which(recorded: Recording) -> None:
    sent = _retrieval(recorded, ContentPolicy("none"))

    assert _SECRET not in json.dumps(sent)
    assert sent["evalvault.content.hidden_keys"] == ["evalvault.retrieval.query", "evalvault.stage.output.value"]
    event = recorded.stage("retrieval")
    assert event.attributes["doc_ids"] == ["d1"]
    assert "query" not in event.attributes
    (finding,) = [finding for finding in recorded.assembly().findings if finding.code == "redacted"]
    assert "evalvault.retrieval.query" in finding.detail


def test_hashed_contents_can_be_compared_and_not_read(recorded: Recording) -> None:
    sent = _retrieval(recorded, ContentPolicy("hashed"))

    assert sent["evalvault.retrieval.query"] == f"sha256:{hashlib.sha256(_SECRET.encode()).hexdigest()}"
    assert [finding.code for finding in recorded.assembly().findings] == ["redacted"]


def test_long_contents_are_cut_and_that_is_marked(recorded: Recording) -> None:
    sent = _retrieval(recorded, ContentPolicy(max_chars=9))

    assert sent["evalvault.retrieval.query"] == "my number"
    assert "evalvault.retrieval.query" in sent["evalvault.content.hidden_keys"]


def test_masks_by_pattern_and_by_key(recorded: Recording) -> None:
    sent = _retrieval(recorded, ContentPolicy(mask_keys=("pass*",), mask_patterns=(_NUMBER,)))

    assert sent["evalvault.retrieval.query"] == "my number is [masked]"
    assert sent["evalvault.stage.output.value"] == '{"text": "long", "Password": "[masked]"}'
    assert sent["evalvault.retrieval.top_k"] == 5


@pytest.mark.parametrize("policy", [ContentPolicy("none"), ContentPolicy("hashed"), ContentPolicy(max_chars=3)])
def test_a_second_time_changes_nothing(policy: ContentPolicy) -> None:
    once = redact({"input.value": "question", "evalvault.run.id": "r", "evalvault.retrieval.top_k": 5}, policy)

    assert redact(once, policy) == once
    assert once["evalvault.run.id"] == "r"


def test_attributes_of_every_convention_are_known() -> None:
    contents = (
        *(
            "gen_ai.input.messages",
            "gen_ai.prompt.0.content",
            "gen_ai.completion",
            "llm.input_messages.0.message.content",
        ),
        *("retrieval.documents.3.document.content", "traceloop.entity.input", "ai.prompt.messages", "input.value"),
        *("embedding.embeddings.0.embedding.text", "evalvault.output.answer", "gen_ai.tool.call.arguments"),
    )
    others = (
        *("gen_ai.request.model", "gen_ai.prompt.0.role", "retrieval.documents.3.document.id", "llm.model_name"),
        *("gen_ai.prompt.name", "evalvault.retrieval.doc_ids", "evalvault.asset.name", "input.mime_type", "http.route"),
    )
    assert [key for key in contents if not is_content(key)] == []
    assert [key for key in others if is_content(key)] == []


def test_values_of_every_shape() -> None:
    policy = ContentPolicy(mask_keys=("token", "x.secret.*"), mask_patterns=("sk-[a-z]+",))
    said = {
        "gen_ai.input.messages": [{"role": "user", "token": "t", "parts": [{"content": "key sk-abc"}]}],
        "gen_ai.tool.call.arguments": '[{"token": 5}]',
        "gen_ai.tool.call.result": "[no json",
        "x.secret.one": 7,
        "url.full": "https://a/?key=sk-abc",
        "my.list": ("a", "sk-z"),
        "count": 3,
        "bytes": b"sk-abc",
    }

    assert redact(said, policy) == {
        **said,
        "gen_ai.input.messages": [{"role": "user", "token": "[masked]", "parts": [{"content": "key [masked]"}]}],
        "gen_ai.tool.call.arguments": '[{"token": "[masked]"}]',
        "x.secret.one": HIDDEN,
        "url.full": "https://a/?key=[masked]",
        "my.list": ["a", "[masked]"],
        "evalvault.content.hidden_keys": [
            "gen_ai.input.messages",
            "gen_ai.tool.call.arguments",
            "my.list",
            "url.full",
            "x.secret.one",
        ],
    }


def test_what_needs_no_change_is_the_same_object() -> None:
    said = {"http.route": "/", "evalvault.retrieval.top_k": 3}

    assert redact(said, ContentPolicy()) is said
    assert redact(said, ContentPolicy("none", 5, ("password",), ("sk-",))) is said


@pytest.mark.parametrize(
    "said, capture",
    [
        ("", "all"),
        *((word, "all") for word in ("true", "SPAN_ONLY", "SPAN_AND_EVENT")),
        *((word, "none") for word in ("false", "False", "NO_CONTENT", "EVENT_ONLY")),
    ],
)
def test_the_variable_of_genai_is_respected(said: str, capture: str) -> None:
    assert of_genai(said).capture == capture


@pytest.mark.parametrize("said", [{"capture": "some"}, {"max_chars": -1}, {"mask_patterns": ("(",)}])
def test_a_policy_that_cannot_be_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"capture|max_chars|pattern"):
        ContentPolicy(**said)
