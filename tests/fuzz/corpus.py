"""Seeds: small real requests, and every input that was a finding once. One folder per target, one file per seed."""

from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).with_name("corpus")
INSIDE: Final = ("protobuf", "json", "logs_protobuf", "logs_json", "inflate")
OUTSIDE: Final = (*INSIDE, "http", "http2")


def paths(target: str) -> list[Path]:
    """The files of a target."""
    return sorted(path for path in (CORPUS / target).iterdir() if path.is_file())


def seeds(target: str) -> list[bytes]:
    """The seeds of a target."""
    return [path.read_bytes() for path in paths(target)]
