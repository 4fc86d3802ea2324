"""What strangers sent is read again through the query API: whatever it was, every page of it must answer."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote

import requests

from tests.support.server import Server

_TIMEOUT_S: Final = 30.0
# Per look: the latest runs (each page of them), the latest rejects, and some good traces.
_RUNS, _REJECTS, _TRACES = 4, 4, 4
_PAGES: Final = (
    "/api/runs/{run}",
    "/api/stage/events/{run}",
    "/api/stage/metrics/{run}",
    "/api/stage/summary/{run}",
    "/api/stage/debug/{run}",
    "/api/stage/debug/{run}?format=markdown",
)


def unreadable(server: Server, good: Sequence[str]) -> Iterator[str]:
    """What of the latest does not answer as it should. `good` are ids of traces that must be found."""
    with requests.Session() as session:
        runs, wrong = _page(session, server, f"/api/runs?limit={_RUNS}")
        yield from wrong
        for run in runs.get("runs", ()):
            yield from _run(session, server, run["run_id"])
        rejects, wrong = _page(session, server, f"/api/rejects?limit={_REJECTS}")
        yield from wrong
        paths = [f"/api/rejects/{reject['id']}" for reject in rejects.get("rejects", ())]
        for path in (*paths, *(f"/api/traces/{trace_id}" for trace_id in good[:_TRACES])):
            yield from _page(session, server, path)[1]


def _run(session: requests.Session, server: Server, run_id: str) -> Iterable[str]:
    """What is wrong with the pages of a run, unless it became another one meanwhile: late spans may do that."""
    wrong = [said for page in _PAGES for said in _page(session, server, page.format(run=quote(run_id, safe="")))[1]]
    if not wrong:
        return ()
    listed, _ = _page(session, server, f"/api/runs?limit={_RUNS}")
    return wrong if run_id in {run["run_id"] for run in listed.get("runs", ())} else ()


def _page(session: requests.Session, server: Server, path: str) -> tuple[dict[str, Any], list[str]]:
    """A page as JSON (empty where it is none), and what is wrong with it."""
    try:
        answer = session.get(server.url(path), timeout=_TIMEOUT_S)
    except requests.RequestException as exc:
        return {}, [f"no answer to {path}: {exc!r}"]
    if answer.status_code != requests.codes.ok:
        return {}, [f"{path} is answered with {answer.status_code}: {answer.text[:300]}"]
    return (answer.json() if "json" in answer.headers["Content-Type"] else {}), []
