"""What `opentelemetry-instrument` finds of us: a hook, a resource detector, the names of our variables.

The exporter's entry point is the exporter itself. Both callables run in every instrumented process where the package is
installed, so they are cheap, do nothing unless asked to, and never raise: an error there would cost all
instrumentation.
"""

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource, ResourceDetector
from opentelemetry.sdk.trace import TracerProvider

from ..conventions import names
from . import guard
from .config import read_settings
from .context import valid_id
from .instrument import add_stamper, exporting_to, instrument

# Read by `opentelemetry-instrument`, which makes an option of each name that is written in capitals.
EVALVAULT_ENDPOINT = "EVALVAULT_ENDPOINT"
EVALVAULT_DB = "EVALVAULT_DB"
EVALVAULT_API_KEY = "EVALVAULT_API_KEY"
EVALVAULT_RUN_ID = "EVALVAULT_RUN_ID"
EVALVAULT_OTEL_ENABLED = "EVALVAULT_OTEL_ENABLED"


def pre_instrument() -> None:
    """Add our span processor if `EVALVAULT_OTEL_ENABLED=true`; stamp spans that our exporter exports already."""
    try:
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider) and exporting_to(provider, None) is not None:
            add_stamper(provider)
        elif read_settings().enabled:
            instrument()
    except Exception as error:  # noqa: BLE001 - whatever it is, the program is instrumented by the others
        guard.note("pre_instrument", "nothing is exported to EvalVault: %s", error)


class RunDetector(ResourceDetector):
    """Puts `EVALVAULT_RUN_ID` on the resource: the run of a whole process, such as a nightly job."""

    def detect(self) -> Resource:
        """The run, if the variable names one."""
        run_id = valid_id(read_settings().run_id)
        return Resource({names.RUN_ID: run_id}) if run_id else Resource.get_empty()
