"""Answers questions about a folder of Markdown files and sends one trace per question to any OTLP endpoint.

    python examples/quickstart/app.py --run-id my-run

The endpoint is OTEL_EXPORTER_OTLP_ENDPOINT (default http://localhost:4318). Exit codes: 0 all spans were sent, 1 some
were not, 2 wrong use.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import corpus
import dataset
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from pipeline import Pipeline
from telemetry import CountingExporter, otlp_exporter

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the pipeline once; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        exporter = None if args.no_export else CountingExporter(otlp_exporter())
        sections, questions = corpus.load(args.corpus), dataset.load(args.questions)
    except (ImportError, OSError, ValueError) as exc:
        print(f"quickstart: {exc}", file=sys.stderr)
        return 2
    provider = TracerProvider(resource=_resource(args.run_id, questions))
    if exporter:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    answered = _answer_all(Pipeline(sections, questions, provider.get_tracer("quickstart"), args.seed), questions)
    provider.force_flush()
    provider.shutdown()
    print(f"run {args.run_id}: {answered} questions answered, {exporter.sent if exporter else 0} spans sent")
    return _check(exporter)


def _answer_all(pipeline: Pipeline, questions: dataset.Dataset) -> int:
    answered = 0
    for answered, result in enumerate(pipeline.run(), 1):
        if answered % 10 == 0 or answered == len(questions.questions):
            print(f"{answered}/{len(questions.questions)} {result.question.text} -> {_short(result.answer)}")
    return answered


def _check(exporter: CountingExporter | None) -> int:
    if exporter is None or not exporter.failed:
        return 0
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    endpoint = next((os.environ[name] for name in names if os.environ.get(name)), "the default endpoint")
    print(
        f"quickstart: {exporter.failed} spans could not be sent to {endpoint}: start a receiver there, "
        f"or set OTEL_EXPORTER_OTLP_ENDPOINT to one",
        file=sys.stderr,
    )
    return 1


def _resource(run_id: str, questions: dataset.Dataset) -> Resource:
    """One process is one run, so all that is said about the run is said once, on the resource."""
    return Resource.create(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME") or "quickstart-rag",
            "evalvault.schema.version": "1.0",
            "evalvault.run.id": run_id,
            "evalvault.run.name": "quickstart over the documentation",
            "evalvault.run.kind": "offline",
            "evalvault.dataset.name": questions.name,
            "evalvault.dataset.version": questions.version,
        }
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="quickstart", description="A traced RAG pipeline over Markdown files.")
    default_corpus = [PROJECT / "docs"]
    default_run = f"quickstart-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    parser.add_argument("--corpus", type=Path, nargs="+", default=default_corpus, metavar="DIR", help="what to search")
    parser.add_argument("--questions", type=Path, default=HERE / "questions.json", metavar="FILE", help="what to ask")
    parser.add_argument("--run-id", default=default_run, metavar="ID", help="name of the run (default: by the time)")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="decides which reranks are slow (default: 7)")
    parser.add_argument("--no-export", action="store_true", help="answer the questions and send nothing")
    return parser


def _short(text: str, most: int = 70) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


if __name__ == "__main__":
    sys.exit(main())
