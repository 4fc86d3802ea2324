"""Assembly as a user's settings have it: conventions, rules of the user, choices about runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..assembly import AssemblyOptions, assemble
from ..assembly.options import DEFAULT_OPTIONS
from ..conventions.reading import DEFAULT, Conventions
from ..conventions.rules_file import conventions_of
from ..model import Assembly, LogEvent, Span
from ..settings import Settings


@dataclass(frozen=True, slots=True)
class Mapping:
    """What makes stages of spans; called, it assembles a trace. Rows carry its `version`."""

    conventions: Conventions = DEFAULT
    options: AssemblyOptions = DEFAULT_OPTIONS

    def __call__(self, spans: Sequence[Span], logs: Sequence[LogEvent] = ()) -> Assembly:
        """What follows from the spans and log events of a trace; see `assembly.assemble`."""
        return assemble(spans, logs, self.conventions, self.options)

    @property
    def version(self) -> str:
        """What `Assembly.mapping_version` will be."""
        return self.conventions.version + self.options.mark

    def undoes(self, version: str) -> bool:
        """Whether a trace of this version loses what settings did for it, since this mapping was given none of them."""
        theirs, ours = _by_settings(version), _by_settings(self.version)
        return any(kind not in ours for kind in theirs)

    @classmethod
    def of(cls, settings: Settings) -> "Mapping":
        """The mapping of the settings.

        Raises:
            SettingsError: the file of rules cannot be used.
        """
        return cls(conventions_of(settings.rules), AssemblyOptions.of(settings))


def _by_settings(version: str) -> set[str]:
    """Which settings have a part in a mapping: `rules`, `run`."""
    return {part.partition(":")[0] for part in version.split("+")[1:]}
