"""What a comparison must hold for a pipeline to go on: a YAML file of rules in, the reasons against it out.

Every rule is about the candidate, or about what changed since the baseline. No file means: nothing may be worse.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from ..errors import SettingsError
from .compare_model import TOO_FEW, WORSE, Comparison, MetricDifference
from .figures import number, percent

_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class MetricRule:
    """What holds for metrics whose name fits a pattern; None: no such bound.

    `max_increase` and `max_decrease` are shares of the baseline's value, `min` and `max` bound the candidate's value.
    """

    max_increase: float | None = None
    max_decrease: float | None = None
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """The rules. `ignore` are patterns of metrics that may get worse; bounds of `metrics` hold all the same."""

    fail_on_worse: bool = True
    fail_on_broken_cases: bool = True
    ignore: tuple[str, ...] = ()
    metrics: Mapping[str, MetricRule] = field(default_factory=dict)
    min_traces: int = 0
    required_stages: tuple[str, ...] = ()
    frozen_assets: tuple[str, ...] = ()


def load_gate(path: Path) -> Gate:
    """The rules of a file.

    Raises:
        SettingsError: it cannot be read, or holds what no rule is; the message names the place.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as exc:
        raise SettingsError(f"gate file {path}: {exc.strerror or exc}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise SettingsError(f"gate file {path}: not YAML: {' '.join(str(exc).split())}") from exc
    try:
        return _gate(document)
    except (TypeError, ValueError) as exc:
        raise SettingsError(f"gate file {path}: {exc}; `evalvault-otel compare --gate-example` shows one") from exc


def example() -> str:
    """A file to begin with."""
    return (files(__package__) / "data" / "gate_example.yaml").read_text("utf-8")


def _gate(document: Any) -> Gate:
    said = _known(document, Gate, "the file")
    if (version := said.pop("version", 1)) != 1:
        raise ValueError(f"version {version} is not known, only 1")
    rules = said.pop("metrics", None) or {}
    if not isinstance(rules, dict):
        raise TypeError("metrics must map patterns of names to bounds")
    lists: dict[str, Any] = {name: _texts(name, said.pop(name)) for name in _LISTS if name in said}
    for name, kind in _PLAIN.items():
        if name in said and type(said[name]) is not kind:
            raise TypeError(f"{name} must be {'true or false' if kind is bool else 'a whole number'}")
    return Gate(**said, **lists, metrics={str(name): _rule(str(name), rule) for name, rule in rules.items()})


_LISTS: Final = ("ignore", "required_stages", "frozen_assets")
_PLAIN: Final = {"fail_on_worse": bool, "fail_on_broken_cases": bool, "min_traces": int}


def _known(document: Any, kind: type, where: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise TypeError(f"{where} must be a mapping")
    known = {spec.name for spec in fields(kind)} | ({"version"} if kind is Gate else set())
    for name in document:
        if name not in known:
            raise ValueError(f"{where}: nobody knows {name!r}, only {', '.join(sorted(known))}")
    return dict(document)


def _texts(name: str, said: Any) -> tuple[str, ...]:
    if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
        raise TypeError(f"{name} must be a list of texts")
    return tuple(said)


def _rule(name: str, document: Any) -> MetricRule:
    said = _known(document, MetricRule, f"metrics.{name}")
    return MetricRule(**{key: _number(f"metrics.{name}.{key}", value) for key, value in said.items()})


def _number(where: str, said: Any) -> float:
    """A number, or one with a percent sign."""
    if isinstance(said, str) and said.strip().endswith("%"):
        return float(said.strip()[:-1]) / _PERCENT
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise TypeError(f"{where} must be a number, or one such as 10%")
    return float(said)


def reasons(gate: Gate, comparison: Comparison) -> list[str]:
    """Why the gate is closed, a sentence each; empty: it is open."""
    return [
        *_too_few(gate, comparison),
        *_worse(gate, comparison),
        *_bounds(gate, comparison),
        *_stages(gate, comparison),
        *_assets(gate, comparison),
    ]


def _too_few(gate: Gate, comparison: Comparison) -> Iterator[str]:
    for side, what in ((comparison.baseline, "baseline"), (comparison.candidate, "candidate")):
        if side.traces < gate.min_traces:
            yield f"the {what} `{side.run_id}` has {side.traces} traces, {gate.min_traces} are needed"


def _worse(gate: Gate, comparison: Comparison) -> Iterator[str]:
    if gate.fail_on_worse:
        for metric in comparison.metrics:
            if metric.verdict == WORSE and not _fits(metric.metric_name, gate.ignore):
                yield f"`{metric.metric_name}` got worse: {number(metric.before)} before, {number(metric.after)} now"
    if gate.fail_on_broken_cases and comparison.cases_broken:
        shown = ", ".join(f"`{case.test_case}`" for case in comparison.cases if case.what == "broken")
        yield f"{comparison.cases_broken} test cases that worked before fail: {shown}"


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _bounds(gate: Gate, comparison: Comparison) -> Iterator[str]:
    for pattern, rule in gate.metrics.items():
        fitting = [metric for metric in comparison.metrics if fnmatchcase(metric.metric_name, pattern)]
        if not fitting:
            yield f"no metric fits `{pattern}`, which the gate bounds"
        for metric in fitting:
            yield from _beyond(metric, rule)


def _beyond(metric: MetricDifference, rule: MetricRule) -> Iterator[str]:
    name, now = f"`{metric.metric_name}`", number(metric.after)
    if metric.verdict == TOO_FEW:
        yield f"{name} is bounded by the gate, and there is not enough data for it"
        return
    change = metric.relative if metric.relative is not None else (float("inf") if metric.after > 0 else 0.0)
    if rule.max_increase is not None and change > rule.max_increase:
        yield f"{name} rose by {percent(change)} to {now}, at most {percent(rule.max_increase)} is allowed"
    if rule.max_decrease is not None and -change > rule.max_decrease:
        yield f"{name} fell by {percent(-change)} to {now}, at most {percent(rule.max_decrease)} is allowed"
    if rule.min is not None and metric.after < rule.min:
        yield f"{name} is {now}, at least {number(rule.min)} is wanted"
    if rule.max is not None and metric.after > rule.max:
        yield f"{name} is {now}, at most {number(rule.max)} is wanted"


def _stages(gate: Gate, comparison: Comparison) -> Iterator[str]:
    for stage_type in gate.required_stages:
        if stage_type not in comparison.stage_types_after:
            yield f"the candidate has no stage of type `{stage_type}`"


def _assets(gate: Gate, comparison: Comparison) -> Iterator[str]:
    for asset in comparison.assets:
        name = f"{asset.change.kind}/{asset.change.name}"
        if _fits(name, gate.frozen_assets):
            yield f"asset `{name}` {asset.what}, and may not change"
