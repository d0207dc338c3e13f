"""Types of single fields that several parts of the ImageModel share."""

import re
from typing import Annotated

from pydantic import Field, StringConstraints

from heliograph_api.rules import Rule

MAX_OPTIONS = 64
MAX_LIST = 32
MAX_TEXT = 1024

_PARENT = re.compile(r"(^|/)\.\.(/|$)")
_PATH_OPTION = re.compile(r"^[a-z0-9_]*(path|dir):(/|(.*/)?\.\.(/|$))")

ShortText = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
LongText = Annotated[str, StringConstraints(max_length=16_384)]

# The backslash is doubled once for Python's sake alone: the API server receives `\\.` inside a CEL string literal.
NotAbsolute = Rule(
    cel="!self.startsWith('/')",
    message="must not be an absolute path; write it relative to the folder that holds the model's files",
    check=lambda value: not value.startswith("/"),
)
NoParent = Rule(
    cel=r"!self.matches('(^|/)\\.\\.(/|$)')",
    message="must not contain '..'; write a path inside the folder that holds the model's files",
    check=lambda value: not _PARENT.search(value),
)

RelativePath = Annotated[str, StringConstraints(max_length=MAX_TEXT), NotAbsolute, NoParent]
"""A path inside the model's own folder; a repository id or a URI passes too (LocalAI `core/config/model_config.go`)."""

Option = Annotated[
    str,
    StringConstraints(max_length=MAX_TEXT),
    Rule(
        cel=r"!self.matches('^[a-z0-9_]*(path|dir):(/|(.*/)?\\.\\.(/|$))')",
        message="a path option must stay inside the model's folder: neither an absolute path nor '..'",
        check=lambda value: not _PATH_OPTION.search(value),
    ),
]
"""One `key:value` entry of LocalAI's `options`."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
Steps = Annotated[int, Field(ge=0, le=1000)]
GuidanceScale = Annotated[float, Field(ge=0, le=100)]
Seed = Annotated[int, Field(ge=-1, le=4_294_967_295)]
"""-1 means random, as in LocalAI; otherwise 32 bits, the range that both engines' generators share."""
ClipSkip = Annotated[int, Field(ge=0, le=24)]

DNSName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Quantity = Annotated[
    str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$", max_length=32)
]
"""A Kubernetes resource quantity, always written as a string here."""
