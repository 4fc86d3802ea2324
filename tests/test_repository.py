"""What the repository says about itself is true: documents, packaging, schema, and rules that no linter knows."""

import ast
import importlib
import pkgutil
import re
import sqlite3
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import evalvault_otel
from evalvault_otel.settings import Settings
from evalvault_otel.store import Store, open_store
from evalvault_otel.store.migrations import scripts

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "evalvault_otel"
CODE = ("src", "tests", "benchmarks", "examples", "tools")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

_MODULES = sorted(path for path in SOURCE.rglob("*.py"))
_ALL_CODE = sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))
_PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


_CONFIGURATION = [ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / ".ci" / "run", *ROOT.glob("[Dd]ocker*")]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_MOST_LINES = 350
_MOST_FUNCTION_LINES = 45


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _found(paths: Iterable[Path], look: Callable[[Path, str], list[str]]) -> dict[str, list[str]]:
    """What `look` finds in the files, by file, without the files in which it finds nothing."""
    found = {_name(path): look(path, path.read_text()) for path in paths}
    return {name: finds for name, finds in found.items() if finds}


# Documents.


def test_no_file_holds_the_marks_of_a_merge() -> None:
    marks = re.compile(r"^(<<<<<<< |>>>>>>> )", re.MULTILINE)
    assert _found([*_PAGES, *_ALL_CODE, *_CONFIGURATION], lambda _, text: marks.findall(text)) == {}


