"""Batches of spans to an OTLP/HTTP receiver: encoded as the stock exporter does it, sent with retries of our own.

The stock exporter retries for up to a minute in SDK 1.30 and leaves out `Retry-After` and lost connections there, so
only its encoder is used. What may be tried again is said by the OTLP specification ("OTLP/HTTP Response").
"""

import gzip
import logging
import math
import os
import random
import threading
import time
from email.utils import parsedate_to_datetime
from typing import Final

import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from .. import __version__
from .bounded import BoundedCalls
from .config import SdkSettings
from .telling import Seldom

_LOG: Final = logging.getLogger(__name__)
PROTOBUF: Final = "application/x-protobuf"
_RETRYABLE: Final = frozenset({429, 502, 503, 504})
_FIRST_PAUSE_S: Final = 0.25
_LAST_PAUSE_S: Final = 5.0
_MOST_ANSWER: Final = 64 * 1024
_LEAST_TIMEOUT_S: Final = 0.05


class Sender:
    """Sends one body at a time. `retryable` says whether the last failure may be over later.

    Its connections belong to one process: a child of a fork opens its own.
    """

    def __init__(self, url: str, settings: SdkSettings, content_type: str = PROTOBUF) -> None:
        self.url = url
        self.retryable = False
        self._settings = settings
        self._stop = threading.Event()
        self._hurried = threading.Event()
        self._answers = False
        self._latest = float("inf")
        self._pid = 0
        self._session: requests.Session | None = None
        self._seldom = Seldom()
        self._calls = BoundedCalls()
        self._headers = {
            "Content-Type": content_type,
            "User-Agent": f"evalvault-otel/{__version__}",
            **({"x-api-key": settings.api_key} if settings.api_key else {}),
            **({"Content-Encoding": "gzip"} if settings.compression == "gzip" else {}),
        }

    def send(self, body: bytes, timeout_s: float) -> bool:
        """Deliver a body: as often as it takes, within `timeout_s` seconds; whether the receiver took it."""
        deadline = time.monotonic() + timeout_s
        packed = gzip.compress(body, 1) if self._settings.compression == "gzip" else body
        pause_s = _FIRST_PAUSE_S
        while True:
            problem, wanted_s = self._attempt(packed, min(deadline, self._latest))
            wait_s = max(wanted_s, pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)
            if not problem or not self.retryable or not self._waited(wait_s, deadline):
                break
        if problem:
            self._seldom.warn(_LOG, "send", "spans could not be sent to %s: %s", self.url, problem)
        return not problem

    def hurry(self, deadline: float) -> None:
        """Everything is to be over at `deadline` (of the monotonic clock)."""
        self._latest = min(deadline, self._latest)
        self._hurried.set()

    def stop(self) -> None:
        """Wait for no further attempt."""
        self._stop.set()
        self._hurried.set()

    def _waited(self, pause_s: float, deadline: float) -> bool:
        """Pause before the next attempt; False when there should be none."""
        if time.monotonic() + pause_s >= min(deadline, self._latest):
            return False
        if not self._hurried.is_set():
            # Who hurries may be told at once: nobody listens there.
            return not self._hurried.wait(pause_s) or self._answers
        return self._answers and not self._stop.wait(pause_s)

    def _attempt(self, body: bytes, deadline: float) -> tuple[str, float]:
        """Send once: what is wrong (nothing: ""), and the pause in seconds that the receiver asks for."""
        left_s = max(_LEAST_TIMEOUT_S, deadline - time.monotonic())
        session = self._of_this_process()
        try:
            answer, content = self._calls.run(lambda: self._post(session, body, left_s), left_s)
        except TimeoutError:
            self._session = None  # somebody still hangs in it
            self.retryable = self._answers = True
            return f"no answer within {left_s:.1f} s", 0.0
        except requests.ConnectionError as error:
            # At the end of a program nobody waits for a receiver that is not there.
            self._answers = isinstance(error, requests.Timeout)
            self.retryable = self._answers or not self._hurried.is_set()
            return f"{type(error).__name__}: {error}", 0.0
        except (requests.RequestException, OSError) as error:
            self.retryable = isinstance(error, requests.Timeout)
            return f"{type(error).__name__}: {error}", 0.0
        self._answers = True
        if answer.ok and not answer.is_redirect:
            self._tell_rejected(content)
            return "", 0.0
        self.retryable = answer.status_code in _RETRYABLE
        said = content.decode("utf-8", "replace")[:300]
        return f"HTTP {answer.status_code} {answer.reason} {said}", _retry_after(answer.headers.get("Retry-After"))

    def _post(self, session: requests.Session, body: bytes, timeout_s: float) -> tuple[requests.Response, bytes]:
        answer = session.post(
            self.url,
            data=body,
            headers=self._headers,
            timeout=timeout_s,
            allow_redirects=False,
            stream=True,
            verify=self._settings.certificate or True,
        )
        with answer:
            return answer, answer.raw.read(_MOST_ANSWER, decode_content=True) or b""

    def __str__(self) -> str:
        return self.url

    def _of_this_process(self) -> requests.Session:
        if self._session is None or self._pid != os.getpid():
            self._session = requests.Session()
            self._pid = os.getpid()
        return self._session

    def _tell_rejected(self, content: bytes) -> None:
        """Say what a receiver took only in part (OTLP, "Partial success")."""
        if not content or self._headers["Content-Type"] != PROTOBUF:
            return
        try:
            partial = ExportTraceServiceResponse.FromString(content).partial_success
        except Exception:  # noqa: BLE001 - the receiver took the spans, whatever else it says
            return
        if partial.rejected_spans:
            said = "the receiver refused %d spans: %s"
            self._seldom.warn(_LOG, "rejected", said, partial.rejected_spans, partial.error_message)


def _retry_after(said: str | None) -> float:
    """Seconds to wait as `Retry-After` has it, a number or a date (RFC 9110, 10.2.3); 0 where it says nothing."""
    if not said:
        return 0.0
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(said).timestamp() - time.time()
        except (TypeError, ValueError):
            return 0.0
    return 0.0 if math.isnan(seconds) else seconds


def traces_url(endpoint: str) -> str:
    """The address that takes spans, from a base URL or from one that has the path already."""
    base = endpoint.rstrip("/")
    if "://" not in base:
        base = f"http://{base}"
    return base if base.endswith("/v1/traces") else f"{base}/v1/traces"
