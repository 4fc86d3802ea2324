"""`stage(...)`: one logical step of an answer as an OpenTelemetry span, for blocks and for functions of every kind."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, TypeVar, Unpack, cast

from opentelemetry.context import Context, get_current, get_value, set_value
from opentelemetry.trace import INVALID_SPAN, Link, Span, StatusCode, set_span_in_context

from ..conventions import names
from ..conventions.stage_fields import FIELDS, attributes_of
from . import asset as assets
from . import compat, content, guard
from .asset import AssetFields
from .context import RUN_KEY, STAGE_KEY, Run
from .scope import Scope, wrapped

F = TypeVar("F", bound=Callable[..., Any])

_NO_TYPE: Final = "unknown"
_TYPE: Final = re.compile(r"[a-z][a-z0-9_.\-]{0,63}")
# What ends a stage without anything being wrong with it, by name: importing asyncio costs more than all of this.
_CANCELLATIONS: Final = frozenset({"CancelledError", "GeneratorExit", "KeyboardInterrupt"})


class Stage(Scope):
    """A stage that is going on. After its end nothing more can be recorded but assets."""

    __slots__ = ("_identity", "span", "type")

    def __init__(self, identity: Mapping[str, str], span: Span, context: Context) -> None:
        super().__init__(set_value(STAGE_KEY, self, set_span_in_context(span, context)))
        self.type = identity[names.STAGE_TYPE]
        self.span = span
        self._identity = identity

    @property
    def id(self) -> str:
        """The stage id that the server will give it: the one that was asked for, else the span id."""
        return self._identity.get(names.STAGE_ID) or f"{self.span.get_span_context().span_id:016x}"

    @guard.guarded
    def record(self, attributes: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        """What the stage took and gave: `query=…, doc_ids=…, scores=…, top_k=…` (docs/sdk.md has all names).

        Values are copied. Names with a dot, in `attributes`, are span attributes as they are; names that nobody knows
        are kept under their own name. In strict mode those raise `WrongUse`, as does a stage that has ended.
        """
        said = {**attributes, **fields} if attributes else fields
        if guard.is_strict():
            _check(said)
        if self.span.is_recording():
            self._set(content.redact(attributes_of(self.type, said), content.current()))
        elif compat.has_ended(self.span):
            guard.wrong("record after the end", f"stage {self.type} has ended: what is recorded now is lost")

    def _set(self, attributes: Mapping[str, Any]) -> None:
        hidden = attributes.get(names.CONTENT_HIDDEN_KEYS)
        if hidden:
            before = self._have().get(names.CONTENT_HIDDEN_KEYS) or ()
            attributes = {**attributes, names.CONTENT_HIDDEN_KEYS: sorted({*hidden, *before})}
        self.span.set_attributes(attributes)

    def _have(self) -> Mapping[str, Any]:
        """The attributes that the span has, as far as its implementation says."""
        return getattr(self.span, "attributes", None) or {}

    @guard.guarded
    def skip(self, reason: str | None = None) -> None:
        """The stage was left out, and why (`direct_answer`, `rejected`): it counts as skipped, not as success."""
        self.span.set_attribute(names.STAGE_STATUS, "skipped")
        if reason is not None:
            self.span.set_attribute(names.STAGE_SKIP_REASON, str(reason))

    @guard.guarded
    def asset(self, kind: str, name: str | None = None, **fields: Unpack[AssetFields]) -> None:
        """This stage uses an asset, whatever span is current (see `evalvault_otel.asset`)."""
        assets.use_on(set_value(STAGE_KEY, self, set_span_in_context(self.span, self.context)), kind, name, fields)

    def finish(self, error: BaseException | None) -> None:
        """End the span, as failed or cancelled where `error` says so."""
        span = self.span
        try:
            if span.is_recording():
                if error is not None:
                    self._fail(error)
                assets.close(span)
                # The SDK drops the oldest attributes over its limit, and those of the identity are the oldest.
                if names.STAGE_TYPE not in getattr(span, "attributes", self._identity):
                    span.set_attributes(self._identity)
        except Exception as problem:  # noqa: BLE001 - called in the program's thread
            guard.failed("the end of a stage", problem)
        try:
            span.end()
        except Exception as problem:  # noqa: BLE001 - a processor of somebody's may raise
            guard.failed("the end of a span", problem)

    @guard.guarded
    def _fail(self, error: BaseException) -> None:
        """The exception as an event, once; being cancelled is no failure of the span. assembly/outcome reads both."""
        said = type(error).__name__
        if said in _CANCELLATIONS:
            self.span.set_attribute(names.STAGE_STATUS, "cancelled")
        else:
            self.span.set_status(StatusCode.ERROR, f"{said}: {_message(error)}")
            # What was said before the exception came does not hold any more.
            if names.STAGE_STATUS in self._have():
                self.span.set_attribute(names.STAGE_STATUS, "error")
        self.span.record_exception(error, escaped=True)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the program's own class
        return "(it cannot say what)"


def _check(said: Mapping[str, Any]) -> None:
    unknown = sorted(name for name in said if name not in FIELDS and "." not in name)
    if unknown:
        known = ", ".join(sorted(FIELDS))
        guard.wrong("stage field", f"unknown fields of a stage: {', '.join(unknown)}; known are {known}")


class StageBlock:
    """A stage to be done: `with`, `async with`, or a decorator of functions, coroutines and generators."""

    def __init__(self, identity: Mapping[str, str], links: Sequence[Link], fields: Mapping[str, Any]) -> None:
        self._identity = identity
        self._links = links
        self._fields = fields
        self._open: list[Stage] = []

    def __enter__(self) -> Stage:
        stage = self.start()
        stage.enter()
        self._open.append(stage)
        return stage

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            # One object may be open several times, in tasks or threads: each leaves its own.
            current = get_value(STAGE_KEY) if len(self._open) > 1 else None
            stage = next((one for one in self._open if one is current), self._open[-1])
            self._open.remove(stage)
            stage.leave()
            stage.finish(error)

    async def __aenter__(self) -> Stage:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """`function`, each call of which is a stage, named as the function unless a name was given."""
        named = getattr(function, "__name__", None)
        identity = {names.STAGE_NAME: named, **self._identity} if isinstance(named, str) else self._identity
        return wrapped(function, StageBlock(identity, self._links, self._fields).start)

    def start(self) -> Stage:
        """The span, started; not current yet."""
        context = get_current()
        try:
            return self._started(context)
        except Exception as error:  # noqa: BLE001 - called in the program's thread
            guard.failed("the start of a stage", error)
            return Stage(self._identity, INVALID_SPAN, context)

    def _started(self, context: Context) -> Stage:
        identity = self._identity
        name, stage_type = identity.get(names.STAGE_NAME), identity[names.STAGE_TYPE]
        run: Any = context.get(RUN_KEY)
        if run.__class__ is Run:
            identity = {**identity, **run.attributes}
        shown = f"{stage_type} {name}" if name else stage_type
        span = compat.tracer().start_span(shown, context, attributes=identity, links=self._links)
        stage = Stage(identity, span, context)
        if self._fields:
            stage.record(**self._fields)
        return stage


def stage(
    type: str,  # noqa: A002 - the word of the registry
    name: str | None = None,
    *,
    id: str | None = None,  # noqa: A002 - the word of the registry
    parent_id: str | None = None,
    links: Sequence[Link] = (),
    **fields: Any,
) -> StageBlock:
    """A stage of this type: a span as long as the block, or as each call of the decorated function, lasts.

    `type` is a word of the registry (`retrieval`, `generation` …), `custom.<name>`, or another word in small letters;
    `name` one of few (not a user's text). `id` is for those who must know it beforehand, `parent_id` for a parent that
    is not the span above. `fields` are recorded at once (`attempt=2`, `top_k=5`; see `Stage.record`).

    An exception goes on up; the stage is then an error, a timeout by the exception's type, or cancelled.
    """
    if callable(type):
        # `@ev.stage` without a type: the function must go on working.
        guard.wrong("stage without a type", f"a stage has a type: @stage('retrieval'), not @stage on {type!r}")
        return cast("StageBlock", StageBlock({names.STAGE_TYPE: _NO_TYPE}, (), {})(type))
    identity = {names.STAGE_TYPE: _type(type)}
    for key, said in ((names.STAGE_NAME, name), (names.STAGE_ID, id), (names.STAGE_PARENT_ID, parent_id)):
        if said:
            identity[key] = str(said)
    return StageBlock(identity, links, fields)


def _type(said: object) -> str:
    word = _word(said) if isinstance(said, str) else ""
    if not word:
        guard.wrong("stage type", f"{said!r} is no stage type: use a word such as retrieval, or custom.<name>")
    return word or _NO_TYPE


@lru_cache(maxsize=1000)
def _word(said: str) -> str:
    """A stage type as the registry allows it; empty if nothing can be made of it."""
    word = re.sub(r"[^a-z0-9_.\-]+", "_", said.strip().lower())[:64]
    return word if _TYPE.fullmatch(word) else ""


def current_stage() -> Stage | None:
    """The innermost stage that this work is in; None outside of any."""
    found = get_value(STAGE_KEY)
    return found if isinstance(found, Stage) else None
