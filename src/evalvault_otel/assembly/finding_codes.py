"""Every code a finding can have: what happened, what cannot be known because of it, and the setting that fixes it.

The sentence becomes the `detail` of a finding; the other two are looked up by code wherever a finding is shown, so that
rows stay lean. In a sentence `{spans}` and `{stages}` name the first of what is meant and say how many more there are,
other names are what the rule says besides. docs/findings.md is this table, held to it by a test.
"""

from dataclasses import dataclass
from typing import Final

INFO, WARNING = "info", "warning"

# Where several settings would do, the one that works for most SDKs. Source: OpenTelemetry specification, "Environment
# Variable Specification"; opentelemetry-util-genai; OpenLLMetry, "Privacy"; OpenInference, "Configuration".
ATTRIBUTE_LIMIT: Final = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=10000"
GENAI_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY"
TRACELOOP_CONTENT: Final = "TRACELOOP_TRACE_CONTENT=true"
# What names of a convention begin with, and its setting; the general convention last, since others use its names too.
CONTENT_SETTINGS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("traceloop.", "llm.request.type", "llm.is_streaming"), TRACELOOP_CONTENT),
    (("langsmith.", "ls_", "langgraph_"), "LANGSMITH_HIDE_INPUTS=false and LANGSMITH_HIDE_OUTPUTS=false"),
    (("ai.",), "recordInputs and recordOutputs in experimental_telemetry to true"),
    (("haystack.",), "HAYSTACK_CONTENT_TRACING_ENABLED=true"),
    (("gen_ai.",), GENAI_CONTENT),
)


@dataclass(frozen=True, slots=True)
class FindingMeaning:
    """What a code means. `cause` names the fact by which findings of one code differ; without it there is one a run."""

    severity: str
    sentence: str
    unknown: str
    fix: str
    cause: str = ""


_NO_RESTORE = "What was dropped before it was sent cannot be restored."

