"""Rule 8: how a stage ended, and errors as a person groups them."""

from typing import Any

import pytest

from evalvault_otel.assembly import assemble
from evalvault_otel.model import SpanEvent, StageEvent, Value
from tests.support.traces import raised, stage

STATUS = "evalvault.stage.status"


def _ended(stage_type: str = "tool", attributes: dict[str, Value] | None = None, **said: Any) -> StageEvent:
    (found,) = assemble([stage(1, 0, stage_type, attributes, **said)]).stages
    return found


@pytest.mark.parametrize(
    "code, status", [(0, "success"), (1, "success"), (2, "error"), (3, "success"), (-1, "success")]
)
def test_the_status_of_the_span(code: int, status: str) -> None:
    found = _ended(status_code=code, status_message="why")

    assert (found.status, found.error_message) == (status, "why" if status == "error" else None)


@pytest.mark.parametrize(
    "said, status",
    [
        ("success", "success"),
        ("error", "error"),
        ("timeout", "timeout"),
        ("cancelled", "cancelled"),
        ("skipped", "skipped"),
        ("fallback", "fallback"),
        (" Skipped ", "skipped"),
        ("ok", "success"),
        ("failed", "error"),
        ("aborted", "cancelled"),
        ("no such status", "error"),
        (7, "error"),
    ],
)
def test_an_explicit_status_comes_before_that_of_the_span(said: Value, status: str) -> None:
    assert _ended(attributes={STATUS: said}, status_code=2).status == status


def test_an_exception_that_escaped_is_an_error_though_the_span_says_nothing() -> None:
    found = _ended(events=(raised("app.NoAnswer", "no answer"),))

    assert (found.status, found.error_type, found.error_message) == ("error", "app.NoAnswer", "no answer")


@pytest.mark.parametrize("escaped", ["False", "false", False, None])
def test_an_exception_that_was_handled_is_no_error(escaped: Value) -> None:
    event = SpanEvent(1, "exception", {"exception.type": "KeyError", "exception.escaped": escaped})

    assert (_ended(events=(event,)).status, _ended(events=(event,)).error_type) == ("success", None)


@pytest.mark.parametrize("escaped", ["True", "true", True])
def test_escaped_may_be_said_in_any_way(escaped: Value) -> None:
    assert _ended(events=(SpanEvent(1, "exception", {"exception.escaped": escaped}),)).status == "error"


@pytest.mark.parametrize(
    "error_type, status",
    [
        ("asyncio.exceptions.TimeoutError", "timeout"),
        ("TimeoutError", "timeout"),
        ("httpx.ReadTimeout", "timeout"),
        ("subprocess.TimeoutExpired", "timeout"),
        ("DEADLINE_EXCEEDED", "timeout"),
        ("StatusCode.DEADLINE_EXCEEDED", "timeout"),
        ("openai.APITimeoutError", "timeout"),
        ("anthropic.APITimeoutError", "timeout"),
        ("httpx.PoolTimeout", "timeout"),
        ("requests.exceptions.ConnectTimeout", "timeout"),
        ("java.net.SocketTimeoutException", "timeout"),
        ("java.util.concurrent.TimeoutException", "timeout"),
        ("java.net.http.HttpTimeoutException", "timeout"),
        ("io.grpc.StatusRuntimeException: DEADLINE_EXCEEDED", "timeout"),
        ("google.api_core.exceptions.DeadlineExceeded", "timeout"),
        ("context deadline exceeded", "timeout"),
        ("UND_ERR_HEADERS_TIMEOUT", "timeout"),
        ("504", "timeout"),
        ("java.util.concurrent.CancellationException", "cancelled"),
        ("System.Threading.Tasks.TaskCanceledException", "cancelled"),
        ("kotlinx.coroutines.JobCancellationException", "cancelled"),
        ("openai.APIUserAbortError", "cancelled"),
        ("StatusCode.CANCELLED", "cancelled"),
        ("openai.RateLimitError", "error"),
        ("500", "error"),
        ("...", "error"),
        ("asyncio.CancelledError", "cancelled"),
        ("GeneratorExit", "cancelled"),
        ("ValueError", "error"),
        ("NoTimeoutErrorAtAll", "error"),
    ],
)
def test_timeouts_and_cancellations_are_told_apart(error_type: str, status: str) -> None:
    assert _ended(status_code=2, events=(raised(error_type, "m", escaped=False),)).status == status
    assert _ended(status_code=2, attributes={"error.type": error_type}).status == status


