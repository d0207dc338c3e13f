"""`heliograph import`: LocalAI's model files and gallery entries become ImageModels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from heliograph.yaml_text import to_yaml
from heliograph_api.documents import read_documents
from heliograph_api.errors import SpecError
from heliograph_api.gallery import EMPTY_BASE, LocalAIModel, base_file, is_base, is_gallery, resolve
from heliograph_api.localai_import import Imported, Placing, foreign_backend, import_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_SUFFIXES = {".yaml", ".yml"}
_NAMES_SHOWN = 3


@dataclass(frozen=True)
class _Found:
    """A LocalAI model and where it was found."""

    model: LocalAIModel
    origin: str
    default_name: str


@dataclass(frozen=True)
class _Result:
    imported: Imported
    found: _Found


@dataclass
class _Tally:
    """What became of all that was found.

    Attributes:
        results: What was imported, in order.
        refused: A line for each model that draws and could not be imported, and for each file that could not be read.
        foreign: Names of the models that draw nothing, by what LocalAI serves them with.
        baseless: Names of the gallery entries whose base was not given, by its file name.
    """

    results: list[_Result] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    foreign: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    baseless: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def import_files(paths: Sequence[Path], *, folder: Path | None, placing: Placing, check: bool) -> int:
    """Import LocalAI's models, and say on standard error what became of each.

    Args:
        paths: Model files, gallery indices, bases of gallery entries, and folders of these.
        folder: Where each ImageModel is written, in a file of its name; standard output when None.
        placing: What is added to every model.
        check: Whether to write nothing.

    Returns:
        The exit status: 1 when nothing was imported, or a model was left out that draws, or may draw.

    Raises:
        click.ClickException: A file that would be written is there already and differs, or cannot be written.
    """
    tally = _Tally()
    for found in _read_all(paths, tally):
        _import(found, placing, tally)
    _drop_dangling_aliases(tally)
    _rename_twins(tally)
    if not check:
        _write(tally.results, folder)
    _report(tally)
    return int(bool(tally.refused or tally.baseless) or not tally.results)


def _read_all(paths: Sequence[Path], tally: _Tally) -> Iterator[_Found]:
    documents: list[tuple[Path, Any]] = []
    for path in _files(paths):
        try:
            documents += [(path, document) for document in read_documents(path.read_text(encoding="utf-8"))]
        except SpecError as error:
            tally.refused.append(f"{path}: {error}")
        except UnicodeDecodeError:
            tally.refused.append(f"{path}: is not text in UTF-8; name a YAML file")
        except OSError as error:
            tally.refused.append(f"{path}: cannot be read: {error.strerror}")
    bases = {path.name: document for path, document in documents if is_base(document)}
    used: set[str] = set()
    for path, document in documents:
        if is_gallery(document):
            yield from _read_gallery(path, document, bases, used, tally)
    for path, document in documents:
        if is_base(document):
            if path.name not in used:
                yield from _resolve(document, None, path, str(path), tally)
        elif not is_gallery(document):
            yield from _read_models(path, document, tally)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield files, and those of folders; LocalAI keeps its own records in files whose names begin with a dot."""
    for path in paths:
        if path.is_dir():
            inside = (item for item in path.iterdir() if item.suffix in _SUFFIXES and item.is_file())
            yield from sorted(item for item in inside if not item.name.startswith("."))
        else:
            yield path


def _read_gallery(
    path: Path, entries: list[Any], bases: Mapping[str, Any], used: set[str], tally: _Tally
) -> Iterator[_Found]:
    for entry in entries:
        if not isinstance(entry, dict) or not entry.get("name"):
            tally.refused.append(f"{path}: name: each entry of a gallery must be an object with a name")
            continue
        wanted = base_file(entry)
        used.add(wanted)
        base = bases.get(wanted)
        overrides = entry.get("overrides")
        raw = overrides if isinstance(overrides, dict) else {}
        draws_nothing = bool(raw.get("backend")) and foreign_backend(raw) is not None
        if base is None and wanted not in {"", EMPTY_BASE} and not draws_nothing:
            tally.baseless[wanted].append(str(entry["name"]))
            continue
        yield from _resolve(entry, base, path, f"{path}, entry {entry['name']}", tally)


def _resolve(
    entry: dict[str, Any], base: Mapping[str, Any] | None, path: Path, origin: str, tally: _Tally
) -> Iterator[_Found]:
    try:
        yield _Found(resolve(entry, base), origin, path.stem)
    except SpecError as error:
        tally.refused.append(f"{origin}: {error}")


