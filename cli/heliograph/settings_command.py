"""A subcommand whose options are the fields of a settings class, so that the two cannot drift apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, SettingsError

from heliograph.extras import needs_extra, require_packages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo

S = TypeVar("S", bound=BaseSettings)


class SettingsCommand(click.Command):
    """Runs a part, `PACKAGE.main.run(settings)`, with `PACKAGE.settings.NameSettings`.

    Both modules are imported when the subcommand is called, and `main` only once the command line has been read: the
    options are shown by `--help` even where the part's extra is not installed.
    """

    def __init__(
        self,
        name: str,
        *,
        extra: str,
        help: str,  # noqa: A002 - click's own name for it
        package: str = "",
        packages: Sequence[str] = (),
    ) -> None:
        """Prepare the subcommand.

        Args:
            name: Its name, and the part's.
            extra: The extra that brings what the part needs.
            help: What it does.
            package: The package that holds the part; heliograph_NAME unless given.
            packages: What the part imports only as it runs, to be asked for beforehand.
        """
        super().__init__(name, help=help)
        self._packages = packages
        self._part = name
        self._package = package or f"heliograph_{name}"
        self._extra = extra
        self._settings: type[BaseSettings] | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the options, made from the settings on the first call."""
        self._load()
        return super().get_params(ctx)

    def invoke(self, ctx: click.Context) -> None:
        """Read the settings and run the part."""
        given = {name: value for name, value in ctx.params.items() if value is not None}
        kind = self._load()
        with needs_extra(self._part, self._extra):
            settings = read_settings(kind, given)
            part = import_module(f"{self._package}.main")
        require_packages(self._part, self._extra, self._packages)
        ctx.exit(part.run(settings))

    def _load(self) -> type[BaseSettings]:
        if self._settings is None:
            with needs_extra(self._part, self._extra):
                module = import_module(f"{self._package}.settings")
            self._settings = getattr(module, f"{self._part.capitalize()}Settings")
            self.params += options_of(self._settings)
            self.epilog = _epilog(self._settings)
        return self._settings


def options_of(settings: type[BaseSettings]) -> list[click.Option]:
    """Return one option for each field; a secret has none, since a command line is there for everyone to read."""
    return [_option(name, field) for name, field in settings.model_fields.items() if not _is_secret(field)]


def _epilog(settings: type[BaseSettings]) -> str:
    secrets = [variable(settings, name) for name, field in settings.model_fields.items() if _is_secret(field)]
    text = f"Each option is an environment variable too: {variable(settings, '<NAME>')}."
    return f"{text} Only there: {', '.join(secrets)}." if secrets else text


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in alternatives(field.annotation)


def _option(name: str, field: FieldInfo) -> click.Option:
    flag = name.replace("_", "-")
    text = " ".join((field.description or "").split())
    kinds = [get_origin(kind) or kind for kind in alternatives(field.annotation)]
    if bool in kinds:
        return click.Option([f"--{flag}/--no-{flag}", name], default=None, help=text)
    if any(issubclass(kind, BaseModel | Mapping) for kind in kinds if isinstance(kind, type)):
        return click.Option([f"--{flag}", name], callback=_from_json, metavar="JSON", help=text)
    if tuple in kinds:
        return click.Option([f"--{flag}", name], callback=_split, multiple=True, metavar="A,B,...", help=text)
    if field.default not in {None, PydanticUndefined, ""}:
        text = f"{text} [default: {field.default}]"
    if kinds == [Literal]:
        (choices,) = (get_args(kind) for kind in alternatives(field.annotation))
        return click.Option([f"--{flag}", name], type=click.Choice(choices), help=text)
    return click.Option([f"--{flag}", name], metavar="NUMBER" if {int, float} & set(kinds) else "TEXT", help=text)


def alternatives(annotation: Any) -> list[Any]:
    """Return the types that an annotation allows, without None and without metadata."""
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return [kind for part in get_args(annotation) for kind in alternatives(part) if kind is not NoneType]
    return [annotation]


def _split(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> tuple[str, ...] | None:
    """Return what an option names, which is given once with commas, or several times; None when it is not given."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip()) if values else None


def _from_json(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
    try:
        return None if value is None else json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"is not valid JSON: {error}") from None


def read_settings(settings: type[S], given: Mapping[str, Any]) -> S:
    """Return the settings: the command line's values, then the environment's, then the defaults.

    Args:
        settings: The class.
        given: Values of the command line by field, for those that were given.

    Raises:
        click.UsageError: A value is missing or not valid.
    """
    try:
        return settings(**given)
    except SettingsError as error:
        raise click.UsageError(f"{error}; lists and mappings are JSON in an environment variable") from None
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        problem = item["msg"].removeprefix("Value error, ")
        name = str(item["loc"][0]) if item["loc"] else ""
        if name in settings.model_fields:
            raise click.UsageError(f"--{name.replace('_', '-')} ({variable(settings, name)}): {problem}") from None
        raise click.UsageError(problem) from None


def variable(settings: type[BaseSettings], name: str) -> str:
    """Return the environment variable of a field."""
    return f"{settings.model_config.get('env_prefix', '')}{name}".upper()
