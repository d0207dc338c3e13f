"""Manifests as people write them: an ImageModel, or a LocalAI model file as it is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heliograph_api import naming
from heliograph_api.documents import read_documents
from heliograph_api.errors import SpecError
from heliograph_api.keys import unknown_keys
from heliograph_api.spec import ImageModelSpec, parse_spec

_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True)
class ImageModel:
    """An ImageModel whose spec has been checked.

    Attributes:
        name: `metadata.name`.
        namespace: `metadata.namespace`; empty outside a cluster.
        uid: `metadata.uid`; empty outside a cluster.
        generation: `metadata.generation`; 0 outside a cluster.
        spec: The typed spec.
        raw_spec: The spec as it was written.
    """

    name: str
    spec: ImageModelSpec
    raw_spec: Mapping[str, Any]
    namespace: str = ""
    uid: str = ""
    generation: int = 0

    @property
    def model_id(self) -> str:
        """Return the public id of the model: `spec.name`, else `metadata.name`."""
        return self.spec.name or self.name

    @property
    def routes(self) -> list[str]:
        """Return every name by which a request reaches the model, the public id first."""
        return list(dict.fromkeys([self.model_id, self.name, *(self.spec.serving.aliases or ())]))

    @classmethod
    def from_object(cls, obj: Mapping[str, Any]) -> "ImageModel":
        """Return the ImageModel of an API object; raise `SpecError` naming the first field at fault."""
        metadata = obj.get("metadata") or {}
        raw_spec = obj.get("spec")
        if raw_spec is None:
            raise SpecError("spec", "is required: write a LocalAI model under it, at least parameters.model")
        return cls(
            name=metadata.get("name", ""),
            namespace=metadata.get("namespace", ""),
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            spec=parse_spec(raw_spec),
            raw_spec=raw_spec,
        )


def read_manifests(text: str, *, default_name: str) -> list[ImageModel]:
    """Return the models in a YAML text of one or more documents.

    A document with `kind: ImageModel` is one; any other mapping is a LocalAI model file, and a list holds several of
    those. A key that `spec.serving` does not have is refused, as kubectl refuses it.

    Args:
        text: The YAML text.
        default_name: Name of a LocalAI model that has none, usually the stem of the file's name.

    Raises:
        SpecError: A document is not YAML, of another kind, or not a valid ImageModel.
    """
    entries = [
        entry for document in read_documents(text) for entry in (document if isinstance(document, list) else [document])
    ]
    return [_read_entry(entry, default_name) for entry in entries]


def _read_entry(entry: Any, default_name: str) -> ImageModel:
    if not isinstance(entry, dict):
        raise SpecError("manifest", f"must be an object of keys and values, not {type(entry).__name__}")
    if "kind" not in entry and "apiVersion" not in entry:
        name = entry.get("name") or default_name
        entry = {"metadata": {"name": object_name(str(name))}, "spec": entry}
    else:
        _check_envelope(entry)
    _refuse_unknown_serving_keys(entry.get("spec"))
    return ImageModel.from_object(entry)


def _check_envelope(entry: dict[str, Any]) -> None:
    if entry.get("kind") != naming.KIND or entry.get("apiVersion") != naming.API_VERSION:
        raise SpecError(
            "kind",
            f"{entry.get('apiVersion')} {entry.get('kind')} is not served here; "
            f"write apiVersion: {naming.API_VERSION} and kind: {naming.KIND}",
        )
    metadata = entry.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str):
        raise SpecError("metadata.name", "is required: a string, such as flux.1-dev")
    if len(name) > 253 or not _DNS_SUBDOMAIN.fullmatch(name):
        raise SpecError(
            "metadata.name",
            "must have lower-case letters, digits, '-' and '.' only, with a letter or digit at both ends of each part "
            "between dots, such as flux.1-dev; spec.name may have any spelling",
        )


def _refuse_unknown_serving_keys(raw_spec: Any) -> None:
    for unknown in unknown_keys(raw_spec) if isinstance(raw_spec, dict) else ():
        if unknown.path.startswith("spec.serving."):
            raise SpecError(unknown.path, f"is not a known key{unknown.hint}")


def object_name(name: str) -> str:
    """Return a valid `metadata.name` for a LocalAI model, whose `name` may be in any spelling."""
    parts = (re.sub(r"[^a-z0-9]+", "-", part).strip("-") for part in name.lower().split("."))
    return ".".join(filter(None, parts))[:253].rstrip("-.") or "model"
