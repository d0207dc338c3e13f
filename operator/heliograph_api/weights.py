"""What of a spec must be fetched before a runtime can load it, and what the spec reads like once it is there.

Every part has a place of its own in the model's folder, told by the spec alone, so that the pod which will serve the
model can be planned before anything is fetched.
"""

import copy
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from posixpath import basename
from typing import Any
from urllib.parse import unquote, urlsplit

from heliograph_api import naming
from heliograph_api.engine import choose_engine
from heliograph_api.errors import SpecError
from heliograph_api.localai import ArtifactSource
from heliograph_api.manifest import ImageModel
from heliograph_api.sources import (
    BucketSource,
    ClaimSource,
    LocalSource,
    RegistrySource,
    RepositorySource,
    Source,
    UrlSource,
    parse_repository,
    parse_source,
)

RECEIPT = ".heliograph.json"
"""File in a model's folder that tells what was fetched for it."""

_FORMAT = 1
"""Part of every folder's name; another number has everything fetched anew."""
_MODEL_FIELD = "spec.parameters.model"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FILE_ENDINGS = (".safetensors", ".gguf", ".ckpt", ".bin", ".pt", ".pth", ".json", ".yaml")


@dataclass(frozen=True)
class Part:
    """Something to fetch.

    Attributes:
        field: Field of the ImageModel that names it.
        source: Where it comes from.
        target: Its place in the model's folder: of a file, or of a folder where the source holds several.
        sha256: Digest that the file must have.
        allow: Globs of the files to take; all when empty.
        ignore: Globs of the files to leave out.
    """

    field: str
    source: Source
    target: str
    sha256: str | None = None
    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class WeightsPlan:
    """How a model comes by its weights.

    Attributes:
        parts: What is fetched; nothing where the files lie in a claim already.
        local_spec: The spec as the runtime reads it: each part by its place in the model's folder, or below `root`.
        claim: Claim that `parameters.model` names by `pvc://`.
    """

    parts: tuple[Part, ...]
    local_spec: Mapping[str, Any]
    claim: ClaimSource | None = None


def plan_weights(model: ImageModel, *, present: Callable[[str], bool] = lambda _: False, root: str = "") -> WeightsPlan:
    """Return how a model that is no alias comes by its weights.

    `OWNER/NAME` without a scheme is a repository, unless a claim of the model's own (`serving.cache.existingClaim`) or
    one of its `download_files` says that it is a path, or it is present.

    Args:
        model: The model.
        present: Tells whether a path is there already, where that can be known.
        root: The model's folder as the runtime will name it; empty where its paths begin there.

    Raises:
        SpecError: A source is written wrongly, or two parts have the same place.
    """
    planner = _Planner(model, present, root)
    planner.plan_model()
    planner.plan_companions()
    planner.plan_files()
    planner.check_places()
    return WeightsPlan(tuple(planner.parts), planner.local, planner.claim)


def folder_name(model: ImageModel, plan: WeightsPlan) -> str:
    """Return what the folder of fetched weights is called, which tells them from all others.

    It depends on their sources, and on all else that decides which files are chosen.
    """
    chosen = [asdict(part) for part in plan.parts]
    basis = [_FORMAT, chosen, choose_engine(model.spec).name, bool(model.spec.f16)]
    digest = hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()[:8]
    return f"{naming.child_name(model.name)}-{digest}"


