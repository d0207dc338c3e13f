"""What is told of a model's state by whoever runs it: the operator in an ImageModel's status, `serve` itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heliograph_api.status import FINAL_REASONS, PASSING_REASONS

STOPPING = "Stopping"
"""Reason of a model whose runtime ends with the process that runs it."""
_FINAL = FINAL_REASONS | {STOPPING}


@dataclass(frozen=True)
class Observed:
    """What is told of a model, beside its spec and its replicas.

    Attributes:
        reason: Why it is not ready, in one word of CamelCase; None when nothing is told, or nothing is wrong.
        failed: Whether it stays so until somebody does something about it.
        progress: How much of its weights is fetched, 0 to 1; None when that is not known, or they are not fetched now.
    """

    reason: str | None = None
    failed: bool = False
    progress: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether it is no use to wait."""
        return self.reason in _FINAL


NOTHING = Observed()
"""What is known of a model that nobody has told of."""

_MOST_WORD = 64


def observed(obj: Mapping[str, Any]) -> Observed:
    """Return what an ImageModel's status tells, which anybody may have written who may write it.

    What was seen for an older spec, such as that there is no replica, may be so no more: then nothing is known until
    the operator looks again.
    """
    status = obj.get("status") or {}
    ready = next((it for it in status.get("conditions") or () if it.get("type") == "Ready"), None)
    if ready is None or ready.get("status") == "True":
        return NOTHING
    reason = str(ready.get("reason") or "")[:_MOST_WORD]
    if not reason or ready.get("observedGeneration", 0) != obj["metadata"].get("generation", 0):
        return NOTHING
    return Observed(
        reason=reason,
        failed=reason not in PASSING_REASONS,
        progress=_progress(status) if reason == "Fetching" else None,
    )


def _progress(status: Mapping[str, Any]) -> float | None:
    percent = (status.get("weights") or {}).get("percent")
    return percent / 100 if isinstance(percent, int) and 0 <= percent <= 100 else None
