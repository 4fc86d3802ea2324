"""TLS of all addresses: PEM files in, what gRPC and uvicorn want out. Files are read and checked once, at the start."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from ..errors import SettingsError
from ..settings import Settings

_NAMED: Final = {
    "tls_cert": "--tls-cert (EVALVAULT_TLS_CERT)",
    "tls_key": "--tls-key (EVALVAULT_TLS_KEY)",
    "tls_client_ca": "--tls-client-ca (EVALVAULT_TLS_CLIENT_CA)",
}


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate with its key, and the authorities of client certificates that receivers ask for, if any."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Tls | None":
        """What the settings name; None without TLS.

        Raises:
            SettingsError: a file cannot be read or used; option and variable are named.
        """
        if not settings.tls_cert:
            return None
        client_ca = Path(settings.tls_client_ca) if settings.tls_client_ca else None
        found = cls(Path(settings.tls_cert), Path(settings.tls_key), client_ca)
        for name in _NAMED:
            if getattr(settings, name):
                _readable(name, Path(getattr(settings, name)))
        found.context(client_certificates=True)
        return found

    def context(self, *, client_certificates: bool) -> ssl.SSLContext:
        """A server's context: TLS 1.2 or newer; clients must show a certificate if they are to and authorities are set.

        Raises:
            SettingsError: a file is not what it should be, or key and certificate do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # A password is never asked for: the terminal of a server has nobody in front of it.
            context.load_cert_chain(self.cert, self.key, password=_no_password)
        except (ssl.SSLError, ValueError) as exc:
            both = f"{_NAMED['tls_cert']} {self.cert} and {_NAMED['tls_key']} {self.key}"
            raise SettingsError(f"{both} are not a certificate and its key, as PEM without a password: {exc}") from exc
        if client_certificates and self.client_ca:
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError as exc:
                named = f"{_NAMED['tls_client_ca']} {self.client_ca}"
                raise SettingsError(f"{named} holds no certificate as PEM: {exc}") from exc
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def uvicorn_options(self, *, client_certificates: bool) -> dict[str, Any]:
        """Arguments of `uvicorn.Config`."""
        options: dict[str, Any] = {"ssl_certfile": str(self.cert), "ssl_keyfile": str(self.key)}
        if client_certificates and self.client_ca:
            options |= {"ssl_ca_certs": str(self.client_ca), "ssl_cert_reqs": int(ssl.CERT_REQUIRED)}
        return options

    def grpc_credentials(self) -> Any:
        """Credentials of a gRPC server; clients must show a certificate when authorities are set."""
        pair = (self.key.read_bytes(), self.cert.read_bytes())
        ca = self.client_ca.read_bytes() if self.client_ca else None
        return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)


def _readable(name: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as exc:
        raise SettingsError(f"{_NAMED[name]}: cannot read {path}: {exc.strerror}") from exc


def _no_password() -> str:
    raise ValueError("the key is encrypted")
