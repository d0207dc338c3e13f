"""`heliograph plan`: the objects that the operator would make of manifests, without a cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import click
from pydantic import ValidationError

from heliograph.serve.manifests import ManifestError, collect
from heliograph.settings_command import read_settings
from heliograph.yaml_text import to_yaml
from heliograph_api.complaints import did_you_mean, first_error
from heliograph_api.documents import read_documents
from heliograph_api.errors import SpecError
from heliograph_operator.plan.children import Plan, plan, plan_children
from heliograph_operator.settings import OperatorSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from heliograph_api.manifest import ImageModel
    from heliograph_operator.resources import Object

Output = Literal["yaml", "json", "names"]

_UID = "00000000-0000-0000-0000-000000000000"
"""Stands for the uid that the API server gives an ImageModel, to which its children's owner references point."""


@dataclass(frozen=True)
class _Planned:
    """What the operator makes of a model.

    Attributes:
        model: The model.
        plan: What it makes at once.
        children: That, and then what waits until the weights are there.
    """

    model: ImageModel
    plan: Plan
    children: list[Object]


def show_plan(paths: Sequence[Path], *, namespace: str, settings_file: Path | None, output: Output) -> int:
    """Print what the operator would make, and on standard error what it would warn of and refuse.

    Args:
        paths: Manifests, and folders of manifests.
        namespace: Namespace of manifests that name none.
        settings_file: YAML file with fields of `OperatorSettings`, which win over the environment's.
        output: `yaml` for one document for each object, `json` for a List, `names` for KIND/NAME.

    Returns:
        The exit status: 1 when the operator would refuse a model.

    Raises:
        click.ClickException: A manifest or a setting is not valid.
    """
    settings = _settings(settings_file)
    try:
        found = collect(paths, models_dir=None, warn=_note)
    except ManifestError as error:
        raise click.ClickException(str(error)) from None
    planned, refused = [], False
    for served in found:
        model = replace(served.model, namespace=served.model.namespace or namespace, uid=_UID)
        try:
            at_once = plan(model=model, settings=settings)
            planned.append(_Planned(model, at_once, plan_children(model=model, settings=settings)))
        except SpecError as error:
            refused = True
            _note(f"Error: {served.source}: {error}")
    for item in planned:
        for warning in item.plan.warnings:
            _note(f"{item.model.name}: {warning.message}")
        if item.model.spec.alias:
            _note(f"{item.model.name}: an alias of {item.model.spec.alias}: a route, of which no object is made")
    click.echo(_WRITERS[output](planned), nl=False)
    return int(refused)


def _settings(path: Path | None) -> OperatorSettings:
    """Return the operator's settings from a file, the environment and the defaults, in this order."""
    settings = read_settings(OperatorSettings, {})
    if path is None:
        return settings
    try:
        return OperatorSettings(**_settings_in(path))
    except ValidationError as error:
        raise click.UsageError(f"--settings: {path}: {first_error(error, root='settings')}") from None
    except SpecError as error:
        raise click.UsageError(f"--settings: {path}: {error}") from None


def _settings_in(path: Path) -> dict[str, Any]:
    try:
        documents = read_documents(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise SpecError("settings", "must be YAML, in UTF-8") from None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise SpecError("settings", "must be one object of keys and values, such as gpu_profile")
    for key in documents[0]:
        if key not in OperatorSettings.model_fields:
            near = did_you_mean(key, OperatorSettings.model_fields)
            hint = f"did you mean {near}?" if near else "`heliograph operator --help` lists them"
            raise SpecError(f"settings.{key}", f"is no setting of the operator; {hint}")
    return dict(documents[0])


def _note(line: str) -> None:
    click.echo(line, err=True)


def _as_yaml(planned: Iterable[_Planned]) -> str:
    """Return a document for each object, each model's under a comment that names it."""
    parts = []
    for item in planned:
        title = f"# ImageModel {item.model.namespace}/{item.model.name}"
        if item.plan.engine:
            title += f": engine {item.plan.engine.name}, for {item.plan.engine.reason}"
        comments = {0: f"{title}\n", len(item.plan.children): "# Once the weights are there:\n"}
        for index, child in enumerate(item.children):
            parts.append(f"---\n{comments.get(index, '')}{to_yaml(child)}")
    return "".join(parts)


def _as_json(planned: Iterable[_Planned]) -> str:
    items = [child for item in planned for child in item.children]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2, ensure_ascii=False) + "\n"


def _as_names(planned: Iterable[_Planned]) -> str:
    return "".join(f"{_full_name(child)}\n" for item in planned for child in item.children)


def _full_name(child: Object) -> str:
    """Return an object's name as `kubectl get --output=name` writes it: `deployment.apps/tiny-0123abcd`."""
    group = child["apiVersion"].rpartition("/")[0].partition("/")[0]
    kind = ".".join(filter(None, (child["kind"].lower(), group)))
    return f"{kind}/{child['metadata']['name']}"


_WRITERS = {"yaml": _as_yaml, "json": _as_json, "names": _as_names}
