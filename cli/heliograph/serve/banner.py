"""What `serve` prints when it is ready: the URL, and a command that draws a picture as it is printed."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROMPT = "a red circle on a white background"
_SAVE = (
    "import base64,json,sys; "
    'open("picture.png","wb").write(base64.b64decode(json.load(sys.stdin)["data"][0]["b64_json"]))'
)


def banner(url: str, models: Sequence[str], *, with_key: bool) -> str:
    """Return the lines to print.

    Args:
        url: URL of the gateway.
        models: Public ids of the models that are ready, the one to draw with first.
        with_key: Whether requests must carry a key, which the command takes from HELIOGRAPH_API_KEY.
    """
    return f"Heliograph is ready at {url} (models: {', '.join(models)})\n{command(url, models[0], with_key=with_key)}"


def command(url: str, model: str, *, with_key: bool) -> str:
    """Return a line for a POSIX shell that draws a picture and writes it to picture.png."""
    # A model may answer with a link unless it is told otherwise.
    asked = {"model": model, "prompt": _PROMPT, "response_format": "b64_json"}
    body = json.dumps(asked, separators=(",", ":"), ensure_ascii=False)
    key = ' -H "Authorization: Bearer $HELIOGRAPH_API_KEY"' if with_key else ""
    return (
        f"curl -s {url}/v1/images/generations -H 'Content-Type: application/json'{key} -d {shlex.quote(body)} "
        f"| python3 -c {shlex.quote(_SAVE)}"
    )
