"""Seeds and some mutations of them, the same each time: what `make fuzz` does for ten minutes, for a few seconds."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clients import body_of, post, trace_of
from tests.support.server import Server

from . import corpus, inside
from .mutation import Mutator
from .neighbours import beside, new_id
from .outside import victim
from .reading import unreadable

_INSIDE, _OUTSIDE = 250, 32


@pytest.mark.parametrize("target", corpus.INSIDE)
def test_no_seed_and_no_mutation_of_one_breaks_the_functions_inside(target: str) -> None:
    seeds = corpus.seeds(target)
    mutator = Mutator(target, seeds, random.Random(7))  # noqa: S311 - the same inputs each time

    assert seeds
    for data in (*seeds, *(mutator.next() for _ in range(_INSIDE))):
        inside.check(target, data)


def test_no_seed_and_no_mutation_of_one_breaks_a_server(db_url: str, tmp_path: Path) -> None:
    found = {}
    with victim(db_url, tmp_path) as attacked:
        for target in corpus.OUTSIDE:
            seeds = corpus.seeds(target)
            mutator = Mutator(target, seeds, random.Random(11))  # noqa: S311 - the same inputs each time
            found[target] = attacked.attack(target, [*seeds, *(mutator.next() for _ in range(_OUTSIDE))])

    assert found == {target: [] for target in corpus.OUTSIDE}


def test_a_lost_neighbour_is_found() -> None:
    """That the harness can fail: a length that swallows what follows costs nothing before it, and all after it."""
    good, swallowing = beside("protobuf", b"", inside.GOOD), b"\x1a\xff\xff\x7f"
    assert good is not None
    inside.expect_good("protobuf", good + swallowing)

    with pytest.raises(inside.Finding, match=r"was (refused|lost)"):
        inside.expect_good("protobuf", swallowing + good)


def test_a_page_that_does_not_answer_is_found(tmp_path: Path, serve: Callable[..., Server]) -> None:
    """That the harness can fail: a trace that is not there."""
    server = serve(f"sqlite:///{tmp_path}/test.db")
    sent = trace_of()
    assert post(server.http, body_of(sent)).status_code == 200

    assert list(unreadable(server, [sent[0].trace_id])) == []
    assert ["is answered with 404" in said for said in unreadable(server, [new_id()])] == [True]
