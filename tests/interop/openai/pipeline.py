"""The OpenAI SDK against a loopback stub: a chat, an embedding, and a chat that is refused (429). Three traces."""

import os

import openai

from tests.interop.openai.stub import BUSY_MODEL, running_stub
from tests.interop.recorder import record


def _openinference() -> None:
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()


def _traceloop() -> None:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()


def _genai() -> None:
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "span_only"
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()


def _calls() -> None:
    with running_stub() as address:
        client = openai.OpenAI(base_url=address, api_key="none", max_retries=0)
        messages = [
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": "What is a trace?"},
        ]
        client.chat.completions.create(model="gpt-4o-mini", messages=messages, temperature=0.5, max_tokens=50)
        client.embeddings.create(model="text-embedding-3-small", input="What is a trace?")
        try:
            client.chat.completions.create(model=BUSY_MODEL, messages=messages)
        except openai.RateLimitError:
            return
        raise AssertionError("the stub refuses this model")


if __name__ == "__main__":
    record({"openinference": _openinference, "traceloop": _traceloop, "genai": _genai}, _calls)
