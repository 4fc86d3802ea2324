"""The registry file: nothing that is made from it is out of date, and its names follow the rules for names."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evalvault_otel.assembly import assets
from evalvault_otel.conventions import names
from evalvault_otel.conventions.coercions import COERCIONS
from evalvault_otel.conventions.evalvault import stage_type
from evalvault_otel.conventions.rules import Part
from tools.registry.__main__ import MADE
from tools.registry.lint import lint
from tools.registry.source import REGISTRY, ROOT, RegistryError, load, parse

TEXT = REGISTRY.read_text()


@pytest.mark.parametrize("path", MADE, ids=lambda path: str(path.name))
def test_what_is_made_from_the_registry_is_up_to_date(path: Path) -> None:
    assert path.read_text() == MADE[path](load()), "run `make registry`"


def test_the_tool_says_what_is_out_of_date() -> None:
    command = [sys.executable, "-m", "tools.registry", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_names_follow_the_rules() -> None:
    assert lint(load()) == []


@pytest.mark.parametrize(
    "before, after, sentence",
    [
        ("id: evalvault.run.name", "id: evalvault.run.Name", "lower-case words"),
        ("id: evalvault.run.name", "id: evalvault.run._name", "lower-case words"),
        ("id: evalvault.run.name", "id: evalvault", "lower-case words"),
        ("id: evalvault.run.name", "id: service.name", "only our own namespace"),
        ("id: evalvault.run.name", "id: otel.run.name", "only our own namespace"),
        ("id: evalvault.run.name", "id: evalvault.run.names", "a plural, but its type string"),
        ("id: evalvault.retrieval.scores", "id: evalvault.retrieval.score", "its name is a plural"),
        ("id: evalvault.run.name", "id: evalvault.run", "evalvault.run: is a name and the namespace"),
        ("id: evalvault.run.name", "id: evalvault.asset.used.by", "evalvault.asset.used: is a name and the namespace"),
        ("id: evalvault.run.name", "id: evalvault.run.kind", "evalvault.run.kind: named 2 times"),
        ("id: evalvault.run.name", "id: evalvault.run_kind", "RUN_KIND: would be the Python name of 2 things"),
        ("id: offline, value: offline", "id: Off-line, value: Off-line", "not in lower_snake_case"),
        ("field: cost_total, read: number", "field: cost_total, read: integer", "to be read as number"),
        ("part: context, field: run_name", "part: contexts, field: run_name", "unknown part contexts"),
        ("renamed_to: evalvault.run.id", "renamed_to: evalvault.run.number", "which is no current attribute"),
        ("renamed_to: evalvault.run.id", "renamed_to: evalvault.run.name", "is read in another way"),
        ("renamed_to: evalvault.asset.used", "renamed_to: evalvault.asset.taken", "which is no current event"),
        ("    name: evalvault.asset.used", "    name: evalvault.asset.42", "the name of an event is static"),
        ("ref: evalvault.asset.role", "ref: evalvault.asset.rule", "evalvault.asset.rule is not defined"),
        ('brief: "its currency"', 'brief: "Its currency."', "a phrase without a full stop"),
        ('examples: ["EUR"]', "examples: [1]", "needs examples of type string"),
        ('examples: ["EUR"]', "examples: []", "needs examples of type string"),
        ('examples: ["offline"]', 'examples: ["off"]', "not among the values"),
    ],
)
def test_a_broken_rule_is_found(before: str, after: str, sentence: str) -> None:
    assert before in TEXT
    assert [said for said in lint(parse(TEXT.replace(before, after, 1))) if sentence in said]


@pytest.mark.parametrize(
    "before, after, sentence",
    [
        ("part: context, field: run_name", "part: context, filed: run_name", "evalvault.run.name: unknown key filed"),
        ("type: attribute_group", "type: metric", "groups of type 'metric'"),
        ("id: offline, value: offline", "id: offline, value: off", "should be its id"),
    ],
)
def test_another_form_is_refused(before: str, after: str, sentence: str) -> None:
    with pytest.raises(RegistryError, match=re.escape(sentence)):
        parse(TEXT.replace(before, after, 1))


def test_parts_and_coercions_of_the_registry_exist() -> None:
    assert {part for _, part, _, _ in names.FILLS} == {part.value for part in Part}
    assert {read for *_, read in (*names.FILLS, *names.ASSET_FILLS)} <= COERCIONS.keys()


def test_every_asset_attribute_is_read_as_the_registry_says() -> None:
    read = dict(zip(assets._EVENT_KEYS, assets._ENTRY_KEYS, strict=True))

    assert set(read) | set(assets._EVENT_LOADING) == {key for key, *_ in names.ASSET_FILLS}
    for key, name, _ in names.ASSET_FILLS:
        if key in assets._EVENT_LOADING:
            continue
        content = assets._content(*(_asset_value(key, other) for other in assets._EVENT_KEYS))
        assert content is not None
        assert getattr(content, name) in {"said", True}


def _asset_value(asked: str, key: str) -> object:
    if key == names.ASSET_FALLBACK:
        return True if key == asked else None
    needed = {names.ASSET_KIND, names.ASSET_NAME} if asked != names.ASSET_TYPE_ALIAS else {names.ASSET_NAME}
    return "said" if key == asked else "other" if key in needed else None


def test_every_stage_type_of_the_registry_is_one() -> None:
    assert [stage_type(word) for word in names.STAGE_TYPE_VALUES] == list(names.STAGE_TYPE_VALUES)


def test_every_constant_is_in_the_schema() -> None:
    said = json.loads((ROOT / "docs" / "evalvault-attributes.schema.json").read_text())
    values = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}

    assert said["properties"].keys() | said["$defs"].keys() == values


def test_patterns_fit_their_examples() -> None:
    with_pattern = [attribute for attribute in load().attributes if attribute.pattern]

    assert with_pattern
    for attribute in with_pattern:
        values = (*attribute.examples, *attribute.members)
        assert [value for value in values if not re.search(attribute.pattern or "", value)] == []


def test_start_up_reads_no_yaml() -> None:
    code = "import sys, evalvault_otel.conventions.reading; print('yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "False\n"
