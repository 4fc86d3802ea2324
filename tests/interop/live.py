"""Run a pipeline in the environment of its framework and take its spans.

`python -m tests.interop.live` (or `make interop-record`) makes all recordings anew; names after it make only these.
"""

import subprocess
import sys
from pathlib import Path

from tests.interop.pipelines import PAIRS, recording
from tests.interop.tables import Pipeline
from tests.support.tools import made

ROOT = Path(__file__).parents[2]
_LONGEST_S = 120


def traced(python: Path, pipeline: Pipeline, instrumentation: str, into: Path) -> None:
    """Write the spans of one run of the pipeline, as OTLP/JSON lines.

    Raises:
        RuntimeError: the program failed; the message has the end of what it wrote.
    """
    command = [str(python), "-m", pipeline.module, instrumentation, str(into)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    if ended.returncode:
        raise RuntimeError(
            f"{pipeline.name} with {instrumentation} ended with {ended.returncode}: {ended.stderr[-2000:]}"
        )


def _record_all(names: list[str]) -> None:
    for pipeline, instrumentation in PAIRS:
        into = recording(pipeline, instrumentation)
        if not names or into.stem in names:
            traced(made(pipeline.environment), pipeline, instrumentation, into)
            sys.stdout.write(f"{into.stem}: {into.stat().st_size} bytes\n")


if __name__ == "__main__":
    _record_all(sys.argv[1:])
