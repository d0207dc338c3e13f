"""Which files of a repository a model needs."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from heliograph_api.weights import Part
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.listing import Entry

INDEX = "model_index.json"
CONFIG = "config.json"
_PICKLES = {".bin", ".ckpt", ".pt", ".pth", ".pkl"}
_WEIGHTS = {".safetensors", ".gguf"}
_TEXT = {".json", ".txt", ".model", ".jinja"}
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_LISTED = 12
_MOST_OF_INDEX = 4 << 20
_DANGER = "which can run code as they are read; name a source with safetensors or GGUF, or convert them"


def choose_gguf(entries: Iterable[Entry], quantization: str, *, part: Part, repo: str) -> str:
    """Return the path of the one GGUF file whose name ends in a quantization.

    Raises:
        FetchError: There is none, or more than one; the message lists what there is.
    """
    names = [entry.path for entry in entries if entry.path.lower().endswith(".gguf")]
    wanted = quantization.lower()
    found = [
        name for name in names if re.search(rf"(^|[-._/]){re.escape(wanted)}$", name.lower().removesuffix(".gguf"))
    ]
    if len(found) == 1:
        return found[0]
    many = f"{len(found)} GGUF files end in {quantization}" if found else f"no GGUF file ends in {quantization}"
    raise FetchError("WeightsNotFound", f"{part.field}: in {repo} {many}; name one of them: {_list(found or names)}")


def choose_snapshot(
    entries: Sequence[Entry], index: Mapping[str, object] | None, *, part: Part, repo: str, half: bool
) -> list[str]:
    """Return the paths that a diffusers pipeline needs, or one part of it, or the one file of any other repository.

    Of a repository with an index these are the folders that it names, the weights once: as safetensors, in half
    precision where that is wanted and there. So it is with a repository of one part, such as a ControlNet. Pickles are
    never among them.

    Args:
        entries: What the repository holds.
        index: Content of its model_index.json, if it has one.
        part: What is fetched.
        repo: What the repository is called.
        half: Whether weights in half precision are wanted.

    Raises:
        FetchError: There are weights as pickles alone, or several files of which none is named.
    """
    paths = [entry.path for entry in entries if _wanted(entry.path, part)]
    if part.allow:
        return _safe(paths, part=part, repo=repo)
    if index is None and CONFIG in paths:
        return _component([path for path in paths if "/" not in path], part=part, where=repo, half=half)
    if index is None:
        return _alone(paths, part=part, repo=repo)
    chosen = [INDEX]
    for folder in _folders(index):
        below = [path for path in paths if path.startswith(f"{folder}/")]
        chosen += _component(below, part=part, where=f"{repo}/{folder}", half=half)
    return chosen


def choose_lacking(
    entries: Sequence[Entry],
    index: Mapping[str, object],
    held: Collection[str] | None,
    *,
    part: Part,
    repo: str,
    half: bool,
) -> list[str]:
    """Return the paths of a pipeline that a checkpoint in one file lacks: configs and tokenizers.

    Args:
        entries: What the repository of the checkpoint's family holds.
        index: Content of its model_index.json.
        held: The pipeline's parts whose weights the checkpoint holds, those of all others being taken as well; None
            when it holds all of them.
        part: What is fetched.
        repo: What the repository is called.
        half: Whether weights in half precision are wanted.

    Raises:
        FetchError: There are weights as pickles alone.
    """
    paths = [entry.path for entry in entries if _wanted(entry.path, part)]
    chosen = [INDEX]
    for folder in _folders(index):
        below = [path for path in paths if path.startswith(f"{folder}/")]
        whole = held is not None and folder not in held
        chosen += _component(below, part=part, where=f"{repo}/{folder}", half=half) if whole else _texts(below)
    return chosen


def refuse_pickle(path: str, *, part: Part, where: str) -> None:
    """Raise `FetchError` for a file whose name is a pickle's."""
    if PurePosixPath(path).suffix.lower() in _PICKLES:
        raise FetchError("UnsafeWeights", f"{part.field}: {where} is one of the pickles, {_DANGER}")


def _folders(index: Mapping[str, object]) -> list[str]:
    return [name for name, value in index.items() if isinstance(value, list) and value and value[0]]


def _texts(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if PurePosixPath(path).suffix in _TEXT and ".index." not in path]


def _component(paths: Sequence[str], *, part: Part, where: str, half: bool) -> list[str]:
    chosen = _texts(paths)
    weights = [path for path in paths if PurePosixPath(path).suffix == ".safetensors"]
    if not weights:
        if any(PurePosixPath(path).suffix in _PICKLES for path in paths):
            raise _unsafe(part, where)
        return chosen
    variants: dict[str, list[str]] = {}
    for path in weights:
        variants.setdefault(_variant(path), []).append(path)
    variant = "fp16" if half and "fp16" in variants else "" if "" in variants else min(variants)
    shards = f".safetensors.index.{variant}.json" if variant else ".safetensors.index.json"
    return [*chosen, *variants[variant], *(path for path in paths if path.endswith(shards))]


def _variant(path: str) -> str:
    """Return the variant that a file of weights is of: `model.fp16-00001-of-00002.safetensors` is fp16."""
    stem = _SHARD.sub("", PurePosixPath(path).name.removesuffix(".safetensors"))
    return stem.partition(".")[2]


def _alone(paths: Sequence[str], *, part: Part, repo: str) -> list[str]:
    weights = [path for path in paths if PurePosixPath(path).suffix.lower() in _WEIGHTS]
    if not weights and any(PurePosixPath(path).suffix.lower() in _PICKLES for path in paths):
        raise _unsafe(part, repo)
    if not weights:
        raise FetchError("WeightsNotFound", f"{part.field}: {repo} holds no safetensors and no GGUF file; name another")
    if len(weights) > 1:
        hint = "name one as OWNER/NAME/FILE, or a GGUF file by its quantization as OWNER/NAME:Q4_0"
        raise FetchError(
            "WeightsNotFound", f"{part.field}: {repo} holds several files of weights; {hint}: {_list(weights)}"
        )
    return [path for path in paths if PurePosixPath(path).suffix.lower() in _WEIGHTS | _TEXT]


def _wanted(path: str, part: Part) -> bool:
    if any(name.startswith(".") for name in PurePosixPath(path).parts):
        return False
    allowed = not part.allow or any(fnmatchcase(path, glob) for glob in part.allow)
    return allowed and not any(fnmatchcase(path, glob) for glob in part.ignore)


def _safe(paths: Sequence[str], *, part: Part, repo: str) -> list[str]:
    safe = [path for path in paths if PurePosixPath(path).suffix.lower() not in _PICKLES]
    if not safe:
        raise (
            _unsafe(part, repo)
            if paths
            else FetchError("WeightsNotFound", f"{part.field}: no file of {repo} is among allow_patterns; correct them")
        )
    return safe


def _unsafe(part: Part, where: str) -> FetchError:
    return FetchError("UnsafeWeights", f"{part.field}: {where} has its weights as pickles alone, {_DANGER}")


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(sorted(names)[:_LISTED]) + more


def read_index(pieces: Iterable[bytes]) -> dict[str, object] | None:
    """Return a model_index.json, given in pieces, or None for one that is none, as by its size."""
    content = bytearray()
    for piece in pieces:
        content += piece
        if len(content) > _MOST_OF_INDEX:
            return None
    try:
        index = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return index if isinstance(index, dict) else None
