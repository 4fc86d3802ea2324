"""A DSPy module: look a passage up with a tool, reason about it with a fake model. The second question fails there."""

from typing import Any

import dspy
from dspy.utils.dummies import DummyLM

from tests.interop.recorder import record

_PASSAGES = {"trace": "A trace is a tree of spans.", "cat": "A cat sleeps all day."}


class FakeModel(DummyLM):
    """Answers what it is told to, and cannot answer about cats."""

    def forward(self, prompt: Any = None, messages: Any = None, **options: Any) -> Any:
        if "cat" in str(messages[-1]["content"]):
            raise TimeoutError("the model took too long")
        return super().forward(prompt=prompt, messages=messages, **options)


class Rag(dspy.Module):
    """Passage and question in, answer out."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> Any:
        context = next(passage for word, passage in _PASSAGES.items() if word in question)
        return self.answer(context=context, question=question)


def _openinference() -> None:
    from openinference.instrumentation.dspy import DSPyInstrumentor

    DSPyInstrumentor().instrument()


def _questions() -> None:
    model = FakeModel([{"reasoning": "The context says so.", "answer": "A tree of spans."}])
    dspy.configure(lm=model, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False))
    rag = Rag()
    assert rag(question="What is a trace?").answer == "A tree of spans."
    try:
        rag(question="Where does a cat sleep?")
    except TimeoutError:
        return
    raise AssertionError("the fake model cannot answer about cats")


if __name__ == "__main__":
    record({"openinference": _openinference}, _questions)
