"""A LocalAI model as an ImageModel: the object, what was changed and why, and what to know about it."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from heliograph_api import naming
from heliograph_api.advice import spec_warnings
from heliograph_api.complaints import did_you_mean
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel, object_name
from heliograph_api.sdcpp_options import REFUSED, read_option
from heliograph_api.sources import LocalSource, parse_source
from heliograph_api.spec_rules import SDCPP_BACKENDS, uses_sdcpp
from heliograph_api.weights import plan_weights

_BACKENDS = ("diffusers", *SDCPP_BACKENDS)
_DRAWING = frozenset({"image", "video"})
_DIFFUSERS_LAYOUT = frozenset({"vllm-omni"})
"""Backends that draw from the same repositories as diffusers."""


@dataclass(frozen=True)
class Placing:
    """What the administrator adds to every model.

    Attributes:
        namespace: `metadata.namespace`; none when empty.
        profile: `spec.serving.profile`; none when empty.
        claim: Claim that holds LocalAI's models folder, for models whose files lie there; none when empty. What follows
            a slash is the folder in it.
    """

    namespace: str = ""
    profile: str = ""
    claim: str = ""


@dataclass(frozen=True)
class Imported:
    """A LocalAI model as an ImageModel.

    Attributes:
        obj: The ImageModel as an API object.
        changes: What is not as LocalAI has it, and why.
        notes: What has no effect or works otherwise than in LocalAI.
    """

    obj: dict[str, Any]
    changes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return `metadata.name`."""
        return str(self.obj["metadata"]["name"])


def foreign_backend(raw: Mapping[str, Any]) -> str | None:
    """Return by what LocalAI serves a model that draws nothing; None for a model that draws, and for an alias.

    As in LocalAI, which takes a model for one that draws by its backend or its `known_usecases` (`GuessUsecases` in
    `core/config/model_config.go`). A model without a backend draws when it has a `diffusers` block or options of
    stable-diffusion.cpp. `unknown` stands for a model of which nothing says what it does.
    """
    backend = str(raw.get("backend") or "")
    if raw.get("alias") or backend in _BACKENDS or _draws(raw):
        return None
    if backend:
        return None if did_you_mean(backend, _BACKENDS) else backend
    options = raw.get("options") if isinstance(raw.get("options"), list) else ()
    names_parts = any(str(option).partition(":")[0].endswith(("_path", "diffusion_model")) for option in options or ())
    return None if "diffusers" in raw or names_parts else "unknown"


