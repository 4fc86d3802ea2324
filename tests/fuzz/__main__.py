"""Fuzz for a while: `python -m tests.fuzz [TARGET ...] [--seconds 600]`, or `make fuzz`.

First the functions inside, under libFuzzer where atheris can be had, else with our own mutations; then a real server on
SQLite and one on PostgreSQL. Findings are files in `.fuzz/findings`, with what is wrong beside them; they become seeds
when they are mended. `--replay FILE` runs one input again. Ends with 1 when there is a finding.
"""

import argparse
import hashlib
import os
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tests.support.postgres import PostgresMissing, running_postgres
from tests.support.tools import ToolMissing, made

from . import corpus, inside
from .mutation import Mutator
from .outside import ROUND, victim

PLACE = Path(__file__).resolve().parents[2] / ".fuzz"
_FINDINGS = PLACE / "findings"
_LONGEST_S, _MOST_MB, _MOST_BYTES = 20, 2048, 64 * 1024


def main() -> int:
    """Fuzz, and count the findings."""
    arguments = _arguments()
    if arguments.replay:
        return _replay(arguments.replay, arguments.targets[0])
    _FINDINGS.mkdir(parents=True, exist_ok=True)
    targets: Sequence[str] = arguments.targets or corpus.OUTSIDE
    within = [target for target in targets if target in corpus.INSIDE]
    share = arguments.seconds / 2 if within else 0.0
    findings = sum(_inside(target, share / len(within)) for target in within)
    with TemporaryDirectory() as directory, ExitStack() as stack:
        databases = list(_databases(stack, Path(directory)))
        for number, (kind, url) in enumerate(databases):
            folder = Path(directory) / str(number)
            folder.mkdir()
            findings += _outside(url, folder, kind, targets, (arguments.seconds - share) / len(databases))
    _say(f"{findings} findings" + (f" in {_FINDINGS}" if findings else ""))
    return int(findings > 0)


def _databases(stack: ExitStack, directory: Path) -> Iterator[tuple[str, str]]:
    yield "SQLite", f"sqlite:///{directory / 'fuzz.db'}"
    try:
        postgres = stack.enter_context(running_postgres())
    except PostgresMissing as exc:
        _say(f"without PostgreSQL: {exc}")
    else:
        yield "PostgreSQL", stack.enter_context(postgres.database())


def _inside(target: str, seconds: float) -> int:
    try:
        library = made("atheris")
    except ToolMissing as exc:
        _say(f"without coverage: {exc}")
        return _plain(target, seconds)
    return _covered(target, seconds, library)


def _covered(target: str, seconds: float, library: Path) -> int:
    """Findings of libFuzzer, which ends at the first; the rest of the time is for another try."""
    found = PLACE / target
    found.mkdir(parents=True, exist_ok=True)
    options = [f"-timeout={_LONGEST_S}", f"-rss_limit_mb={_MOST_MB}", f"-max_len={_MOST_BYTES}", "-print_final_stats=1"]
    prefix = f"-artifact_prefix={_FINDINGS}/{target}-"
    paths = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(library))))
    command = [sys.executable, "-m", "tests.fuzz.coverage", target, *options, prefix, f"-max_total_time={int(seconds)}"]
    with (PLACE / f"{target}.log").open("w") as log:
        ended = subprocess.run(
            [*command, str(found), str(corpus.CORPUS / target)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": paths},
            check=False,
        )
    _say(f"{target}: {_last_word(PLACE / f'{target}.log')}")
    if ended.returncode:
        _say(f"{target}: ended with {ended.returncode}, see {PLACE / target}.log")
    return int(ended.returncode != 0)


def _last_word(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if "cov:" in line or line.startswith("stat")]
    return "; ".join(lines[-6:])


def _plain(target: str, seconds: float) -> int:
    """Findings by our own mutations, each kind of error once."""
    mutator = Mutator(target, corpus.seeds(target), random.Random())  # noqa: S311 - a new row of inputs each time
    known: set[str] = set()
    count, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        data = mutator.next()
        count += 1
        wrong = _wrong(target, data)
        if wrong.splitlines()[-1:] and wrong.splitlines()[-1] not in known:
            known.add(wrong.splitlines()[-1])
            _note(target, data, wrong)
    _say(f"{target}: {count} inputs, {psutil.Process().memory_info().rss / 1e6:.0f} MB")
    return len(known)


def _wrong(target: str, data: bytes) -> str:
    started = time.monotonic()
    try:
        inside.check(target, data)
    except Exception:  # noqa: BLE001 - whatever it is, it is a finding
        return traceback.format_exc()
    seconds = time.monotonic() - started
    return f"it took {seconds:.0f} s" if seconds > _LONGEST_S else ""


def _outside(url: str, folder: Path, kind: str, targets: Sequence[str], seconds: float) -> int:
    """Findings of a server, all targets in turn. A server that is not itself any more is replaced by a fresh one."""
    rng = random.Random()  # noqa: S311 - a new row of inputs each time
    mutators = {target: Mutator(target, corpus.seeds(target), rng) for target in targets}
    findings, counts = 0, dict.fromkeys(targets, 0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with victim(url, folder) as attacked:
            first, sound = attacked.megabytes, True
            while sound and time.monotonic() < deadline:
                target = rng.choice(targets)
                inputs = [mutators[target].next() for _ in range(ROUND)]
                counts[target] += ROUND
                found = attacked.attack(target, inputs)
                sound = all(data for data, _ in found)
                findings += len(found)
                for data, wrong in found if sound else found[-1:]:
                    _note(target, data if sound else _guilty(target, inputs), wrong)
            _say(f"a server on {kind}: {counts}; {first:.0f} MB at first, {attacked.megabytes:.0f} MB at last")
    return findings


def _guilty(target: str, inputs: list[bytes]) -> bytes:
    """The one of a round that harms a server, by halves; the last that is left if it takes several."""
    while len(inputs) > 1:
        half = len(inputs) // 2
        with TemporaryDirectory() as directory, victim(f"sqlite:///{directory}/fuzz.db", Path(directory)) as attacked:
            inputs = inputs[:half] if attacked.attack(target, inputs[:half]) else inputs[half:]
    return inputs[0]


def _note(target: str, data: bytes, wrong: str) -> None:
    path = _FINDINGS / f"{target}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(wrong)
    _say(f"finding {path.name}: {wrong.strip().splitlines()[-1][:300]}")


def _replay(path: Path, target: str) -> int:
    """Run one input inside, and against a server on SQLite."""
    data = path.read_bytes()
    wrong = [_wrong(target, data)] if target in corpus.INSIDE else []
    with TemporaryDirectory() as directory, victim(f"sqlite:///{directory}/fuzz.db", Path(directory)) as attacked:
        wrong += [said for _, said in attacked.attack(target, [data])]
    _say("\n".join(filter(None, wrong)) or "nothing is wrong with it")
    return int(any(wrong))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"any of {', '.join(corpus.OUTSIDE)}")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: 600)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input of TARGET again")
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(corpus.OUTSIDE)
    if unknown or (arguments.replay and len(arguments.targets) != 1):
        parser.error(f"name targets of {', '.join(corpus.OUTSIDE)}; with --replay, one")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
