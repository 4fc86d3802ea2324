"""The page of OTLP's rules and the tests it names belong together."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "otlp-conformance.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if re.match(r"\| \w+\d", line)
]
TEST = re.compile(r"`(tests/[\w/.]+)::(test_\w+)`")
IDS = [
    *(f"C{number}" for number in range(1, 18)),
    *(f"G{number}" for number in range(1, 15)),
    *(f"H{number}" for number in range(1, 11)),
    *(f"N{number}" for number in range(1, 11)),
    *(f"J{number}" for number in range(1, 10)),
    *(f"D{number}" for number in range(1, 14)),
    *(f"A{number}" for number in range(1, 9)),
]


def test_every_rule_is_there_once() -> None:
    assert Counter(row[0] for row in ROWS) == Counter(IDS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_rule_has_all_cells_and_a_test_or_a_reason(row: list[str]) -> None:
    _, level, rule, behaviour, proof = row
    assert level in {"M", "S", "C", "F"}
    assert rule
    assert behaviour
    named = TEST.findall(proof)
    assert TEST.sub("", proof).strip() == "" if named else proof.startswith("not tested: ")


@pytest.mark.parametrize("path, name", sorted(set(TEST.findall(PAGE))))
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    module = ast.parse((ROOT / path).read_text())
    assert name in {found.name for found in module.body if isinstance(found, ast.FunctionDef)}
