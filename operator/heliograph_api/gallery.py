"""Entries of LocalAI's model gallery, resolved to the model YAML that LocalAI would install.

An entry names a base (`url`, a file with a `config_file` in it) and what differs (`overrides`, `files`). Source of the
rules: mudler/LocalAI `core/gallery/models.go` and `models_types.go`.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heliograph_api.documents import read_documents
from heliograph_api.errors import SpecError

EMPTY_BASE = "virtual.yaml"
"""The base of entries that have all in `overrides`; it says nothing itself."""

_ENTRY_KEYS = frozenset({"url", "overrides", "files", "config_file", "variants"})


@dataclass(frozen=True)
class LocalAIModel:
    """A model YAML and what its gallery says of it.

    Attributes:
        raw: The model YAML; `download_files` are the entry's and the base's `files`.
        license: The licence as the gallery writes it; empty when it says nothing.
        urls: Where people read about the model.
        changes: What is not as LocalAI has it, and why.
    """

    raw: dict[str, Any]
    license: str = ""
    urls: tuple[str, ...] = ()
    changes: list[str] = field(default_factory=list)


def is_gallery(document: Any) -> bool:
    """Return whether a YAML document is a gallery's index: a list of entries."""
    entries = document if isinstance(document, list) else []
    return any(isinstance(entry, dict) and _ENTRY_KEYS & entry.keys() for entry in entries)


def is_base(document: Any) -> bool:
    """Return whether a YAML document is a base, to which the entries of a gallery point."""
    return isinstance(document, dict) and "config_file" in document


def base_file(entry: Mapping[str, Any]) -> str:
    """Return the file name of the base that an entry names; empty when it names none.

    `github:mudler/LocalAI/gallery/flux.yaml@master` names flux.yaml.
    """
    return str(entry.get("url") or "").partition("@")[0].rpartition("/")[2]


def resolve(entry: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> LocalAIModel:
    """Return the model that LocalAI would install of an entry, or of a base alone.

    `overrides` win over the base; lists replace each other there too. One thing is done better: a list of `options`
    that replaces the base's would lose the options that name files which the entry fetches, and these are kept.

    Args:
        entry: The entry.
        base: The base that it names; None where it names none.

    Raises:
        SpecError: The entry or its base is not as a gallery has it.
    """
    config, changes = _merged(_config(base or {}), _config(entry)), []
    overrides = entry.get("overrides") or {}
    if not isinstance(overrides, dict):
        raise SpecError("overrides", f"must be an object of keys and values, not {type(overrides).__name__}")
    files = _files(base or {}) | _files(entry)
    merged = _merged(config, overrides)
    if kept := _lost_options(config, merged, files):
        merged["options"] = [*kept, *merged["options"]]
        changes.append(
            f"spec.options: {', '.join(kept)} come from the base {base_file(entry)}; LocalAI loses them, since the "
            "entry's own options replace the base's"
        )
    for key in ("name", "description"):
        merged.pop(key, None)
    head = {key: str(entry[key]).strip() for key in ("name", "description") if entry.get(key)}
    tail = {}
    if files:
        tail["download_files"] = [*(merged.pop("download_files", None) or ()), *files.values()]
        changes.append("spec.download_files: what the gallery calls files")
    if entry.get("variants"):
        changes.append("variants: left out; each is an entry of its own")
    urls = tuple(map(str, entry.get("urls") or ()))
    return LocalAIModel({**head, **merged, **tail}, str(entry.get("license") or ""), urls, changes)


def _config(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `config_file`: the text of a YAML document in a base, an object in an entry."""
    config = source.get("config_file") or {}
    if isinstance(config, str):
        documents = read_documents(config)
        config = documents[0] if documents else {}
    if not isinstance(config, dict):
        raise SpecError("config_file", "must hold an object of keys and values: a LocalAI model")
    return config


def _files(source: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the files of an entry or a base by name."""
    files = source.get("files") or []
    if not isinstance(files, list) or not all(isinstance(file, dict) and file.get("filename") for file in files):
        raise SpecError("files", "must be a list of objects with filename, uri and sha256")
    return {str(file["filename"]): file for file in files}


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with another's keys over its own; objects are merged, all else is replaced."""
    merged = copy.deepcopy(dict(below))
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else copy.deepcopy(value)
    return merged


def _lost_options(config: Mapping[str, Any], merged: Mapping[str, Any], files: Mapping[str, Any]) -> list[str]:
    """Return the options of the base that `overrides` dropped, though the entry fetches the files that they name."""
    before, after = _options(config), _options(merged)
    named = {option.partition(":")[0] for option in after}
    lost = [option for option in before if option.partition(":")[0] not in named]
    kept = [option for option in lost if option.partition(":")[2] in files]
    return [*(["diffusion_model"] if kept and "diffusion_model" in lost else []), *kept]


def _options(config: Mapping[str, Any]) -> list[str]:
    options = config.get("options")
    return [option for option in options if isinstance(option, str)] if isinstance(options, list) else []
