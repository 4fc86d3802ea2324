"""Versioned assets in files, each with a head that says its name and version.

Every load is recorded twice: by `ev.track_assets` on the stage that is active, and by a list of the registry's own,
which knows nothing of tracing. The check at the end holds one against the other.
"""

from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

import evalvault_otel as ev


class UnknownAsset(LookupError):
    """There is no such file."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file: what its head says, and the text below it."""

    kind: str
    name: str
    version: str
    text: str

    @property
    def digest(self) -> str:
        """Of the text: shows an edit that nobody gave a new version."""
        return f"sha256:{sha256(self.text.encode()).hexdigest()}"

    def lines(self) -> list[str]:
        """The lines that say something: no comments, none that are empty."""
        return [line for line in self.text.splitlines() if line.strip() and not line.startswith("#")]

    def pairs(self) -> dict[str, str]:
        """Lines of the form `key: value`."""
        return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in self.lines())}


@dataclass(frozen=True, slots=True)
class Load:
    """What the registry itself remembers of a load: for which question, step and attempt what was loaded."""

    question: str
    step: str
    attempt: int
    kind: str
    name: str
    version: str
    digest: str


@dataclass(slots=True)
class Registry:
    """The assets of a folder, a sub-folder per kind."""

    folder: Path
    loads: list[Load] = field(default_factory=list)

    def load(self, at: tuple[str, str, int], kind: str, name: str) -> Asset:
        """An asset by kind and name, for question, step and attempt `at`.

        Raises:
            UnknownAsset: there is no such file.
        """
        read = ev.track_assets(partial(self._read, kind), kind=kind, origin="registry")
        asset: Asset = read(name)
        self.loads.append(Load(*at, kind, asset.name, asset.version, asset.digest))
        return asset

    def _read(self, kind: str, name: str) -> Asset:
        path = self.folder / kind / f"{name}{'.sql' if kind == 'query' else '.txt'}"
        try:
            head, _, text = path.read_text(encoding="utf-8").partition("\n---\n")
        except OSError as exc:
            raise UnknownAsset(f"no {kind} {name!r} in {self.folder}") from exc
        said = dict(line.split(": ", 1) for line in head.splitlines())
        return Asset(kind, said["name"], said["version"], text.strip())
