"""The API against its own description: requests made from the OpenAPI document, by schemathesis, on every database."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from evalvault_otel.store import open_store
from tests.support.server import Server
from tests.support.stages import planted_run, save

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.timeout(300)
def test_every_answer_is_as_described(db_url: str, serve: Callable[..., Server], tmp_path: Path) -> None:
    with closing(open_store(db_url)) as store:
        store.migrate()
        save(store, *planted_run())
    server = serve(db_url)
    program = Path(sys.executable).with_name("schemathesis")
    # A live stream has no end.
    chosen = ("--exclude-path", "/api/stream", "--phases", "coverage,fuzzing")
    options = (*chosen, "--checks", CHECKS, "--max-examples", "3", "--seed", "1")
    said = subprocess.run(
        [str(program), "run", server.url("/openapi.json"), *options, "--generation-database", "none", "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert said.returncode == 0, said.stdout[-6000:]
    assert "Tested: 2" in said.stdout  # twenty operations and more
