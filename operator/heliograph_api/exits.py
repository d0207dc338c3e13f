"""How `heliograph fetch` tells whoever started it how it ended: by its exit status, and by one line of JSON.

The line is the container's termination message, and the last line of the log for where that can't be written.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, Self

from pydantic import TypeAdapter, ValidationError

FETCH_PERMANENT = 65
"""Exit status when no further try can help before somebody changes something (EX_DATAERR of sysexits.h)."""
FETCH_TEMPORARY = 75
"""Exit status when another try may succeed, and goes on where this one ended (EX_TEMPFAIL of sysexits.h)."""

FetchProblem = Literal[
    "WeightsNotFound", "WeightsUnauthorized", "ChecksumMismatch", "UnsafeWeights", "InvalidSource", "TooLarge",
    "DiskFull", "VolumeUnavailable", "SourceUnreachable", "Interrupted",
]  # fmt: skip
"""Why weights can't be fetched. Whether that may pass is the exit status' to say."""

FetchReason = Literal[FetchProblem, "Fetched"]

_MOST_BYTES = 2048
"""What a kubelet keeps of a log as termination message; of the file it would keep 4096 bytes."""
_MOST_REVISIONS_BYTES = 1200


@dataclass(frozen=True)
class FetchResult:
    """How a fetch ended.

    Attributes:
        reason: `Fetched`, or why not.
        message: Of a failure: the field, the problem and the remedy.
        bytes: Size of all files that were fetched.
        files: How many these are.
        revisions: The commit that each source's revision stood for, by field of the ImageModel.
        sha256: Digest of the one file, where there is but one.
    """

    reason: FetchReason
    message: str = ""
    bytes: int = 0
    files: int = 0
    revisions: Mapping[str, str] = field(default_factory=dict)
    sha256: str | None = None

    def line(self) -> str:
        """Return it as one line of JSON, short enough for a kubelet: what is too much is left out."""
        shown: dict[str, str] = {}
        for name, commit in self.revisions.items():
            if len(json.dumps({**shown, name: commit})) > _MOST_REVISIONS_BYTES:
                break
            shown[name] = commit
        result = replace(self, revisions=shown)
        while len(line := json.dumps(asdict(result))) > _MOST_BYTES:
            result = replace(result, message=result.message[: len(result.message) * 3 // 4])
        return line

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the result that ends a termination message or a log; None when there is none."""
        try:
            return TypeAdapter(cls).validate_json(text.strip().rpartition("\n")[2])
        except ValidationError:
            return None