def test_settings_page_lists_every_setting() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \| `(EVALVAULT_\w+)` \| (?:`([^`]+)` )?\| (.+?) \|$", page, re.MULTILINE)

    assert documented == [
        (spec.name, spec.metadata["env"], _written(spec.default), spec.metadata["doc"]) for spec in fields(Settings)
    ]


def _written(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_links_lead_somewhere() -> None:
    assert _found(_PAGES, lambda page, _: [link for link in _links(page) if not _leads_somewhere(page, link)]) == {}


def _links(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", text)


def _leads_somewhere(page: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    path = page.parent / file if file else page
    return path.exists() and (not anchor or anchor in _anchors(path))


def _anchors(page: Path) -> set[str]:
    """Anchors of headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text()
    listed = re.findall(r"^\| \[(\d{4})\]\((\d{4}-[\w-]+\.md)\) \| (.+) \| \w+ \|$", index, re.MULTILINE)
    pages = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))

    assert listed == [
        (page.name[:4], page.name, page.read_text().splitlines()[0].removeprefix(f"# {page.name[:4]}: "))
        for page in pages
    ]


def test_every_dependency_has_its_reason() -> None:
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["server"],
        *project["optional-dependencies"]["postgres"],
        *(name for name in PROJECT["dependency-groups"]["dev"] if not name.startswith("types-")),
    ]
    page = (ROOT / "docs" / "dependencies.md").read_text()
    first_cells = " ".join(re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE))

    assert [name for name in wanted if not re.search(rf"\b{Requirement(name).name}\b", first_cells)] == []


def test_architecture_page_knows_every_module() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    modules = [path.relative_to(SOURCE) for path in _MODULES if not path.name.startswith("__")]

    assert [str(path) for path in modules if f"`{path.stem}`" not in page and f"`{path}`" not in page] == []


# Configuration files.


_COLLECTOR_CONFIGS = sorted((ROOT / "collector-config").glob("*.yaml"))


@pytest.mark.parametrize("path", _COLLECTOR_CONFIGS, ids=lambda path: str(path.stem))
def test_collector_configurations_are_complete(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    kinds = ("receivers", "processors", "exporters")
    defined = {kind: set(config[kind]) for kind in kinds}
    used = {
        kind: {name for pipeline in config["service"]["pipelines"].values() for name in pipeline[kind]}
        for kind in defined
    }

    assert all(used[kind] <= defined[kind] for kind in defined)
    assert set(config["service"].get("extensions", [])) == set(config.get("extensions", {}))
    # Names since Collector v0.159; the older `otlp` and `otlphttp` are refused.
    assert {name.split("/")[0] for name in defined["exporters"]} <= {"otlp_grpc", "otlp_http"}


def test_collector_page_lists_the_files_and_their_variables_with_defaults() -> None:
    page = (ROOT / "docs" / "collector.md").read_text()
    texts = {path.name: path.read_text() for path in _COLLECTOR_CONFIGS}
    variables = {pair for text in texts.values() for pair in re.findall(r"\$\{env:(\w+):-([^}]+)\}", text)}

    assert set(re.findall(r"^\| \[([\w-]+\.yaml)\]", page, re.MULTILINE)) == set(texts)
    assert set(re.findall(r"^\| `([A-Z_]+)` \| (\S+) \|", page, re.MULTILINE)) == variables


def test_compose_publishes_on_loopback_only() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    published = [port for service in services.values() for port in service.get("ports", [])]

    assert published == ["127.0.0.1:4317:4317", "127.0.0.1:4318:4318", "127.0.0.1:8000:8000"]


def test_image_sets_only_settings_that_exist() -> None:
    known = {spec.metadata["env"] for spec in fields(Settings)}
    said = set(
        re.findall(r"\bEVALVAULT_\w+", (ROOT / "Dockerfile").read_text() + (ROOT / "docker-compose.yml").read_text())
    )

    assert said - known == set()


# Rules of the code.


def test_only_settings_and_sdk_read_the_environment() -> None:
    reading = re.compile(r"\bos\.(?:environ|getenv)\b|\bfrom os import .*\b(?:environ|getenv)\b")
    others = [path for path in _MODULES if path != SOURCE / "settings.py" and SOURCE / "sdk" not in path.parents]

    assert _found(others, lambda _, text: reading.findall(text)) == {}


def test_silenced_checks_carry_a_reason() -> None:
    reasoned = re.compile(r"# noqa: [A-Z0-9, ]+ - \S|# type: ignore\[[a-z-]+(, ?[a-z-]+)*\]  # \S")

    def unreasoned(_: Path, text: str) -> list[str]:
        return [comment for comment in re.findall(r"# (?:noqa|type: ignore)\b.*", text) if not reasoned.match(comment)]

    assert _found([path for path in _ALL_CODE if path != Path(__file__)], unreasoned) == {}


def test_modules_and_functions_stay_small() -> None:
    def large(_: Path, text: str) -> list[str]:
        found = ["the whole file"] if len(text.splitlines()) > _MOST_LINES else []
        functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, _FUNCTIONS))
        return found + [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= _MOST_FUNCTION_LINES]

    assert _found(_MODULES, large) == {}


def test_no_file_names_a_place_of_one_machine() -> None:
    private = re.compile(r"(?<![\w.])/(?:home/\w+|root|Users/\w+|work)/\S*")

    assert _found([*_ALL_CODE, *_PAGES, *_CONFIGURATION], lambda _, text: private.findall(text)) == {}


def _public_modules() -> Iterator[Any]:
    yield evalvault_otel
    for module in pkgutil.walk_packages(evalvault_otel.__path__, "evalvault_otel."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)


def test_public_names_are_sorted_and_exist() -> None:
    wrong = {
        module.__name__: module.__all__
        for module in _public_modules()
        if hasattr(module, "__all__")
        and (
            list(module.__all__) != sorted(module.__all__) or any(not hasattr(module, name) for name in module.__all__)
        )
    }

    assert wrong == {}


# Schema.


def test_migrations_of_both_databases_pair_up() -> None:
    names = {dialect: [(number, name) for number, name, _ in scripts(dialect)] for dialect in ("sqlite", "postgres")}

    assert names["sqlite"] == names["postgres"]
    assert [number for number, _ in names["sqlite"]] == list(range(1, len(names["sqlite"]) + 1))


def test_storage_page_describes_every_table(tmp_path: Path) -> None:
    _migrated(open_store(str(tmp_path / "test.db")))
    page = (ROOT / "docs" / "storage.md").read_text()

    assert [name for name in _sqlite_columns(tmp_path / "test.db") if f"`{name}`" not in page] == []


def test_both_databases_have_the_same_tables_and_columns(tmp_path: Path, postgres_url: str) -> None:
    for url in (str(tmp_path / "test.db"), postgres_url):
        _migrated(open_store(url))

    assert _sqlite_columns(tmp_path / "test.db") == _postgres_columns(postgres_url)


def _migrated(store: Store) -> None:
    store.migrate()
    store.close()


def _sqlite_columns(path: Path) -> dict[str, list[str]]:
    connection = sqlite3.connect(path)
    try:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
        )
        return {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for (name,) in names.fetchall()
        }
    finally:
        connection.close()


def _postgres_columns(url: str) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
        )
        for table, column in found:
            columns.setdefault(table, []).append(column)
    return columns


# Packaging.


def test_wheel_holds_what_the_program_needs_and_no_tests(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = {name for name in wheel.namelist() if "__pycache__" not in name}

    package = {f"evalvault_otel/{path.relative_to(SOURCE)}" for path in _files(SOURCE)}
    bundled = {
        f"evalvault_otel/_bundled/{_name(path)}"
        for folder in ("docs", "examples/quickstart")
        for path in _files(ROOT / folder)
    }
    metadata = {name for name in held if ".dist-info/" in name}
    assert held - metadata == package | bundled
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def test_server_and_postgres_install_few_packages() -> None:
    assert len(_installed_with("evalvault-otel[server,postgres]")) <= 45


def _installed_with(requirement: str) -> set[str]:
    """Names of all packages that a requirement brings into this environment, itself included."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(requirement)]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        for extra in {"", *wanted.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            found.add(name)
            needs = [Requirement(text) for text in distribution(name).requires or ()]
            waiting += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return found
