"""Links to stored files that need no key: whoever has one may follow it until it expires."""

import hmac
import re
import time
from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request

from heliograph_api.errors import APIError
from heliograph_gateway.database import StateError
from heliograph_gateway.files.base_url import base_url
from heliograph_gateway.files.signing_key import read_or_make
from heliograph_gateway.files.store import StoredFile
from heliograph_gateway.settings import MIN_SIGNING_KEY, GatewaySettings

DOWNLOAD_PATH = "/v1/files/download/{file_id}/{name}"
"""Path of a link, as a route is written."""

SIGNED_PATH = re.compile(r"/v1/files/download/[^/]+/[^/]+")
"""The same as an expression. What matches needs no key, since it has a signature instead."""


class Links:
    """Makes and checks links.

    A signature is the HMAC-SHA256 of the path and of the time of expiry. The host is not signed: it differs between the
    request that makes a link and the one that follows it.
    """

    def __init__(self, settings: GatewaySettings, *, now: Callable[[], float] = time.time) -> None:
        """Prepare the links; `open` gets the key."""
        self._settings = settings
        self._now = now
        self._key = b""

    def open(self, path: Path, *, shared: bool = False) -> None:
        """Take the configured key, or else the one in a file, which is made where there is none.

        Args:
            path: The file.
            shared: Whether gateways that do not have this file follow the same links.

        Raises:
            StateError: The file can be neither read nor made, what it holds is too short for a key, or a key must be
                configured and is not.
        """
        configured = self._settings.signing_key
        if configured is None and shared:
            raise StateError(
                "signing_key: is not set, and gateways that share a database must sign links alike; set "
                "HELIOGRAPH_GATEWAY_SIGNING_KEY to the same key for each of them: openssl rand -hex 32 makes one"
            )
        try:
            key = configured.get_secret_value().encode() if configured else read_or_make(path)
        except OSError as error:
            raise StateError(
                f"signing_key: {path} cannot be used: {error.strerror}; set the key, or name a data_dir that can be "
                "written"
            ) from None
        if len(key) < MIN_SIGNING_KEY:
            raise StateError(f"{path} holds no key; delete it, so that a new one is made")
        self._key = key

    def url(self, request: Request, stored: StoredFile) -> str:
        """Return a link that lives as long as its file.

        Args:
            request: The request that is answered with it, which tells how its client reaches the gateway.
            stored: The file.
        """
        path = DOWNLOAD_PATH.format(file_id=stored.id, name=stored.name)
        base = base_url(
            request,
            external_url=self._settings.external_url,
            trust_forwarded_headers=self._settings.trust_forwarded_headers,
        )
        expires = str(stored.expires_at)
        return f"{base}{path}?expires={expires}&signature={self._signature(path, expires)}"

    def check(self, path: str, expires: str, signature: str) -> None:
        """Raise `APIError` (403, as S3 and CloudFront answer) unless a link is whole and has not expired.

        Args:
            path: Path of the request.
            expires: Its query parameter, as it came.
            signature: Likewise.
        """
        if not hmac.compare_digest(self._signature(path, expires).encode(), signature.encode()):
            raise APIError(
                403,
                "The signature does not fit this link; use the link as it was given, with all of its query.",
                code="invalid_signature",
            )
        if int(expires) <= self._now():
            raise APIError(
                403, "This link has expired; ask for the picture again, or for b64_json.", code="link_expired"
            )

    def _signature(self, path: str, expires: str) -> str:
        if not self._key:
            raise RuntimeError("the links were not opened")
        return hmac.digest(self._key, f"{path}\n{expires}".encode(), "sha256").hex()
