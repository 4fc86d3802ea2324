"""`python -m tools.report_schema`: write docs/debug-report.schema.json."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from evalvault_otel.analysis.report_model import DebugReport

PAGE = Path(__file__).parents[2] / "docs" / "debug-report.schema.json"


def schema() -> dict[str, Any]:
    """The schema, as JSON Schema 2020-12."""
    found = TypeAdapter(DebugReport).json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "Debug report, version 1"}


def text() -> str:
    """The schema as it is written."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
    print(f"wrote: {PAGE.name}")