CODES: Final[dict[str, FindingMeaning]] = {
    # What is missing of the trace.
    "no_root": FindingMeaning(
        WARNING,
        "The trace has no root span: its start and what called it are unknown.",
        "How long the request took in all, and what only the root says: the question, the answer, the run.",
        "Let the service that makes the root report here too, call force_flush() and shutdown() before a program ends, "
        "and sample whole traces (OTEL_TRACES_SAMPLER=parentbased_always_on). The root may also be still open.",
    ),
    "missing_parent": FindingMeaning(
        WARNING,
        "The parent ({parent}) of {spans} never arrived: the stages hang one level too high.",
        "Which stage called these, and what the missing spans recorded.",
        "Let every service of the trace report here, with OTEL_TRACES_SAMPLER=parentbased_always_on; look for export "
        "errors in the application's log. Spans that come late repair the tree by themselves.",
    ),
    "cycle": FindingMeaning(
        WARNING,
        "A parent link was cut because it leads back to where it starts: {spans}.",
        "Which of these stages called the other.",
        "Correct the instrumentation that sets parent ids (or `evalvault.stage.parent.id`) by hand.",
    ),
    "log_event_without_span": FindingMeaning(
        WARNING,
        "Log events belong to {n} spans that never arrived ({missing}): they are kept, but no stage shows them.",
        "To which stage the messages, assets or evaluations in these events belong.",
        "Send traces and logs of a service to the same place, and do not sample traces away whose logs are sent.",
    ),
    "sampled": FindingMeaning(
        INFO,
        "The trace was sampled with a probability of {probability}: it stands for about {stands_for}.",
        "How many requests there really were: counts, rates and sums of the run are of the sample.",
        "For evaluations keep every trace: OTEL_TRACES_SAMPLER=parentbased_always_on.",
    ),
    "no_stages": FindingMeaning(
        INFO,
        "No span of this trace is a stage: no convention that is known names any of them.",
        "Everything about stages of this trace; its spans are in the archive.",
        "Set `evalvault.stage.type` on spans, use an instrumentation of a known convention, or map names with rules of "
        "your own. `evalvault-otel doctor` lists the attributes that nothing claims.",
    ),
    # What is missing of a span.
    "attributes_dropped": FindingMeaning(
        WARNING,
        f"{{detail}} dropped by the SDK's {{limit}} ({{spans}}, {{n}} attributes in all): set {ATTRIBUTE_LIMIT}.",
        f"What these attributes said; the SDK drops the oldest first, so the best-ranked ones. {_NO_RESTORE}",
        f"Set {ATTRIBUTE_LIMIT} in the application, or record lists as one attribute (`evalvault.retrieval.doc_ids`).",
        cause="detail",
    ),
    "documents_truncated": FindingMeaning(
        WARNING,
        f"{{detail}} lost ({{spans}}), most likely to an attribute limit: set {ATTRIBUTE_LIMIT}.",
        f"Rank and score of the missing documents, so recall, precision and rank metrics are too low. {_NO_RESTORE}",
        f"Set {ATTRIBUTE_LIMIT} in the application, or record lists as one attribute (`evalvault.retrieval.doc_ids`).",
        cause="detail",
    ),
    "attribute_limit_reached": FindingMeaning(
        INFO,
        "Exactly 128 attributes, the default limit of SDKs, on {spans}: if that is no chance, others were dropped "
        "uncounted.",
        "Whether anything is missing: not every SDK and Collector counts what it drops.",
        f"Set {ATTRIBUTE_LIMIT} in the application.",
    ),
    "events_dropped": FindingMeaning(
        WARNING,
        "The SDK dropped {n} events of {spans}: asset uses, messages or exceptions may be among them.",
        f"Which assets the stage used first, since the oldest events go first. {_NO_RESTORE}",
        "Set OTEL_SPAN_EVENT_COUNT_LIMIT=1000, or record assets as the one attribute `evalvault.assets`.",
    ),
    "links_dropped": FindingMeaning(
        WARNING,
        "The SDK dropped {n} links of {spans}.",
        "Which retries, batches or evaluated stages in other traces belong to these spans.",
        "Set OTEL_SPAN_LINK_COUNT_LIMIT=1000.",
    ),
    "event_attributes_dropped": FindingMeaning(
        WARNING,
        "The SDK dropped {n} attributes of events of {spans}.",
        "What these events said in full: an asset may lack its version, a hit its score.",
        "Set OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT=1000.",
    ),
    "values_truncated": FindingMeaning(
        WARNING,
        "Values end after {length} characters ({keys}; {spans}): they were cut by a length limit.",
        "The rest of these texts. JSON that was cut cannot be read, so what only it says is missing from the stage.",
        "Remove or raise OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT and OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT.",
    ),
    "content_off": FindingMeaning(
        INFO,
        "Model calls came without their messages ({spans}): content capture is off; set {setting}.",
        "What was asked and answered: input, system prompt and answer of these stages.",
        f"Set {GENAI_CONTENT} (with OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental) for OpenTelemetry GenAI, "
        f"{TRACELOOP_CONTENT} for Traceloop, HAYSTACK_CONTENT_TRACING_ENABLED=true for Haystack. "
        "Leave it off if the texts must not leave the application.",
        cause="setting",
    ),
    "redacted": FindingMeaning(
        INFO,
        "{n} values were hidden before they were sent ({keys}; {spans}).",
        "What was hidden, hashed, masked or cut; what is hidden counts as absent, so metrics that need it are missing.",
        "Unset the OPENINFERENCE_HIDE_* variable (or TraceConfig field) of what you want to see, or change the "
        "ContentPolicy of our SDK.",
    ),
    "embedding_vectors": FindingMeaning(
        INFO,
        "Embedding vectors arrive with {spans}: stages keep their number and dimension only.",
        "Nothing is lost: the vectors are in the archive, where they take most of the space.",
        "OPENINFERENCE_HIDE_EMBEDDINGS_VECTORS=true (older: OPENINFERENCE_HIDE_EMBEDDING_VECTORS) keeps them out.",
    ),
    "documents_without_ids": FindingMeaning(
        INFO,
        "Documents of {stages} have no ids of their own: recall and precision against relevant_doc_ids cannot be "
        "computed.",
        "Whether the right documents were found. Documents with content get an id made of it (`h:…`), so that equal "
        "ones are recognised within and between runs; the others have none.",
        "Give documents an id in the vector store (LangChain: `Document(id=…)` or a metadata key `id`, `doc_id` or "
        "`source`), or set `evalvault.retrieval.doc_ids`.",
    ),
    "documents_without_scores": FindingMeaning(
        INFO,
        "Documents of {stages} have no scores.",
        "How sure the retrieval was, and whether the order is by score.",
        "Use a retriever that returns scores (LangChain drops them: `similarity_search_with_score`), or set "
        "`evalvault.retrieval.scores`.",
    ),
    # What is doubtful.
    "convention_conflict": FindingMeaning(
        INFO,
        "Conventions disagree on {spans}: {detail}.",
        "Which of them is right. The one that ranks higher was taken.",
        "Use one instrumentation per library, or set `evalvault.stage.type` where you know better.",
        cause="between",
    ),
    "odd_stage_type": FindingMeaning(
        WARNING,
        "`evalvault.stage.type` {detail} ({spans}).",
        "What the step is: metrics, thresholds and comparisons by stage type know the usual words only.",
        "Set it to one of the words in docs/attributes.md, or to custom.<name> for a type of your own.",
        cause="detail",
    ),
    "error_inside": FindingMeaning(
        WARNING,
        "{spans} ended in an error, while {stages}, which stand for them, did not.",
        "Whether the step failed, or took another way: its outermost span says nothing of the error.",
        "Let the outer span see the exception, or set `evalvault.stage.status` on it (`error`, or `fallback`).",
    ),
    "deprecated_names": FindingMeaning(
        INFO,
        "Attributes have names that were replaced: {names} ({spans}).",
        "Nothing: old names are still read.",
        "Upgrade the instrumentation; where it asks for it, "
        "set OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental.",
    ),
    "run_conflict": FindingMeaning(
        WARNING,
        "{detail}; a span that names none, itself or above it, goes to the fallback run.",
        "To which run the spans without a run of their own belong.",
        "Set one `evalvault.run.id` per trace, or one on the top span of each part.",
        cause="detail",
    ),
    "usage_repeated": FindingMeaning(
        INFO,
        "Token counts of {stages} repeat what stages below report: they are counted once, below.",
        "Nothing: sums are right.",
        "Nothing needs to be done.",
    ),
    "usage_ignored": FindingMeaning(
        INFO,
        "Token counts of {stages} are not added: only calls of a model count usage.",
        "The usage of model calls that are not traced themselves.",
        "Trace the model call itself, with its usage on it.",
    ),
    "retries_inside": FindingMeaning(
        INFO,
        "{stages} called the provider several times ({n} requests, some of which failed): retries of its client are "
        "inside one stage.",
        "How long a call takes without its retries and waits: the attempt stays 1, and usage is that of the last.",
        "Nothing needs to be set. To see attempts as stages, retry around the traced call and set "
        "`evalvault.stage.attempt`.",
    ),
    "bad_value": FindingMeaning(
        WARNING,
        "A value could not be used for a metric: {detail}.",
        "This metric of the stage; all others are right.",
        "Send the value as the type in docs/metrics.md.",
        cause="detail",
    ),
    "bad_time": FindingMeaning(
        WARNING,
        "The span {detail}: its duration is not known ({spans}).",
        "How long these stages took; they are left out of latencies and of the critical path.",
        "Set the clock of the sending machine, and start and end of spans that are made by hand.",
        cause="detail",
    ),
    "clock_skew": FindingMeaning(
        WARNING,
        "Times lie up to {offset} ms outside of the parent's ({detail}; {spans}): the clocks differ.",
        "Self time and critical path of these stages and their parents; durations of single stages are right.",
        "Synchronise the clocks of the machines (NTP or chrony).",
        cause="detail",
    ),
    "duplicate_stage_id": FindingMeaning(
        WARNING,
        "Several spans claim one stage id: the later ones got their span id added ({stages}).",
        "Which of them is meant where the id is used elsewhere.",
        "Give every stage an `evalvault.stage.id` of its own, or none.",
    ),
}
