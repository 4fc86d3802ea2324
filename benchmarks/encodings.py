"""OTLP/JSON beside protobuf: the same requests over HTTP, made beforehand, in one run on one PostgreSQL."""

from .attempt import attempt
from .driver import measured_rate
from .figures import Figure, at_least
from .options import Options
from .serving import serving

_RATIO = "OTLP/JSON / protobuf, both over HTTP"
_LEAST = 0.5
_SECONDS, _QUICK_SECONDS = 12.0, 3.0


def run(options: Options) -> list[Figure]:
    """The ratio of the two rates, the mean of two turns of each."""
    return attempt([_RATIO], lambda: _figures(_QUICK_SECONDS if options.quick else _SECONDS))


def _figures(seconds: float) -> list[Figure]:
    rates: dict[str, list[float]] = {"protobuf": [], "json": []}
    bytes_per_span: dict[str, float] = {}
    with serving() as (server, database):
        for turn, encoding in enumerate(("protobuf", "json", "json", "protobuf")):
            load = {"transport": "http", "encoding": encoding, "exports": 0, "seconds": seconds, "seed": turn + 1}
            rate, watched = measured_rate(server, database, [load])
            rates[encoding].append(rate)
            bytes_per_span[encoding] = watched.sent.bytes_per_span
    protobuf, json = (sum(found) / len(found) for found in rates.values())
    detail = (
        f"protobuf {protobuf:,.0f} spans/s of {bytes_per_span['protobuf']:,.0f} bytes, "
        f"JSON {json:,.0f} spans/s of {bytes_per_span['json']:,.0f} bytes"
    )
    return [at_least(_RATIO, json / protobuf, _LEAST, "", detail)]
