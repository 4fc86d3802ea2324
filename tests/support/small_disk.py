"""A disk that can be filled: a small tmpfs with a ballast file in it, which can be taken away."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.require import require

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A mounted disk; everybody may write to it."""

    path: Path

    def free_space(self) -> None:
        """Take the ballast away."""
        (self.path / "ballast").unlink()


@contextmanager
def small_disk(path: Path, *, free_mib: float, ballast_mib: int = 24) -> Iterator[SmallDisk]:
    """Mount a disk at `path` with so much free space, for the time being; see `require` where that is not permitted."""
    path.mkdir()
    size = int((free_mib + ballast_mib) * _MIB)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", str(path)],  # noqa: S607 - wherever it is
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        require("tmpfs", f"mounting one is not permitted here: {mounted.stderr.strip()}")
    try:
        with (path / "ballast").open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, ballast_mib * _MIB)
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)  # noqa: S607 - wherever it is
