"""What is known of weights that a Job has fetched, and where that is written down: at the claim that holds them.

There it lasts as long as they do. Whoever deletes the claim deletes the record, and the weights are fetched anew.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from heliograph_api import naming
from heliograph_operator.resources import CLAIMS

RECORD_ANNOTATION = f"{naming.GROUP}/weights"


@dataclass(frozen=True)
class Fetched:
    """Weights that are there.

    Attributes:
        folder: What their folder is called.
        bytes: Size of all files; None when the fetcher's word was lost.
        sha256: Digest of the one file, where there is but one.
        revisions: The commit that each source's revision stood for, by field of the ImageModel.
    """

    folder: str
    bytes: int | None = None
    sha256: str | None = None
    revisions: Mapping[str, str] = field(default_factory=dict)

    def annotation(self) -> str:
        """Return the record as the claim bears it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def of(cls, children: Iterable[Mapping[str, Any]]) -> Self | None:
        """Return the record of the claim among some children, if there is one."""
        claim = next((child for child in children if child["kind"] == CLAIMS.kind), None)
        return cls.read(claim) if claim is not None else None

    @classmethod
    def read(cls, claim: Mapping[str, Any], annotation: str = RECORD_ANNOTATION) -> Self | None:
        """Return the record that a PersistentVolumeClaim bears by an annotation, if it does and it can be read."""
        text = (claim["metadata"].get("annotations") or {}).get(annotation)
        try:
            return cls(**json.loads(text)) if text else None
        except (ValueError, TypeError):
            return None  # somebody else's words; the fetcher will find what is there
