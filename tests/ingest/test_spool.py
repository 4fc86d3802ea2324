"""The spool's files: what is appended comes back in order, whatever a crash, a bad disk or another process does."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evalvault_otel.errors import SettingsError
from evalvault_otel.ingest import spool_files, spool_folders
from evalvault_otel.ingest.spool import Segment, Spool, SpoolFull
from evalvault_otel.ingest.spool_files import Damage, Record, SegmentWriter

DB = "postgresql://me:secret@db.example/traces"
MIB = 1024 * 1024
Open = Callable[..., Spool]


@pytest.fixture
def open_spool(tmp_path: Path) -> Iterator[Open]:
    """Open the spool below `tmp_path`, as each process does for itself."""
    opened: list[Spool] = []

    def start(db: str = DB, max_bytes: int = 100 * MIB) -> Spool:
        opened.append(Spool(tmp_path / "spool", db, max_bytes))
        return opened[-1]

    yield start
    for spool in opened:
        spool.close()


def crashed(spool: Spool) -> None:
    """Let go of the locks as the end of a process does, and leave all files."""
    for folder in (spool._own, *spool._adopted):
        os.close(folder._lock)
        folder._lock = os.open(os.devnull, os.O_RDONLY)


def replayed(spool: Spool) -> list[bytes]:
    """All payloads, taken out as the replay does it."""
    payloads = []
    while (segment := spool.oldest()) is not None:
        for found in segment.read():
            assert isinstance(found, Record)
            payloads.append(found.payload)
            spool.advance(segment, found)
        spool.finish(segment)
    return payloads


def oldest(spool: Spool) -> Segment:
    segment = spool.oldest()
    assert segment is not None
    return segment


# In order, each once.


def test_what_is_appended_comes_back_in_order_and_is_gone_then(open_spool: Open, tmp_path: Path) -> None:
    spool = open_spool()
    assert spool.append([b"a", b""], 1) == 2
    assert spool.append([], 2) == 0
    assert spool.append([b"c" * 10], 3) == 1
    assert (spool.requests, spool.size() > 11) == (3, True)

    assert replayed(spool) == [b"a", b"", b"c" * 10]
    assert (spool.requests, spool.size(), spool.oldest()) == (0, 0, None)
    spool.append([b"d"], 4)
    assert replayed(spool) == [b"d"]
    spool.close()
    assert [path for path in (tmp_path / "spool").rglob("*") if path.is_file()] == []


def test_the_time_of_arrival_is_kept(open_spool: Open) -> None:
    spool = open_spool()
    spool.append([b"a"], 2**64 - 1)

    assert [found.received_ns for found in oldest(spool).read() if isinstance(found, Record)] == [2**64 - 1]


def test_segments_have_a_bound_and_what_comes_while_one_is_read_goes_into_the_next(open_spool: Open) -> None:
    spool = open_spool()
    large = b"x" * (10 * MIB)
    for _ in range(3):
        spool.append([large], 1)
    assert len(spool._own.segments()) == 3

    first = oldest(spool)
    assert len(list(first.read())) == 1
    spool.append([b"late"], 1)
    assert replayed(spool) == [large] * 3 + [b"late"]


def test_a_replay_goes_on_where_it_was(open_spool: Open) -> None:
    spool = open_spool()
    spool.append([b"a", b"b", b"c"], 1)
    segment = oldest(spool)
    first = next(iter(segment.read()))
    assert isinstance(first, Record)
    spool.advance(segment, first)
    spool.note(segment)
    # Also after a crash, for the next process
    crashed(spool)
    other = open_spool()
    assert other.adopt() == 2
    assert replayed(other) == [b"b", b"c"]


@pytest.mark.parametrize("note", ["", "000001.log", "000001.log 17 en", "\n", "nonsense 1 end\n", "000001.log x end\n"])
def test_a_note_of_the_position_that_was_cut_off_only_means_from_the_beginning(note: str, open_spool: Open) -> None:
    spool = open_spool()
    spool.append([b"a", b"b"], 1)
    (spool._own.path / "position").write_text(note)
    crashed(spool)

    other = open_spool()
    other.adopt()
    assert replayed(other) == [b"a", b"b"]


# The bound.


def test_beyond_the_bound_nothing_is_taken_until_there_is_room(open_spool: Open) -> None:
    spool = open_spool(max_bytes=1000)
    assert spool.append([b"x" * 400, b"x" * 400, b"x" * 400], 1) == 2
    with pytest.raises(SpoolFull, match="max_spool_bytes is 1000"):
        spool.append([b"x" * 400], 1)
    assert spool.append([b"x"], 1) == 1
    assert spool.requests == 3
    replayed(spool)
    assert spool.append([b"x" * 400], 1) == 1


def test_the_bound_is_for_all_processes_together(open_spool: Open) -> None:
    first, second = open_spool(max_bytes=1000), open_spool(max_bytes=1000)
    first.append([b"x" * 800], 1)
    with pytest.raises(SpoolFull):
        second.append([b"x" * 800], 1)


# Damage.


def _segment(path: Path, *payloads: bytes) -> bytes:
    writer = SegmentWriter(path)
    writer.append(payloads, 7)
    writer.close()
    return path.read_bytes()


def _found(path: Path) -> list[bytes | Damage]:
    return [found.payload if isinstance(found, Record) else found for found in spool_files.read(path)]


def test_an_end_that_a_crash_cut_off_is_told_apart_wherever_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "000001.log"
    data = _segment(path, b"first", b"second")
    second = len(data) - spool_files.size_of(b"second")
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        payloads = [found for found in _found(path) if isinstance(found, bytes)]
        damages = [found for found in _found(path) if isinstance(found, Damage)]
        assert payloads == ([b"first"] if cut >= second else [])
        assert all(damage.torn for damage in damages)
        # A cut between two records leaves nothing to tell
        assert len(damages) == (cut not in {16, second})


def test_an_end_that_was_never_filled_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "000001.log"
    data = _segment(path, b"first")
    path.write_bytes(data + bytes(5000))
    assert _found(path) == [b"first", Damage(len(data), len(data) + 5000, torn=True)]
    path.write_bytes(bytes(5000))
    assert _found(path) == [Damage(0, 5000, torn=True)]


def test_damage_in_the_middle_costs_what_it_hit_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "000001.log"
    data = _segment(path, b"first", b"second", b"third")
    start = data.index(b"first") + len(b"first")
    end = start + spool_files.size_of(b"second")
    for place in range(start, end):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        assert _found(path) == [b"first", Damage(start, end, torn=False), b"third"]


def test_damage_of_the_last_record_is_not_taken_for_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "000001.log"
    data = _segment(path, b"first", b"second")
    path.write_bytes(data[:-1] + b"?")
    assert _found(path) == [b"first", Damage(len(data) - spool_files.size_of(b"second"), len(data), torn=False)]


def test_a_file_of_another_kind_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "000001.log"
    path.write_bytes(b"something else altogether")
    assert _found(path) == [Damage(0, 25, torn=False)]


def test_content_that_looks_like_a_record_is_none(tmp_path: Path) -> None:
    inner = _segment(tmp_path / "inner.log", b"inner")
    path = tmp_path / "000001.log"
    data = _segment(path, inner, b"last")
    place = data.index(inner) - 1
    path.write_bytes(data[:place] + b"?" + data[place + 1 :])
    assert _found(path) == [Damage(16, 16 + spool_files.size_of(inner), torn=False), b"last"]


def test_damaged_bytes_and_records_are_kept_aside(open_spool: Open) -> None:
    spool = open_spool()
    spool.append([b"well", b"damaged"], 5)
    segment = oldest(spool)
    data = segment.path.read_bytes()
    segment.path.write_bytes(data.replace(b"damaged", b"dimaged"))
    record, damage = segment.read()

    kept = [spool.keep_aside(segment, found) for found in (record, damage)]

    assert _found(kept[0]) == [b"well"]
    assert kept[1].read_bytes().endswith(b"dimaged")
    # They are in nobody's way
    crashed(spool)
    other = open_spool()
    assert other.adopt() == 1
    # And a record can be put back by hand
    (other.path / "again").mkdir()
    kept[0].rename(other.path / "again" / kept[0].name)
    assert other.adopt() == 1


# Processes and databases.


def test_a_folder_is_left_to_its_process_while_that_lives(open_spool: Open) -> None:
    living, other = open_spool(), open_spool()
    living.append([b"a"], 1)
    assert other.adopt() == 0

    crashed(living)
    assert (other.adopt(), other.requests) == (1, 1)
    # Only one takes it over
    assert open_spool().adopt() == 0
    assert replayed(other) == [b"a"]


def test_what_a_killed_process_appended_is_taken_over_in_order(open_spool: Open, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from evalvault_otel.ingest.spool import Spool; "
        f"spool = Spool(Path({str(tmp_path / 'spool')!r}), {DB!r}, 10**6); "
        "spool.append([sys.argv[1].encode()], 1); os.kill(os.getpid(), 9)"
    )
    for name in ("first", "second"):
        subprocess.run([sys.executable, "-c", code, name], check=False)
    spool = open_spool()
    spool.append([b"third"], 1)

    assert spool.adopt() == 2
    assert replayed(spool) == [b"first", b"second", b"third"]
    assert list(spool_folders.folders(spool.path)) == [spool._own.path]


def test_the_spool_of_another_database_is_left_alone(open_spool: Open) -> None:
    spool = open_spool()
    spool.append([b"a"], 1)
    crashed(spool)

    assert open_spool("postgresql://me:secret@db.example/other").adopt() == 0
    assert open_spool("postgresql://me:secret@elsewhere/traces").adopt() == 0
    assert open_spool("postgresql://me:changed@db.example/traces").adopt() == 1


@pytest.mark.parametrize(
    "same",
    [
        "postgres://me:secret@db.example/traces",
        "postgresql://me:changed@DB.example/traces",
        "postgresql://db.example/traces?sslmode=require&application_name=x",
        "postgresql://other@db.example/traces",
    ],
)
def test_the_same_database_however_it_is_reached(same: str) -> None:
    assert spool_folders.of_database(same) == spool_folders.of_database(DB)


def test_no_two_databases_share_a_folder_and_no_name_holds_a_secret() -> None:
    urls = [
        DB,
        "postgresql://me:secret@db.example:5433/traces",
        "postgresql://me:secret@db.example/",
        "postgresql://you:secret@db.example/",
        "postgresql:///traces?host=/run/one",
        "postgresql:///traces?host=/run/two",
        "postgresql://db.example/traces?options=-csearch_path%3Dteam",
    ]
    names = [spool_folders.of_database(url) for url in urls]

    assert len(set(names)) == len(urls)
    assert not any("secret" in name for name in names)
    assert names[0].startswith("traces-")


def test_the_files_are_private(open_spool: Open) -> None:
    spool = open_spool()
    spool.append([b"a"], 1)
    modes = {path.stat().st_mode & 0o077 for path in [spool.path, *spool.path.rglob("*")]}
    assert modes == {0}


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"--spool .*file/spool \(EVALVAULT_SPOOL\): Not a directory"):
        Spool(tmp_path / "file" / "spool", DB, MIB)
