"""The first key of an installation in a cluster: made once, and never replaced.

The key itself is in one Secret, for people. The gateway reads another one, whose document has its SHA-256 alone.
"""

import base64
import logging
import secrets
import sys
from http import HTTPStatus
from typing import Any

from heliograph_gateway.keys.document import digest_of
from heliograph_gateway.keys.keyring import DEFAULT_NAME
from heliograph_gateway.kube import KubeApi, KubeError

logger = logging.getLogger(__name__)

KEY_FIELD = "api-key"
DOCUMENT_FIELD = "keys.yaml"
_KEY_BYTES = 32
_DOCUMENT = """\
# Made by `heliograph keys first`, and left alone ever since: change it as you like.
keys:
  - name: {name}
    sha256: {digest}
    scopes:
      - models
      - admin
"""


async def run(*, namespace: str, secret: str, digest_secret: str) -> int:
    """Make what is missing of the two Secrets with this process's account, and return the exit status.

    The document is made of the key that is there. So a run that was killed in between is gone on with, two at a time
    agree, and who deletes both Secrets gets a new key by the next run.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        async with await KubeApi.connect() as api:
            made = await _make(api, namespace, secret, digest_secret)
    except KubeError as error:
        print(f"heliograph keys first: {error}", file=sys.stderr)  # noqa: T201 - what a person who starts it is to read
        return 1
    logger.info(
        "the key is in Secret %s/%s" if made else "Secret %s/%s is there already; nothing was changed",
        namespace,
        secret if made else digest_secret,
    )
    return 0


async def _make(api: KubeApi, namespace: str, secret: str, digest_secret: str) -> bool:
    """Return whether anything had to be made."""
    if await _found(api, namespace, digest_secret):
        return False
    key = await _key(api, namespace, secret)
    document = _DOCUMENT.format(name=DEFAULT_NAME, digest=digest_of(key))
    return await _created(api, namespace, digest_secret, DOCUMENT_FIELD, document)


async def _key(api: KubeApi, namespace: str, secret: str) -> str:
    """Return the key that a Secret holds, which is made where there is none."""
    found = await _found(api, namespace, secret)
    if found is None:
        key = f"hg-{secrets.token_urlsafe(_KEY_BYTES)}"
        if await _created(api, namespace, secret, KEY_FIELD, key):
            return key
        found = await _found(api, namespace, secret) or {}
    text = base64.b64decode((found.get("data") or {}).get(KEY_FIELD, "")).decode(errors="replace").strip()
    if not text:
        raise KubeError(None, f"Secret {namespace}/{secret} has no {KEY_FIELD}; delete it, or put a key there")
    return text


async def _found(api: KubeApi, namespace: str, name: str) -> dict[str, Any] | None:
    try:
        return await api.get(f"{_collection(namespace)}/{name}")
    except KubeError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


async def _created(api: KubeApi, namespace: str, name: str, field: str, value: str) -> bool:
    """Create a Secret with one field; return False if somebody else was faster."""
    labels = {"app.kubernetes.io/name": "heliograph", "app.kubernetes.io/component": "gateway"}
    try:
        await api.create(
            _collection(namespace),
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "labels": labels},
                "type": "Opaque",
                "stringData": {field: value},
            },
        )
    except KubeError as error:
        if error.status == HTTPStatus.CONFLICT:
            return False
        raise
    return True


def _collection(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/secrets"
