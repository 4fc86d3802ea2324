"""Guesses by name: what names of real frameworks suggest, and which names suggest nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalvault_otel.conventions.heuristics import guess
from evalvault_otel.conventions.reading import DEFAULT, Reading
from evalvault_otel.model import Value
from tests.support.traces import span

# As LangChain, LangGraph, LlamaIndex, Haystack and hand-written pipelines call their steps.
NAMES = {
    "LLMRerank.postprocess_nodes": "rerank",
    "compress_documents": "rerank",
    "TransformersSimilarityRanker.run": "rerank",
    "cross-encoder": "rerank",
    "QueryFusionRetriever.retrieve": "fusion",
    "rrf_merge": "fusion",
    "DocumentJoiner.run": "fusion",
    "EnsembleRetriever": "fusion",
    "rewrite_query": "query_rewrite",
    "generate_rewritten_question": "query_rewrite",
    "transform_query": "query_rewrite",
    "generate_queries": "query_rewrite",
    "HyDEQueryTransform": "query_rewrite",
    "hyde": "query_rewrite",
    "step_back_question": "query_rewrite",
    "expand_user_query": "query_rewrite",
    "FaithfulnessEvaluator.aevaluate": "evaluation",
    "ragas.faithfulness": "evaluation",
    "LLMJudge": "evaluation",
    "retrieval_grader": "evaluation",
    "validate_answer": "answer_validation",
    "verify_the_citations": "answer_validation",
    "answer_verifier": "answer_validation",
    "validator": "answer_validation",
    "FactChecker": "answer_validation",
    "input_guardrail": "safety_check",
    "PIIMasker": "safety_check",
    "moderation": "safety_check",
    "semantic_cache.lookup": "cache",
    "detect_language": "language_detection",
    "embed_query": "embedding",
    "get_text_embedding.task": "embedding",
    "VectorStoreRetriever": "retrieval",
    "bm25": "retrieval",
    "search_documents": "retrieval",
    "hybrid-search": "retrieval",
    "ChatPromptTemplate": "prompt",
    "PromptBuilder": "prompt",
    "build_retrieval_prompt": "prompt",
    "StrOutputParser": "postprocess",
    "classify_intent": "intent",
    "route_question": "route_plan",
    "decide_to_generate": "route_plan",
    "planner": "route_plan",
    "CompactAndRefine.synthesize": "generation",
    "generate": "generation",
    "ChatOpenAI.chat": "generation",
    "MockLLM.acomplete": "generation",
    "SentenceSplitter": "chunk",
    "split_documents": "chunk",
    "SimpleDirectoryReader.load_data": "ingest",
    "ingest": "ingest",
}

# What programs do besides, and what holds a pipeline rather than being a step of it.
ORDINARY = (
    *("GET /search", "POST /users", "SELECT", "SELECT chunks", "INSERT INTO documents", "redis.GET", "HTTP POST"),
    *("validate_token", "verify_token", "verify_email", "check_permissions", "authenticate", "validate_schema"),
    *("load_config", "load_model_weights", "load_user", "download_file", "upload", "parse_args", "tokenize"),
    *("split_payment", "complete_checkout", "complete_task", "generate_uuid", "generate_access_token", "generate_pdf"),
    *("clear_cache", "cache_stats", "chat_history", "save_chat_messages", "explain", "explanation", "planet", "plane"),
    *("guardian", "safeguarding", "frank", "banker", "refusion", "researcher", "search", "search_web", "transform"),
    *("RunnableSequence", "RunnableParallel<context,question>", "RunnableLambda", "RunnableAssign<retriever>"),
    *("RetrieverQueryEngine.query", "CondensePlusContextChatEngine.chat", "AgentExecutor", "LangGraph", "call_model"),
    *("should_continue", "format_docs", "process", "main", "", " ", "_", "ünïcödé", "0", "BranchJoiner.run", "tools"),
)


@pytest.mark.parametrize("name, stage_type", NAMES.items())
def test_a_name_suggests_a_type(name: str, stage_type: str) -> None:
    assert guess(name) == (stage_type, stage_type)


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_suggests_nothing(name: str) -> None:
    assert guess(name) is None


@pytest.mark.parametrize("name", [name for name in NAMES if "_" in name and name.islower()])
def test_words_are_the_same_however_they_are_joined(name: str) -> None:
    words = name.split("_")

    spellings = ("-".join(words), " ".join(words), "".join(map(str.title, words)), name.upper(), f"rag.{name}")

    assert {guess(spelling) for spelling in spellings} == {guess(name)}


def _read(name: str, attributes: dict[str, Value]) -> Reading:
    return DEFAULT.read(span(1, name=name, attributes=attributes), is_root=False)


@pytest.mark.parametrize("name", [*NAMES, *ORDINARY])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"http.request.method": "GET", "url.path": "/search", "http.route": "/retrieve"},
        {"db.system.name": "postgresql", "db.query.text": "SELECT * FROM chunks", "db.collection.name": "documents"},
        {"code.function.name": "retrieve", "my.own": "generate"},
    ],
    ids=["nothing", "http", "database", "own"],
)
def test_a_span_of_no_convention_is_structural_whatever_its_name(name: str, attributes: dict[str, Value]) -> None:
    assert _read(name, attributes).stage_type is None


@pytest.mark.parametrize(
    "step",
    [
        {"openinference.span.kind": "CHAIN"},
        {"traceloop.span.kind": "task"},
        {"langsmith.span.kind": "chain"},
        {"gen_ai.operation.name": "execute_task"},
    ],
    ids=lambda step: next(iter(step)),
)
def test_any_word_for_some_step_lets_its_name_speak(step: dict[str, Value]) -> None:
    assert _read("rerank", step).type_source == "heuristic:rerank"
    assert _read("validate_token", step).stage_type is None


def test_what_a_step_has_counts_where_its_name_says_nothing() -> None:
    documents = {"openinference.span.kind": "CHAIN", "retrieval.documents.0.document.id": "a"}

    assert _read("my_step", documents).type_source == "heuristic:has_doc_ids"
    assert _read("rerank", documents).type_source == "heuristic:rerank"


@given(st.text(max_size=300))
def test_any_name_can_be_asked_for(name: str) -> None:
    found = guess(name)

    assert found is None or found == guess(name)
