"""Settings: read once, checked at the start, and every complaint names what to change."""

import re
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalvault_otel.errors import SettingsError
from evalvault_otel.settings import MIB, Settings, is_loopback, join_address, load, split_address
from tests.support.strategies import bounded

DEFAULTS = Settings()
OTHERS: dict[str, tuple[str, object]] = {
    "db": ("postgresql://me@localhost/traces", "postgresql://me@localhost/traces"),
    "grpc": ("127.0.0.1:0", "127.0.0.1:0"),
    "http": ("localhost:1", "localhost:1"),
    "api": ("[::1]:8080", "[::1]:8080"),
    "workers": ("3", 3),
    "insecure": ("yes", True),
    "api_keys": ("ingest:abc", "ingest:abc"),
    "api_keys_file": ("keys.txt", "keys.txt"),
    "rate_requests": ("10", 10.0),
    "rate_bytes": ("1000", 1000.0),
    "tls_cert": ("cert.pem", "cert.pem"),
    "tls_key": ("key.pem", "key.pem"),
    "tls_client_ca": ("ca.pem", "ca.pem"),
    "cors_origins": ("https://app.example", "https://app.example"),
    "other_signals": ("discard", "discard"),
    "max_request_bytes": ("1000", 1000),
    "max_queue_bytes": ("2000", 2000),
    "commit_bytes": ("3000", 3000),
    "ack_timeout_s": ("0.5", 0.5),
    "commit_delay_ms": ("0", 0.0),
    "read_timeout_s": ("3", 3.0),
    "spool": ("off", "off"),
    "max_spool_bytes": ("4000", 4000),
    "quiet_ms": ("100", 100.0),
    "max_streams": ("9", 9),
    "stream_heartbeat_s": ("1", 1.0),
    "max_rejects": ("7", 7),
    "max_reject_bytes": ("5000", 5000),
    "rules": ("rules.yaml", "rules.yaml"),
    "run_fallback": ("trace", "trace"),
    "run_from_session": ("yes", True),
    "expected_assets": ("plan=policy", "plan=policy"),
    "thresholds": ("limits.json", "limits.json"),
    "required_stages": ("input", "input"),
    "phoenix_url": ("http://p:6006", "http://p:6006"),
    "jaeger_url": ("http://j:16686", "http://j:16686"),
    "viewers": ("Tempo=http://t/{trace_id}", "Tempo=http://t/{trace_id}"),
    "shutdown_s": ("1", 1.0),
}
# What a setting cannot stand without.
COMPANIONS = {
    "tls_cert": {"EVALVAULT_TLS_KEY": "key.pem"},
    "tls_key": {"EVALVAULT_TLS_CERT": "cert.pem"},
    "tls_client_ca": {"EVALVAULT_TLS_CERT": "cert.pem", "EVALVAULT_TLS_KEY": "key.pem"},
}


def _env(name: str) -> str:
    (variable,) = [spec.metadata["env"] for spec in fields(Settings) if spec.name == name]
    return str(variable)


def test_without_anything_the_defaults_hold() -> None:
    assert load(env={}) == DEFAULTS
    assert (DEFAULTS.db, DEFAULTS.grpc, DEFAULTS.http, DEFAULTS.api) == (
        "evalvault.db",
        "127.0.0.1:4317",
        "127.0.0.1:4318",
        "127.0.0.1:8000",
    )
    assert (DEFAULTS.max_request_bytes, DEFAULTS.insecure) == (64 * MIB, False)


def test_every_setting_is_in_the_table_of_this_test() -> None:
    assert list(OTHERS) == [spec.name for spec in fields(Settings)]


@pytest.mark.parametrize("name", OTHERS)
def test_every_setting_has_a_variable(name: str) -> None:
    said, value = OTHERS[name]

    found = getattr(load(env={_env(name): f" {said} ", **COMPANIONS.get(name, {})}), name)

    assert (found, type(found)) == (value, type(getattr(DEFAULTS, name)))
    assert found != getattr(DEFAULTS, name)


def test_an_empty_variable_counts_as_unset() -> None:
    assert load(env={_env(name): "  " for name in OTHERS}) == DEFAULTS


def test_options_come_before_variables_and_missing_options_do_not() -> None:
    env = {"EVALVAULT_DB": "env.db", "EVALVAULT_QUIET_MS": "5"}

    found = load({"db": "option.db", "quiet_ms": None}, env)

    assert (found.db, found.quiet_ms) == ("option.db", 5)


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        DEFAULTS.db = "other"  # type: ignore[misc]  # what is tested


