"""Which scope a path takes, and which paths take none."""

import re

from heliograph_api.images.paths import PREFIXES
from heliograph_gateway.files.links import SIGNED_PATH
from heliograph_gateway.health import PROBE_PATHS
from heliograph_gateway.keys.caller import ADMIN, MODELS
from heliograph_gateway.page.paths import is_page

DOCS_PATH = "/docs"
OPENAPI_PATH = "/openapi.json"
USAGE_PATH = "/v1/usage"

OPEN_PATHS = PROBE_PATHS | {DOCS_PATH, OPENAPI_PATH}
"""Paths that answer without a key: the kubelet carries none, and a browser that opens the documentation neither.
/metrics is not one: it names the models.

Beside them there are only what the documentation is shown with, the pages with their files, which hold no data, and the
links to stored files, `SIGNED_PATH`, which are signed instead.
"""
_SHOWN_WITH = f"{DOCS_PATH}/static/"
_PREFIX = "|".join(map(re.escape, PREFIXES))
_ADMIN = re.compile(rf"/metrics|(?:{_PREFIX})/admin(?:/.*)?", re.DOTALL)
_LOAD = re.compile(rf"(?:{_PREFIX})/models/.*/load", re.DOTALL)


def is_open(path: str) -> bool:
    """Return whether a path answers without a key."""
    return (
        path in OPEN_PATHS or path.startswith(_SHOWN_WITH) or is_page(path) or SIGNED_PATH.fullmatch(path) is not None
    )


def scopes_for(method: str, path: str) -> tuple[str, ...]:
    """Return the scopes of which a request needs one, known path or not."""
    if path == USAGE_PATH:
        # With `models` a key sees what it used itself, with `admin` what all of them used.
        return (MODELS, ADMIN)
    if _ADMIN.fullmatch(path) or (method == "POST" and _LOAD.fullmatch(path)):
        return (ADMIN,)
    return (MODELS,)