class _Planner:
    """Collects the parts of a spec, and writes their places into a copy of it."""

    def __init__(self, model: ImageModel, present: Callable[[str], bool], root: str) -> None:
        self.parts: list[Part] = []
        self.local: dict[str, Any] = copy.deepcopy(dict(model.raw_spec))
        self.claim: ClaimSource | None = None
        self._spec = model.spec
        self._present = present
        self._root = f"{root}/" if root else ""
        cache = model.spec.serving.cache
        self._has_claim = cache is not None and cache.existing_claim is not None

    def plan_model(self) -> None:
        """Plan `parameters.model` and the artifact that stands for it."""
        spec = self._spec
        if spec.artifacts:
            place = self._take_artifact(0, spec.artifacts[0].source, "model")
            self.local["parameters"] = {**(self.local.get("parameters") or {}), "model": place}
            return
        if not spec.model:
            return
        source = parse_source(spec.model, field=_MODEL_FIELD) or self._repository(spec.model)
        if isinstance(source, ClaimSource):
            if self._has_claim:
                raise SpecError(
                    _MODEL_FIELD, "names a claim by pvc://, and so does serving.cache.existingClaim; keep one"
                )
            self.claim = source
            self.local["parameters"]["model"] = source.path or "."
        elif source:
            self.local["parameters"]["model"] = self._take(_MODEL_FIELD, source, _place("model", source))

    def plan_companions(self) -> None:
        """Plan what other fields name beside the model itself."""
        spec = self._spec
        control = spec.diffusers.control_net if spec.diffusers else None
        if control:
            field = "spec.diffusers.control_net"
            if source := parse_source(control, field=field) or self._repository(control):
                self.local["diffusers"]["control_net"] = self._take(field, source, _place("control_net", source))
        if spec.lora_adapter and (source := parse_source(spec.lora_adapter, field="spec.lora_adapter")):
            target = _place("lora_adapter", source)
            self.local["lora_adapter"] = self._take("spec.lora_adapter", source, target)
        for index, adapter in enumerate(spec.lora_adapters or ()):
            field = f"spec.lora_adapters[{index}]"
            if source := parse_source(adapter, field=field):
                self.local["lora_adapters"][index] = self._take(field, source, _place(f"lora_adapters/{index}", source))
        for index, option in enumerate(spec.options or ()):
            key, _, value = option.partition(":")
            field = f"spec.options[{index}]"
            if key.endswith("_path") and (source := parse_source(value, field=field)):
                target = self._take(field, source, _place(f"options/{key}", source))
                self.local["options"][index] = f"{key}:{target}"

    def plan_files(self) -> None:
        """Plan `download_files`, and the artifacts beside the model's."""
        spec = self._spec
        for index, file in enumerate(spec.download_files or ()):
            if self._present(file.filename):
                continue
            field = f"spec.download_files[{index}].uri"
            source = parse_source(file.uri, field=field) or parse_repository(file.uri)
            if source is None:
                raise SpecError(field, "names no source; write hf://OWNER/NAME/FILE or https://HOST/PATH")
            if isinstance(source, RepositorySource) and not (source.path or source.quantization):
                raise SpecError(field, "names a whole repository; name the file in it: hf://OWNER/NAME/FILE")
            self._take(field, source, file.filename, sha256=file.sha256 or None)
        taken = {option.partition(":")[0] for option in spec.options or ()}
        for index, artifact in enumerate(spec.artifacts or ()):
            name = artifact.name or f"companion-{index}"
            if index == 0:
                continue
            target = self._take_artifact(index, artifact.source, f"artifacts/{name}")
            if name not in taken:
                self.local["options"] = [*(self.local.get("options") or ()), f"{name}:{target}"]

    def check_places(self) -> None:
        """Refuse parts outside the model's folder, and two of which one would lie where, or in what, the other does."""
        for part in self.parts:
            names = part.target.split("/")
            if not all(names) or {".", "..", RECEIPT} & set(names) or _CONTROL.search(part.target):
                raise SpecError(part.field, "names no file that can lie in the model's folder; write another name")
        places: dict[str, str] = {}
        for part in sorted(self.parts, key=lambda part: f"{part.target}/"):
            for place, field in places.items():
                if f"{part.target}/".startswith(f"{place}/"):
                    raise SpecError(part.field, f"has the place {part.target}, where {field} puts its own; rename one")
            places[part.target] = part.field

    def _repository(self, text: str) -> Source | None:
        """Return the repository that a text without a scheme names, unless it is a path."""
        fetched = {file.filename for file in self._spec.download_files or ()}
        # `OWNER/NAME` and `FOLDER/FILE` look alike; no repository is called like a file of weights.
        is_file = text.count("/") == 1 and text.lower().endswith(_FILE_ENDINGS)
        is_path = self._has_claim or is_file or any(f"{name}/".startswith(f"{text}/") for name in fetched)
        return None if is_path or self._present(text) else parse_repository(text)

    def _take_artifact(self, index: int, artifact: ArtifactSource, target: str) -> str:
        """Take the snapshot of an artifact, and return its place as the runtime will name it."""
        field = f"spec.artifacts[{index}].source"
        found = parse_source(artifact.repo, field=f"{field}.repo") or parse_repository(artifact.repo.strip())
        if not isinstance(found, RepositorySource) or found.hub != "huggingface" or found.path or found.quantization:
            raise SpecError(
                f"{field}.repo",
                "names no whole repository of Hugging Face; write OWNER/NAME or hf://OWNER/NAME, and choose files with "
                "allow_patterns",
            )
        return self._take(
            field,
            RepositorySource("huggingface", found.repo, artifact.revision or found.revision),
            target,
            allow=artifact.allow_patterns or (),
            ignore=artifact.ignore_patterns or (),
        )

    def _take(
        self,
        field: str,
        source: Source,
        target: str,
        *,
        sha256: str | None = None,
        allow: list[str] | tuple[str, ...] = (),
        ignore: list[str] | tuple[str, ...] = (),
    ) -> str:
        """Take something to fetch, and return its place as the runtime will name it."""
        if isinstance(source, ClaimSource) and field != _MODEL_FIELD:
            raise SpecError(field, "pvc:// is for parameters.model alone; write the path in that claim")
        self.parts.append(Part(field, source, target, sha256, tuple(allow), tuple(ignore)))
        return f"{self._root}{target}"


def _place(folder: str, source: Source) -> str:
    """Return where a source is put: the folder itself for several files, a file in it for one."""
    name = _file_name(source)
    return f"{folder}/{name}" if name else folder


def _file_name(source: Source) -> str:
    """Return what the one file of a source is called; empty for a source of several files, or that may be one."""
    match source:
        case RepositorySource(repo=repo, quantization=str(quantization)):
            return f"{basename(repo)}-{quantization}.gguf"
        case RepositorySource(path=str(path)):
            return basename(path) if "." in basename(path) else ""
        case UrlSource(url):
            return basename(unquote(urlsplit(url).path))
        case RegistrySource(repository=repository, one_file=True):
            return basename(repository)
        case BucketSource(key=key) | ClaimSource(path=key) | LocalSource(path=key):
            return basename(key)
        case _:
            return ""
