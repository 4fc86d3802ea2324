"""EvalVault's own files of StageEvents into the store: `.jsonl`, an event per line, and `.json`.

Files are read one event at a time, so that a million lines need no more memory than a thousand. An event without a
stage id gets one that follows from its content and its place in the file: the same file twice is stored once.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from ..errors import InvalidInput, InvalidStageEvent
from ..model import Span
from ..wire import Decoded
from ..wire.stage_events import span_of
from .importing import Importer, Refused

_BATCH: Final = 500
_LARGEST_JSON: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """A thing in a file that should be an event: its line (or place, from 1), what it is, and how large it was.

    `problem` says why nothing could be read.
    """

    line: int
    event: Any
    size: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """An event that cannot be stored: why, in a sentence and as a class (`invalid_attributes`, `invalid_json`, …)."""

    item: Item
    error: str
    kind: str


def items(path: Path) -> Iterator[Item]:
    """What a file holds, in order. Blank lines are passed over.

    Raises:
        InvalidInput: it cannot be read, is neither `.json` nor `.jsonl`, or its JSON is broken.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InvalidInput(
            f"{path} is neither .jsonl (an event per line) nor .json: rename it, or use `import` for OTLP"
        )
    try:
        yield from read(path)
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be read: {exc.strerror or exc}") from exc


def _lines(path: Path) -> Iterator[Item]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield Item(number, orjson.loads(line), len(line))
            except orjson.JSONDecodeError as exc:
                yield Item(number, {"raw": line.decode("utf-8", "replace").rstrip("\n")}, len(line), f"not JSON: {exc}")


def _document(path: Path) -> Iterator[Item]:
    if path.stat().st_size > _LARGEST_JSON:
        raise InvalidInput(f"{path} is larger than {_LARGEST_JSON >> 20} MiB: write it as .jsonl, an event per line")
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as exc:
        raise InvalidInput(f"{path} is not JSON: {exc}") from exc
    events = found
    if isinstance(found, dict):
        events = next((found[key] for key in ("stage_events", "events") if key in found), [found])
    if not isinstance(events, list):
        raise InvalidInput(f'{path} holds no events: it must be {{"stage_events": […]}}, a list, or one object')
    yield from (Item(place, event, len(orjson.dumps(event))) for place, event in enumerate(events, 1))


_READERS: Final = {".jsonl": _lines, ".json": _document}


def decoded(found: Iterable[Item], now_ns: int) -> Iterator[tuple[Item, Span | Failed]]:
    """Each thing with its span, or what is wrong with it."""
    for item in found:
        if item.problem:
            yield item, Failed(item, item.problem, "invalid_json")
            continue
        try:
            yield item, span_of(_named(item), item.line - 1, now_ns)
        except InvalidStageEvent as exc:
            yield item, Failed(item, str(exc), exc.kind)


def _named(item: Item) -> Any:
    """The event with a stage id: its own, else one of its content and place."""
    event = item.event
    if not isinstance(event, dict) or event.get("stage_id"):
        return event
    content = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    return {**event, "stage_id": hashlib.sha256(b"%d\0%b" % (item.line, content)).hexdigest()[:16]}


def first_failed(path: Path) -> Failed | None:
    """The first thing in a file that cannot be stored; None where all can.

    Raises:
        InvalidInput: as `items`.
    """
    now_ns = time.time_ns()
    return next((made for _, made in decoded(items(path), now_ns) if isinstance(made, Failed)), None)


def ingest(importer: Importer, path: Path) -> Iterator[tuple[Sequence[Item], list[Failed], list[Refused]]]:
    """Store the events of a file; for each batch its things, those that failed, and what storage refused by now.

    All is committed when this ends.

    Raises:
        InvalidInput: as `items`.
        Unavailable: storage is away.
    """
    now_ns = time.time_ns()
    found = decoded(items(path), now_ns)
    while batch := list(islice(found, _BATCH)):
        spans = [made for _, made in batch if isinstance(made, Span)]
        failed = [made for _, made in batch if isinstance(made, Failed)]
        refused: list[Refused] = []
        if spans:
            size = sum(item.size for item, _ in batch)
            refused = list(importer.store_decoded(str(path), batch[0][0].line, Decoded(spans, []), size))
        yield [item for item, _ in batch], failed, refused
    yield [], [], list(importer.finished())
