"""Version drift: another version inside a run or since the run before, and edits without a version.

An edit is a digest that changed while the version stayed the same. Runs are compared with the one before of the same
service and kind.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol

from ..store.asset_records import LedgerDigest, RunUse
from .figures import iso

_MOST_SHOWN: Final = 50
_Digests = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Edit:
    """A version with several digests, the first one first, at most 50."""

    version: str | None
    digests: list[str]


@dataclass(frozen=True, slots=True)
class RunVersions:
    """A run that used more than one version, or more than one digest of a version; the first used first."""

    run_id: str
    versions: list[str | None]
    edits: list[Edit]


@dataclass(frozen=True, slots=True)
class Change:
    """What became another between two runs. `what` is `version`, or `digest` under the `version` that stayed.

    `before` and `after` are all that the runs used: versions (None: without one), or digests of that version.
    """

    kind: str
    name: str
    what: str
    version: str | None
    before: list[str | None]
    after: list[str | None]


@dataclass(frozen=True, slots=True)
class RunChange:
    """A change since the run before, of the same service and kind."""

    run_id: str
    run_before: str
    began_at: str | None
    what: str
    version: str | None
    before: list[str | None]
    after: list[str | None]


@dataclass(frozen=True, slots=True)
class AssetDrift:
    """Where an asset drifted: edits without a version over all its uses; the latest 100 runs that used it.

    `inside_runs` and `between_runs` show the latest 50 each.
    """

    edits: list[Edit]
    inside_runs: list[RunVersions]
    between_runs: list[RunChange]


class Versioned(Protocol):
    """A use of an asset in a version, with a digest or without."""

    @property
    def version(self) -> str | None:
        """The version."""

    @property
    def digest(self) -> str | None:
        """The digest."""


def drift_of_asset(uses: Sequence[RunUse], digests: Iterable[LedgerDigest]) -> AssetDrift:
    """The drift of one asset; `uses` by the start of their run, then by first use, `digests` in their order."""
    runs = [list(members) for _, members in groupby(uses, key=lambda use: use.run_id)]
    inside = [found for members in runs if (found := _inside(members)) is not None]
    latest: dict[tuple[str, str | None], list[RunUse]] = {}
    between: list[RunChange] = []
    for members in runs:
        stream = (members[0].service, members[0].run_kind)
        between += _between(latest[stream], members) if stream in latest else []
        latest[stream] = members
    return AssetDrift(edits(digests), inside[-_MOST_SHOWN:], between[-_MOST_SHOWN:])


def edits(uses: Iterable[Versioned]) -> list[Edit]:
    """Versions with more than one digest, in the order given."""
    found: dict[str | None, dict[str, None]] = {}
    for use in uses:
        if use.digest is not None:
            found.setdefault(use.version, {})[use.digest] = None
    return [Edit(version, list(digests)[:_MOST_SHOWN]) for version, digests in found.items() if len(digests) > 1]


def _inside(members: Sequence[RunUse]) -> RunVersions | None:
    versions = list(dict.fromkeys(use.version for use in members))
    edited = edits(members)
    return RunVersions(members[0].run_id, versions, edited) if len(versions) > 1 or edited else None


def _between(before: Sequence[RunUse], after: Sequence[RunUse]) -> list[RunChange]:
    began, run_id, run_before = iso(after[0].began_ns), after[0].run_id, before[0].run_id
    return [
        RunChange(run_id, run_before, began, change.what, change.version, change.before, change.after)
        for change in changes("", "", before, after)
    ]


def changes(kind: str, name: str, before: Iterable[Versioned], after: Iterable[Versioned]) -> list[Change]:
    """What is another in `after`: the versions, and the digests of versions that both used.

    A version that is used no longer, or besides those of before, is a change too. Where either side has no digest,
    nothing is known of an edit.
    """
    old, new = _digests(before), _digests(after)
    found = []
    if old.keys() != new.keys():
        found.append(Change(kind, name, "version", None, _named(old), _named(new)))
    for version in sorted(old.keys() & new.keys()):
        if old[version] and new[version] and old[version] != new[version]:
            digests = [_named(side[version]) for side in (old, new)]
            found.append(Change(kind, name, "digest", version or None, digests[0], digests[1]))
    return found


def _digests(uses: Iterable[Versioned]) -> _Digests:
    found: dict[str, set[str]] = {}
    for use in uses:
        found.setdefault(use.version or "", set()).update({use.digest} if use.digest else ())
    return {version: frozenset(digests) for version, digests in found.items()}


def _named(names: Iterable[str]) -> list[str | None]:
    return [name or None for name in sorted(names)]