@pytest.mark.parametrize(
    "variable, said",
    [
        ("EVALVAULT_MAX_REQUEST_BYTES", "many"),
        ("EVALVAULT_MAX_REQUEST_BYTES", "1.5"),
        ("EVALVAULT_QUIET_MS", "soon"),
        ("EVALVAULT_INSECURE", "perhaps"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(variable: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable}='{said}'"):
        load(env={variable: said})


@pytest.mark.parametrize(
    "word, value", [("true", True), ("1", True), ("YES", True), ("false", False), ("0", False), ("no", False)]
)
def test_yes_and_no(word: str, value: bool) -> None:
    assert load(env={"EVALVAULT_INSECURE": word}).insecure is value


def _named(name: str) -> str:
    """How a complaint names a setting: by its option and its variable."""
    return re.escape(f"--{name.replace('_', '-')} ({_env(name)})")


@pytest.mark.parametrize(
    "name",
    [
        "max_request_bytes",
        "max_queue_bytes",
        "commit_bytes",
        "ack_timeout_s",
        "quiet_ms",
        "max_rejects",
        "max_reject_bytes",
        "max_spool_bytes",
        "read_timeout_s",
        "shutdown_s",
        "workers",
    ],
)
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_and_times_are_positive(name: str, value: int) -> None:
    with pytest.raises(SettingsError, match=f"{_named(name)} must be greater than 0, not {value}"):
        load({name: value}, {})


@pytest.mark.parametrize("name", ["commit_delay_ms", "rate_requests", "rate_bytes"])
def test_delays_and_rates_are_not_negative(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{_named(name)} must not be negative, not -1"):
        load({name: -1.0}, {})


def test_the_largest_request_fits_what_grpc_can_count() -> None:
    assert load({"max_request_bytes": 2**31 - 1}, {}).max_request_bytes == 2**31 - 1
    with pytest.raises(SettingsError, match=f"{_named('max_request_bytes')} must be at most 2147483647"):
        load({"max_request_bytes": 2**31}, {})


def test_other_signals_are_rejected_or_discarded() -> None:
    with pytest.raises(SettingsError, match=f"{_named('other_signals')} must be reject or discard, not 'keep'"):
        load({"other_signals": "keep"}, {})


def test_no_delay_is_fine_and_a_negative_one_is_not() -> None:
    assert load({"commit_delay_ms": 0.0}, {}).commit_delay_ms == 0
    with pytest.raises(SettingsError, match=_named("commit_delay_ms")):
        load({"commit_delay_ms": -0.1}, {})


@pytest.mark.parametrize("name", ["ack_timeout_s", "commit_delay_ms", "quiet_ms", "shutdown_s"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_times_are_numbers_that_end(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=_named(name)):
        load(env={_env(name): value})


# Addresses.


@pytest.mark.parametrize(
    "address, host, port",
    [
        ("127.0.0.1:4317", "127.0.0.1", 4317),
        ("localhost:0", "localhost", 0),
        (":80", "127.0.0.1", 80),
        ("[::1]:65535", "::1", 65535),
        ("db.example.com:1", "db.example.com", 1),
    ],
)
def test_an_address_is_host_and_port(address: str, host: str, port: int) -> None:
    assert split_address(address) == (host, port)


@pytest.mark.parametrize(
    "address", ["", "4317", "127.0.0.1", "host:", "host:http", "host:-1", "host:65536", "host:²", "host: 1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="use host:port"):
        split_address(address)


@pytest.mark.parametrize("address", ["::1:4317", "::1", ":::4317", "[::1:4317", "2001:db8::1:4317"])
def test_an_ipv6_host_needs_its_brackets(address: str) -> None:
    with pytest.raises(SettingsError, match=r"brackets, for example \[::1\]:4317"):
        split_address(address)


@settings(bounded, max_examples=200)
@given(st.text(max_size=20) | st.from_regex(r"\S{0,5}:\d{0,6}"))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        host, port = split_address(text)
    except SettingsError:
        return
    assert host
    assert 0 <= port <= 65535
    assert split_address(join_address(host, port)) == (host, port)


@pytest.mark.parametrize(
    "host, loopback",
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - only asked about
        ("::", False),
        ("10.0.0.1", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("name", ["grpc", "http", "api"])
def test_an_address_that_others_can_reach_needs_consent(name: str) -> None:
    said: dict[str, Any] = {name: "0.0.0.0:1"}
    with pytest.raises(
        SettingsError, match=rf"{_named(name)}: 0\.0\.0\.0:1 can be reached .* keys create.*API_KEYS.* --insecure"
    ):
        load(said, {})

    for consent in ({"insecure": True}, {"api_keys": "ingest:abc"}, {"api_keys_file": "keys.txt"}):
        assert getattr(load({**said, **consent}, {}), name) == "0.0.0.0:1"


# TLS.


@pytest.mark.parametrize(
    "given, missing", [("tls_cert", "tls_key"), ("tls_key", "tls_cert"), ("tls_client_ca", "tls_cert")]
)
def test_half_of_tls_is_refused(given: str, missing: str) -> None:
    given_option, missing_option = (f"--{name.replace('_', '-')}" for name in (given, missing))
    said = rf"{given_option} \({_env(given)}\) needs {missing_option} \({_env(missing)}\)"
    with pytest.raises(SettingsError, match=said):
        load({given: "file.pem"}, {})