def import_model(raw: Mapping[str, Any], *, default_name: str, placing: Placing) -> Imported:
    """Return a LocalAI model as an ImageModel.

    Args:
        raw: The model YAML.
        default_name: Name of a model that has neither a name nor weights by which LocalAI calls it.
        placing: What the administrator adds.

    Raises:
        SpecError: The model cannot be served here; the error says why.
    """
    spec = copy.deepcopy(dict(raw))
    metadata: dict[str, Any] = {}
    changes = [*_name(spec, metadata, default_name), *_backend(spec), *_options(spec), *_digests(spec)]
    if placing.namespace:
        metadata["namespace"] = placing.namespace
    obj = {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": metadata, "spec": spec}
    model = ImageModel.from_object(obj)
    if model.spec.alias:
        return Imported(obj, changes, [warning.message for warning in spec_warnings(spec, model.spec)])
    local = _local_files(model)
    changes += _place(spec, placing, is_local="spec.parameters.model" in local)
    model = ImageModel.from_object(obj)
    notes = [warning.message for warning in spec_warnings(spec, model.spec)]
    return Imported(obj, changes, [*notes, *_advice(model, local)])


def _name(spec: dict[str, Any], metadata: dict[str, Any], default_name: str) -> Iterator[str]:
    """Give the object a name; the model keeps the id that LocalAI's clients ask for."""
    parameters = spec.get("parameters")
    if not spec.get("name") and isinstance(parameters, dict) and parameters.get("model"):
        spec["name"] = parameters["model"]
        yield "spec.name: a model without a name is called by its parameters.model in LocalAI"
        metadata["name"] = object_name(default_name)
        return
    given = str(spec.get("name") or default_name)
    metadata["name"] = object_name(given)
    if metadata["name"] != given:
        yield f"metadata.name: '{given}' is no name of an object; spec.name still is what requests ask for"


def _backend(spec: dict[str, Any]) -> Iterator[str]:
    backend = spec.get("backend")
    if backend in _DIFFUSERS_LAYOUT:
        spec["backend"] = "diffusers"
        yield f"spec.backend: diffusers in place of {backend}, which draws from the same repositories"
    elif backend and backend not in _BACKENDS and _draws(spec) and not did_you_mean(str(backend), _BACKENDS):
        raise SpecError("spec.backend", f"{backend} is no engine here; diffusers and stablediffusion-ggml are")
    elif not (backend or spec.get("alias") or "diffusers" in spec) and _is_safetensors(spec):
        spec["backend"] = "stablediffusion-ggml"
        yield "spec.backend: what LocalAI draws with where none is named; such a file alone would get diffusers here"


def _is_safetensors(spec: Mapping[str, Any]) -> bool:
    parameters = spec.get("parameters")
    model = parameters.get("model") if isinstance(parameters, dict) else None
    return str(model).lower().endswith(".safetensors")


def _options(spec: dict[str, Any]) -> Iterator[str]:
    """Drop what the engine does not follow of options, unless the model does not work without what it names."""
    options = spec.get("options")
    if not isinstance(options, list) or not _uses_sdcpp(spec, options):
        return
    followed = []
    for option in options:
        reading = read_option(option) if isinstance(option, str) else None
        if reading is None or not reading.lost:
            followed.append(option)
            continue
        key = option.partition(":")[0].strip()
        if key in REFUSED and key.endswith("_path"):
            raise SpecError("spec.options", f"{key} is needed, but has no effect here: {reading.lost}")
        if reading.kept is not None:
            followed.append(reading.kept)
        change = "is left out" if reading.kept is None else f"is now {reading.kept}"
        yield f"spec.options: {option} {change}: {reading.lost}"
    options[:] = followed


def _uses_sdcpp(spec: Mapping[str, Any], options: list[Any]) -> bool:
    """Return whether stable-diffusion.cpp serves it; nothing of the spec has been checked."""
    parameters = spec.get("parameters")
    return uses_sdcpp(
        backend=spec.get("backend"),
        model=str(parameters.get("model")) if isinstance(parameters, dict) else "",
        options=[option for option in options if isinstance(option, str)],
        has_diffusers="diffusers" in spec,
    )


def _digests(spec: dict[str, Any]) -> Iterator[str]:
    files = spec.get("download_files")
    for index, file in enumerate(files if isinstance(files, list) else ()):
        digest = file.get("sha256") if isinstance(file, dict) else None
        if isinstance(digest, str) and digest != digest.lower():
            file["sha256"] = digest.lower()
            yield f"spec.download_files[{index}].sha256: in lower case"


def _local_files(model: ImageModel) -> list[str]:
    """Return the fields that name files of LocalAI's models folder, which nothing fetches.

    Raises:
        SpecError: A source is written wrongly, or is not served in a cluster.
    """
    weights = plan_weights(model)
    for part in weights.parts:
        if isinstance(part.source, LocalSource):
            raise SpecError(
                part.field, "file:// names a file of LocalAI's machine; copy it to a claim: pvc://CLAIM/PATH"
            )
    fetched = {part.target for part in weights.parts}

    def is_missing(path: str) -> bool:
        return bool(path) and not any(
            f"{path}/".startswith(f"{place}/") or place.startswith(f"{path}/") for place in fetched
        )

    parameters = weights.local_spec.get("parameters") or {}
    missing = []
    if not weights.claim and is_missing(parameters.get("model") or ""):
        missing.append("spec.parameters.model")
    for index, option in enumerate(weights.local_spec.get("options") or ()):
        key, _, value = option.partition(":")
        if key.endswith("_path") and is_missing(value) and not parse_source(value, field="spec.options"):
            missing.append(f"spec.options[{index}]")
    adapters = {"lora_adapter": [model.spec.lora_adapter], "lora_adapters": weights.local_spec.get("lora_adapters")}
    missing += [f"spec.{key}" for key, paths in adapters.items() if any(is_missing(path or "") for path in paths or ())]
    return missing


def _place(spec: dict[str, Any], placing: Placing, *, is_local: bool) -> Iterator[str]:
    serving = dict(spec.get("serving") or {})
    if placing.profile:
        serving["profile"] = placing.profile
        yield "spec.serving.profile: as asked for"
    if placing.claim and is_local:
        claim, _, folder = placing.claim.partition("/")
        serving["cache"] = {"existingClaim": claim, **({"subPath": folder} if folder else {})}
        yield "spec.serving.cache.existingClaim: the claim that was named holds LocalAI's models folder"
    if serving:
        spec["serving"] = serving


def _advice(model: ImageModel, local: list[str]) -> Iterator[str]:
    spec = model.spec
    if local and not (spec.serving.cache and spec.serving.cache.existing_claim):
        yield (
            f"{', '.join(local)}: files of LocalAI's models folder, which nothing fetches: add download_files, or copy "
            "the folder to a claim and name it in spec.serving.cache.existingClaim (--claim)"
        )
    if spec.uses_sdcpp and not (spec.wants_cuda or spec.serving.gpus):
        yield (
            "spec.cuda: LocalAI draws on whatever device its stablediffusion-ggml was built for; here a model has a "
            "GPU when cuda: true asks for one"
        )


def _draws(raw: Mapping[str, Any]) -> bool:
    """Return whether `known_usecases` say that a model draws, and does nothing else."""
    usecases = raw.get("known_usecases")
    names = {str(name).lower().removeprefix("flag_") for name in usecases} if isinstance(usecases, list) else set()
    return bool(names) and names <= _DRAWING