def _read_models(path: Path, document: Any, tally: _Tally) -> Iterator[_Found]:
    models = document if isinstance(document, list) else [document]
    for model in models:
        if not isinstance(model, dict):
            tally.refused.append(f"{path}: must be a LocalAI model, an object of keys and values")
        elif "apiVersion" in model or "kind" in model:
            tally.refused.append(f"{path}: kind: {model.get('kind')} is no LocalAI model; give it to kubectl as it is")
        else:
            yield _Found(LocalAIModel(model), str(path), path.stem)


def _import(found: _Found, placing: Placing, tally: _Tally) -> None:
    raw = found.model.raw
    if backend := foreign_backend(raw):
        tally.foreign[backend].append(str(raw.get("name") or found.default_name))
        return
    try:
        imported = import_model(raw, default_name=found.default_name, placing=placing)
    except SpecError as error:
        tally.refused.append(f"{found.origin}: {error}")
        return
    changes = [*found.model.changes, *imported.changes]
    tally.results.append(_Result(replace(imported, changes=changes), found))


def _drop_dangling_aliases(tally: _Tally) -> None:
    """Leave out the aliases of models that were left out: LocalAI has aliases of language models too."""
    names = {str(result.imported.obj["spec"].get("name") or result.imported.name) for result in tally.results}
    kept = []
    for result in tally.results:
        alias = result.imported.obj["spec"].get("alias")
        if alias and alias not in names:
            tally.foreign[f"alias of {alias}"].append(result.imported.name)
        else:
            kept.append(result)
    tally.results = kept


def _rename_twins(tally: _Tally) -> None:
    """Leave out a second model of the same id, and give a number to a second object of the same name."""
    ids: dict[str, str] = {}
    names: set[str] = set()
    kept = []
    for result in tally.results:
        imported, origin = result.imported, result.found.origin
        model_id = str(imported.obj["spec"].get("name") or imported.name)
        if model_id in ids:
            tally.refused.append(f"{origin}: name: {model_id} is the model of {ids[model_id]} too; rename one")
            continue
        ids[model_id] = origin
        number, name = 1, imported.name
        while name in names:
            number += 1
            name = f"{imported.name}-{number}"
        names.add(name)
        if number > 1:
            imported.changes.append(f"metadata.name: {name}, since another model's is {imported.name}")
            imported.obj["metadata"]["name"] = name
        kept.append(result)
    tally.results = kept


def _write(results: Iterable[_Result], folder: Path | None) -> None:
    texts = {result.imported.name: _text(result) for result in results}
    if folder is None:
        click.echo("---\n".join(texts.values()), nl=False)
        return
    targets = {folder / f"{name}.yaml": text for name, text in texts.items()}
    for path, text in targets.items():
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise click.ClickException(f"--output: {path} is there already, and differs; move it, or name a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in targets.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"--output: {folder} cannot be written to: {error.strerror}") from None


def _text(result: _Result) -> str:
    """Return an ImageModel as YAML, under comments that say where it comes from and what was done to it."""
    found, imported = result.found, result.imported
    lines = [f"From {found.origin}."]
    if found.model.license:
        where = f"; see {found.model.urls[0]}" if found.model.urls else ""
        lines.append(f"Licence, as the gallery has it: {found.model.license}{where}")
    for title, items in (("Changed:", imported.changes), ("To know:", imported.notes)):
        lines += [title, *(f"- {item}" for item in items)] if items else []
    return "".join(f"# {_plain(line)}\n" for line in lines) + to_yaml(imported.obj)


def _report(tally: _Tally) -> None:
    for result in tally.results:
        counts = [
            f"{len(items)} {word}{'' if len(items) == 1 else 's'}"
            for word, items in (("change", result.imported.changes), ("note", result.imported.notes))
            if items
        ]
        _say(f"{result.imported.name} ({result.found.origin}): {', '.join(counts) or 'as it is'}")
    for line in tally.refused:
        _say(f"Left out: {line}")
    for base, names in sorted(tally.baseless.items()):
        _say(f"Left out: {_some(names)}: name the base {base} of LocalAI's gallery folder too")
    for backend, names in sorted(tally.foreign.items()):
        _say(f"Left out, since nothing says that they draw ({backend}): {_some(names)}")
    count = len(tally.results)
    _say(f"{count} {'model' if count == 1 else 'models'} imported")


def _say(line: str) -> None:
    click.echo(_plain(line), err=True)


def _plain(line: str) -> str:
    """Return a line as one line without control characters, which a file may have put in it for a terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in line).split())


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{', '.join(names[:_NAMES_SHOWN])}{more}"
