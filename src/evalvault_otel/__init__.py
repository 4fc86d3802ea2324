"""evalvault-otel: OpenTelemetry traces of RAG applications in, stages, assets and debug reports out.

The names here are what a traced program uses (docs/sdk.md). Each is imported when it is first asked for, so that
`import evalvault_otel` costs next to nothing.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .sdk.asset import asset
    from .sdk.builder import StageEventBuilder
    from .sdk.content import ContentPolicy, use_content_policy
    from .sdk.exporter import EvalVaultSpanExporter
    from .sdk.guard import WrongUse, problems, strict
    from .sdk.instrument import instrument
    from .sdk.loading import track_assets
    from .sdk.processor import EvalVaultSpanProcessor
    from .sdk.propagation import propagate
    from .sdk.run import current_run, run
    from .sdk.stage import Stage, current_stage, stage
    from .sdk.tracer import StageContext, StageTracer
    from .sdk.tracking import (
        begin_stage_asset_tracking,
        end_stage_asset_tracking,
        get_stage_assets,
        track_catalog_asset_to_stage,
        track_mapping_asset_to_stage,
        track_policy_asset_to_stage,
        track_prompt_asset_to_stage,
        track_query_asset_to_stage,
        track_resolver_asset_to_stage,
        track_schema_asset_to_stage,
        track_screen_asset_to_stage,
        track_source_asset_to_stage,
        track_tool_asset_to_stage,
    )

__version__ = "0.1.0"
__all__ = [
    "ContentPolicy",
    "EvalVaultSpanExporter",
    "EvalVaultSpanProcessor",
    "Stage",
    "StageContext",
    "StageEventBuilder",
    "StageTracer",
    "WrongUse",
    "__version__",
    "asset",
    "begin_stage_asset_tracking",
    "current_run",
    "current_stage",
    "end_stage_asset_tracking",
    "get_stage_assets",
    "instrument",
    "problems",
    "propagate",
    "run",
    "stage",
    "strict",
    "track_assets",
    "track_catalog_asset_to_stage",
    "track_mapping_asset_to_stage",
    "track_policy_asset_to_stage",
    "track_prompt_asset_to_stage",
    "track_query_asset_to_stage",
    "track_resolver_asset_to_stage",
    "track_schema_asset_to_stage",
    "track_screen_asset_to_stage",
    "track_source_asset_to_stage",
    "track_tool_asset_to_stage",
    "use_content_policy",
]

_MODULES: Final = {
    "asset": ("asset",),
    "content": ("ContentPolicy", "use_content_policy"),
    "guard": ("WrongUse", "problems", "strict"),
    "builder": ("StageEventBuilder",),
    "tracer": ("StageContext", "StageTracer"),
    "exporter": ("EvalVaultSpanExporter",),
    "instrument": ("instrument",),
    "processor": ("EvalVaultSpanProcessor",),
    "loading": ("track_assets",),
    "propagation": ("propagate",),
    "run": ("current_run", "run"),
    "stage": ("Stage", "current_stage", "stage"),
    "tracking": tuple(name for name in __all__ if name.endswith(("_asset_tracking", "_stage_assets", "_to_stage"))),
}
_HOMES: Final = {name: module for module, names in _MODULES.items() for name in names}

# Who uses this as a library decides what becomes of its log; `serve` writes it to standard error.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.sdk.{home}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
