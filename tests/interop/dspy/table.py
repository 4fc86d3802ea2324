"""What the module does: one call of the model, which reasons and answers in one text; its failure goes up.

Signature, adapter and predictor around the call are the framework's plumbing, no steps of the application. The fake
model counts no tokens.
"""

from tests.interop.tables import Pipeline, Stage

_TRACE, _CAT = "What is a trace?", "Where does a cat sleep?"
# Of a system prompt a stage keeps the beginning.
_SYSTEM = "Your input fields are:\n1. `context` (str): \n2. `question` (str):\nYour output fie"
_REPLY = "[[ ## reasoning ## ]]\nThe context says so.\n\n[[ ## answer ## ]]\nA tree of spans."

_ANSWERED = (
    Stage("input", "workflow", _TRACE),
    Stage("system_prompt", "output", _SYSTEM),
    Stage("workflow"),
    Stage("output", "workflow", _REPLY, model="dummy"),
)
_FAILED = (
    Stage("input", "workflow", _CAT),
    Stage("system_prompt", "output", _SYSTEM),
    Stage("workflow", status="timeout", error="TimeoutError"),
    Stage("output", "workflow", model="dummy", status="timeout", error="TimeoutError"),
)

PIPELINE = Pipeline(
    name="dspy",
    environment="interop-dspy",
    module="tests.interop.dspy.pipeline",
    tables=(_ANSWERED, _FAILED),
    instrumentations={"openinference": ()},
)
