"""One target under libFuzzer, which looks for inputs that reach new code: `python -m tests.fuzz.coverage TARGET …`.

Further arguments are libFuzzer's own. Needs atheris, which `python -m tests.fuzz` brings along. Half of the mutations
are libFuzzer's, half are ours, which know protobuf and JSON. Ends with 77 and a file when there is a finding.
"""

import importlib
import logging
import random
import sys
from typing import Any


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["evalvault_otel"]):
        inside = importlib.import_module("tests.fuzz.inside")
    from .corpus import seeds  # noqa: PLC0415 - whatever it imports must not come before the instrumentation
    from .mutation import Mutator  # noqa: PLC0415 - the same

    # Assembly's complaints would be all there is to read; the check raises them anyway.
    logging.disable(logging.CRITICAL)
    target = sys.argv.pop(1)
    rng = random.Random()  # noqa: S311 - libFuzzer gives the seed of each mutation
    mutator = Mutator(target, seeds(target), rng)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng.seed(seed)
        changed = mutator.change(data) if seed % 2 else atheris.Mutate(data, max_size)
        return bytes(changed[:max_size])

    atheris.Setup(sys.argv, lambda data: inside.check(target, data), custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
