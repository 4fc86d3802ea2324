"""Where benchmarks keep their files: `.bench` in the checkout, on the disk that is measured (/tmp may be memory)."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".bench"


@contextmanager
def work_directory() -> Iterator[Path]:
    """A fresh directory, removed at the end."""
    PLACE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=PLACE) as name:
        yield Path(name)
