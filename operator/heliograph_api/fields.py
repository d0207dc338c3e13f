"""Types of single fields that several parts of the ImageModel share."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from heliograph_api.rules import Rule, keys_matching, matching

MAX_OPTIONS = 64
MAX_LIST = 32
MAX_TEXT = 1024
MAX_INT = 2_147_483_647

_PARENT = re.compile(r"(^|/)\.\.(/|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_GUIDANCE_OPTION = re.compile(r"^(cfg_scale|guidance_scale)(:|$)")
_GUIDANCE_NUMBER = re.compile(r":\s*([0-9]{1,2}(\.[0-9]*)?|\.[0-9]+|100(\.0*)?)$")
_ESCAPING_OPTION = re.compile(r"^[^:]*(path|dir)[^:]*:\s*(/|(.*/)?\.\.(/|$))")

ShortText = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
LongText = Annotated[str, StringConstraints(max_length=16_384)]

OneLine = Rule(
    cel=f"!self.matches(r'{_CONTROL.pattern}')",
    message="must not contain line breaks or control characters; write it on one line",
    check=lambda value: not _CONTROL.search(value),
)
NotAbsolute = Rule(
    cel="!self.startsWith('/')",
    message="must not be an absolute path; write it relative to the folder that holds the model's files",
    check=lambda value: not value.startswith("/"),
)
NoParent = Rule(
    cel=f"!self.matches(r'{_PARENT.pattern}')",
    message="must not contain '..'; write a path inside the folder that holds the model's files",
    check=lambda value: not _PARENT.search(value),
)

ModelName = Annotated[str, StringConstraints(max_length=512), OneLine]
"""A public name of a model, in any spelling; a request's `model` is as long at most."""

RelativePath = Annotated[str, StringConstraints(max_length=MAX_TEXT), OneLine, NotAbsolute, NoParent]
"""A path inside the model's own folder; a repository id or a URI passes too (LocalAI `core/config/model_config.go`)."""

Option = Annotated[
    str,
    StringConstraints(max_length=MAX_TEXT),
    OneLine,
    Rule(
        cel=f"!self.matches(r'{_ESCAPING_OPTION.pattern}')",
        message="a path option must stay inside the model's folder: neither an absolute path nor '..'",
        check=lambda value: not _ESCAPING_OPTION.search(value),
    ),
    Rule(
        cel=f"!self.matches(r'{_GUIDANCE_OPTION.pattern}') || self.matches(r'{_GUIDANCE_NUMBER.pattern}')",
        message="the guidance scale must be a number from 0 to 100, such as cfg_scale:6",
        check=lambda value: not _GUIDANCE_OPTION.search(value) or bool(_GUIDANCE_NUMBER.search(value)),
    ),
]
"""One `key:value` entry of LocalAI's `options`; a key with `path` or `dir` in it names a file."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WholeNumber = BeforeValidator(_whole)
"""Makes an integer field take 30.0, as the API server does; comes last in an `Annotated`."""

Steps = Annotated[int, Field(ge=0, le=1000), WholeNumber]
GuidanceScale = Annotated[float, Field(ge=0, le=100)]
Seed = Annotated[int, Field(ge=-1, le=4_294_967_295), WholeNumber]
"""-1 means random, as in LocalAI; otherwise 32 bits, the range that both engines' generators share."""
ClipSkip = Annotated[int, Field(ge=0, le=24), WholeNumber]
Gpus = Annotated[int, Field(ge=0, le=16), WholeNumber]
Replicas = Annotated[int, Field(ge=0, le=1000), WholeNumber]

Sha256 = Annotated[
    str,
    StringConstraints(max_length=64),
    matching(r"([0-9a-f]{64})?", "must be a SHA-256 digest: 64 digits of 0-9 and a-f, in lower case"),
]
DNSName = Annotated[
    str,
    StringConstraints(max_length=253),
    matching(
        r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?",
        "must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.', such as fast-ssd",
    ),
]
_LABEL_KEY = r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
LabelKey = Annotated[
    str, StringConstraints(max_length=317), matching(_LABEL_KEY, "must be a label key, such as nvidia.com/gpu.product")
]
LabelValue = Annotated[
    str,
    StringConstraints(max_length=63),
    matching(
        r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?",
        "must be a label value: letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    ),
]
LabelSelector = Annotated[
    dict[str, LabelValue],
    Field(max_length=16),
    keys_matching(_LABEL_KEY, "each key must be a label key, such as nvidia.com/gpu.product"),
]

Quantity = Annotated[
    str,
    StringConstraints(max_length=32),
    matching(
        r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?",
        "must be a resource quantity, such as '500m', '2' or '16Gi'",
    ),
]
"""A Kubernetes resource quantity, always written as a string here."""
ResourceList = Annotated[
    dict[str, Quantity],
    Field(max_length=16),
    keys_matching(
        r"cpu|memory|ephemeral-storage|hugepages-.+|[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
        "each key must be cpu, memory, ephemeral-storage or a resource with a domain, such as nvidia.com/gpu",
    ),
]
