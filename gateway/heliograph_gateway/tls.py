"""HTTPS: the certificate and its key, read anew when their files change."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

from heliograph_gateway.database import StateError
from heliograph_gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
_NO_PASSWORD = ""
"""Given for the key's password, since OpenSSL would ask for one at the terminal."""


class Tls:
    """A certificate with its key, as TLS 1.2 and 1.3 are served with it.

    Attributes:
        context: What new connections are made with; another one once there is a new certificate, so that no handshake
            sees one that is half changed.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files.

        Raises:
            StateError: They cannot be used; the message names the setting.
        """
        self._certificate = certificate
        self._key = key
        self._contents = self._read()
        self.context = self._loaded(self._contents)

    def server_options(self) -> dict[str, Any]:
        """Return what uvicorn is to be told."""
        return {"ssl_context_factory": lambda _config, _default: self.context}

    async def watch(self) -> None:
        """Look at the files every 2 s, until cancelled; connections that are open keep what they have."""
        problem = ""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                if context := await asyncio.to_thread(self._changed):
                    self.context = context
                    logger.info("%s: a new certificate is served", self._certificate)
                problem = ""
            except StateError as error:
                if str(error) != problem:
                    logger.error("%s; the certificate that was read before is still served", error)  # noqa: TRY400 - a traceback says no more
                problem = str(error)

    def _changed(self) -> ssl.SSLContext | None:
        """Return a context with what the files hold; None when that is what they held before."""
        contents = self._read()
        if contents == self._contents:
            return None
        context = self._loaded(contents)
        self._contents = contents
        return context

    def _read(self) -> tuple[bytes, bytes]:
        return _read("tls_cert_file", self._certificate), _read("tls_key_file", self._key)

    def _loaded(self, contents: tuple[bytes, bytes]) -> ssl.SSLContext:
        """Return a new context with the certificate and the key, of which `contents` was read a moment ago."""
        if b"ENCRYPTED" in contents[1]:
            raise StateError(f"tls_key_file: {self._key} asks for a password; name a key without one")
        context = _context()
        try:
            context.load_cert_chain(self._certificate, self._key, password=_NO_PASSWORD)
        except (OSError, ValueError) as error:
            raise StateError(self._explained(error)) from None
        return context

    def _explained(self, error: OSError | ValueError) -> str:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            return (
                f"tls_key_file: {self._key} is not the key of {self._certificate}; name the one that it was made with"
            )
        return f"tls_cert_file: {self._certificate} with tls_key_file: {self._key} cannot be used; both must be in PEM"


def open_tls(settings: GatewaySettings) -> Tls | None:
    """Return the certificate to serve with, or None for plain HTTP.

    Raises:
        StateError: It cannot be used.
    """
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    return Tls(settings.tls_cert_file, settings.tls_key_file)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StateError(f"{setting}: {path} cannot be read: {error.strerror}; name a file in PEM") from None