def test_the_last_exception_explains_the_error() -> None:
    found = _ended(status_code=2, status_message="s", events=(raised("A", "first"), raised("B", "last")))

    assert (found.error_type, found.error_message) == ("B", "last")


def test_without_an_exception_the_status_message_explains_it() -> None:
    found = _ended(status_code=2, status_message="s", attributes={"error.type": "500"})

    assert (found.error_type, found.error_message) == ("500", "s")


def test_a_skipped_stage_keeps_its_reason_and_is_no_error() -> None:
    found = _ended(attributes={STATUS: "skipped"}, status_message="nothing to rank")

    assert (found.status, found.error_message, found.error_fingerprint) == ("skipped", "nothing to rank", None)
    assert assemble([stage(1, 0, "tool", {STATUS: "skipped"})]).runs[0].errors == 0


def test_errors_and_timeouts_count_as_errors_of_the_run_and_nothing_else_does() -> None:
    spans = [
        stage(number, 0, "tool", {STATUS: status})
        for number, status in enumerate(("success", "error", "timeout", "cancelled", "skipped", "fallback"), 1)
    ]

    assert assemble(spans).runs[0].errors == 2


def test_messages_are_bounded_and_clean() -> None:
    found = _ended(status_code=2, status_message="a\0" * 5000, attributes={"error.type": "E\0"})

    assert found.error_message == "a\ufffd" * 500
    assert found.error_type == "E\ufffd"


# Fingerprints.


def _fingerprint(message: str, error_type: str = "E", stage_type: str = "tool") -> str:
    found = _ended(stage_type, status_code=2, events=(raised(error_type, message),)).error_fingerprint
    assert found
    return found


@pytest.mark.parametrize(
    "one, other",
    [
        ("no document 17", "no document 4"),
        ("took 1.5 s", "took 20.25 s"),
        ("no key 'a'", "no key 'b'"),
        ('no key "a"', 'no key "c d"'),
        ("no key `a`", "no key `b`"),
        ("at 0x7f3a", "at 0x11"),
        ("trace 0af7651916cd43dd8448eb211c80319c", "trace b7ad6b7169203331aaaaaaaaaaaaaaaa"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-e89b-12d3-a456-426614174999"),
    ],
)
def test_occurrences_of_one_error_share_a_fingerprint(one: str, other: str) -> None:
    assert _fingerprint(one) == _fingerprint(other)


def test_other_words_types_and_stages_are_other_errors() -> None:
    assert len({_fingerprint("a"), _fingerprint("b"), _fingerprint("a", "F"), _fingerprint("a", "E", "rerank")}) == 4


@pytest.mark.parametrize(
    "attributes, message, reason",
    [
        ({"evalvault.stage.skip.reason": "direct_answer"}, "", "direct_answer"),
        ({"evalvault.stage.skip.reason": "rejected"}, "no plan", "rejected"),
        ({}, "no plan", "no plan"),
        ({}, "", None),
    ],
)
def test_a_skipped_stage_says_why(attributes: dict[str, Value], message: str, reason: str | None) -> None:
    skipped = {"evalvault.stage.status": "skipped", **attributes}
    (found,) = assemble([stage(1, 0, "execute", skipped, status_message=message)]).stages

    assert (found.status, found.error_type, found.error_message, found.error_fingerprint) == (
        "skipped",
        None,
        reason,
        None,
    )
