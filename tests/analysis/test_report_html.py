"""The report as one page: nothing is loaded or run, text from outside is no markup; in a real Chromium too."""

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from pydantic import TypeAdapter

from evalvault_otel.analysis.render import to_json
from evalvault_otel.analysis.render_html import to_html
from evalvault_otel.analysis.report import debug_report
from evalvault_otel.analysis.report_model import DebugReport
from evalvault_otel.analysis.viewers import Viewers, viewers_of
from evalvault_otel.errors import SettingsError
from evalvault_otel.settings import Settings
from evalvault_otel.store import Store, open_store
from tests.support.require import require_command
from tests.support.stages import RUN, assembly, planted_run, save, stage
from tools.report_schema.__main__ import PAGE, text

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>`&{{7*7}}'
VIEWERS = viewers_of(Settings(phoenix_url="http://phoenix:6006/", jaeger_url="https://jaeger/ui"))
# Without these Chromium asks the network for updates.
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture
def report(store: Store) -> DebugReport:
    save(store, *planted_run())
    return debug_report(store, RUN)


class _Page(HTMLParser):
    """Tags with their attributes, and ids."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_loads_and_runs_nothing(report: DebugReport) -> None:
    page = to_html(report, VIEWERS)
    found = _Page(page)
    tags = {tag for tag, _ in found.tags}

    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not [name for _, said in found.tags for name in said if name == "src" or name.startswith("on")]
    assert "url(" not in page
    assert "@import" not in page
    targets = [said["href"] for tag, said in found.tags if tag == "a"]
    assert targets
    assert all(re.match(r"http://phoenix:6006/redirects/|https://jaeger/ui/trace/", str(target)) for target in targets)


def test_every_part_is_there_and_can_be_read_without_seeing_it(report: DebugReport) -> None:
    found = _Page(to_html(report))
    headings = {said.get("id") for tag, said in found.tags if tag == "h2"}
    parts = {"findings", "stages", "bottlenecks", "failures", "metrics", "retrieval", "assets", "evidence"}

    assert headings == parts | {"recommendations"}
    assert all(said.get("role") == "img" and said.get("aria-label") for tag, said in found.tags if tag == "svg")
    assert all(said.get("scope") for tag, said in found.tags if tag == "th")


def test_the_same_data_gives_the_same_bytes(report: DebugReport, store: Store) -> None:
    assert to_html(report, VIEWERS) == to_html(debug_report(store, RUN), VIEWERS)


def test_text_from_outside_is_no_markup(store: Store) -> None:
    said = {"status": "error", "error_type": HOSTILE, "error_message": HOSTILE, "error_fingerprint": "f"}
    save(store, assembly([stage(n, 1, "retrieval", n, 5, stage_name=HOSTILE, **said) for n in (1,)], name=HOSTILE))
    page = to_html(debug_report(store, RUN), Viewers())

    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{7*7}}" in page  # and not 49: it was no template either


def test_the_published_schema_is_that_of_the_records(report: DebugReport) -> None:
    assert PAGE.read_text() == text()  # else: python -m tools.report_schema
    said = orjson.loads(to_json(report))
    assert said["schema_version"] == "1"
    assert TypeAdapter(DebugReport).validate_python(said) == report


# In a browser.


def _chromium(tmp_path: Path, page: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    program = require_command("chromium", "chromium", "chromium-browser", "google-chrome")
    command = [program, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    with_store = open_store(str(tmp_path / "test.db"))
    with_store.migrate()
    save(with_store, *planted_run())
    path = tmp_path / "report.html"
    path.write_text(to_html(debug_report(with_store, RUN), VIEWERS), "utf-8")
    with_store.close()
    return path


def test_it_opens_from_disk_light_and_dark(tmp_path: Path, page: Path) -> None:
    shots = {}
    for name, option in (("light", "1"), ("dark", "0")):
        shot = tmp_path / f"{name}.png"
        _chromium(
            tmp_path,
            page,
            "--window-size=1000,1400",
            f"--screenshot={shot}",
            f"--blink-settings=preferredColorScheme={option}",
        )
        shots[name] = shot.read_bytes()
    assert min(map(len, shots.values())) > 20_000
    assert shots["light"] != shots["dark"]


def test_it_asks_the_network_for_nothing_and_says_no_errors(tmp_path: Path, page: Path) -> None:
    log = tmp_path / "net.json"
    said = _chromium(tmp_path, page, "--enable-logging=stderr", f"--log-net-log={log}", "--dump-dom")
    asked = re.findall(r'"url":"(https?://[^"]+)"', log.read_text())

    assert "CONSOLE" not in said.stderr
    assert [url for url in asked if "phoenix" in url or "jaeger" in url] == []
    assert "Findings, by impact" in said.stdout


def test_it_prints(tmp_path: Path, page: Path) -> None:
    _chromium(tmp_path, page, f"--print-to-pdf={tmp_path / 'report.pdf'}")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


# Viewers.


def test_links_lead_to_traces_and_spans() -> None:
    others = (
        "Tempo=https://g/explore?t={trace_id}; Tempo=https://g/explore?t={trace_id}&s={span_id} ;X=http://x/{span_id}"
    )
    viewers = viewers_of(Settings(phoenix_url="http://p:6006/", jaeger_url="http://j:16686", viewers=others))

    assert viewers.of_trace("t1") == {
        "Phoenix": "http://p:6006/redirects/traces/t1",
        "Jaeger": "http://j:16686/trace/t1",
        "Tempo": "https://g/explore?t=t1",
    }
    assert viewers.of_span("t1", "s/1") == {
        "Phoenix": "http://p:6006/redirects/spans/s%2F1",
        "Jaeger": "http://j:16686/trace/t1?uiFind=s%2F1",
        "Tempo": "https://g/explore?t=t1&s=s%2F1",
        "X": "http://x/s%2F1",
    }
    assert viewers.of_span("t1", None) == viewers.of_trace("t1")


@pytest.mark.parametrize(
    "said",
    [
        {"phoenix_url": "phoenix:6006"},
        {"jaeger_url": "javascript:alert(1)"},
        {"viewers": "Tempo"},
        {"viewers": "Tempo=ftp://x/{trace_id}"},
        {"viewers": "Tempo=http://x/"},
    ],
    ids=str,
)
def test_addresses_that_are_none_are_refused(said: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        viewers_of(Settings(**said))  # type: ignore[arg-type]  # texts only
