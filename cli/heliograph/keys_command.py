"""`heliograph keys`: making API keys, and the documents that the gateway knows them by."""

# ruff: noqa: PLC0415 - what a subcommand needs is imported when it is called, as in `main`

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heliograph.extras import needs_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import ValidationError

    from heliograph_gateway.keys.document import Key

_SHOWN_DIGITS = 12
_OPTIONS = {"requestsPerMinute": "--requests-per-minute", "imagesPerDay": "--images-per-day", "name": "NAME"}
_FILE = click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default="keys.yaml",
    show_default=True,
    envvar="HELIOGRAPH_KEYS_FILE",
    show_envvar=True,
    help="The document.",
)
_DIGEST = click.option(
    "--sha256", "digest", default="", metavar="DIGITS", help="First digits of one key's SHA-256, as `list` shows them."
)


@click.group(short_help="Make, list and withdraw API keys.")
def keys() -> None:
    """Make, list and withdraw API keys, in a document that `serve --keys-file` and the gateway's keys_file read.

    The document holds no key, only the SHA-256 of each. A gateway that runs takes up a change within 5 seconds.
    """


def _split(_context: click.Context, _option: click.Parameter, value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


@keys.command()
@click.argument("name")
@click.option("--scopes", default="models", show_default=True, callback=_split, help="models, admin, or both.")
@click.option("--requests-per-minute", type=click.IntRange(1), help="Most requests that draw; no limit when absent.")
@click.option("--images-per-day", type=click.IntRange(1), help="Most pictures and clips; no limit when absent.")
@click.option(
    "--models",
    default="",
    callback=_split,
    help="Models that the key is for, comma-separated: names, or patterns such as team-a/*. [default: all]",
)
@click.option("--expires", help="When it ceases to be valid: 2026-12-31 or 2026-12-31T18:00:00Z.")
@_FILE
def create(path: Path, **fields: Any) -> None:
    """Make a key, add it to the document, and print it.

    It is shown this once. Several keys may have one NAME: they count together and see the same files, so that a key can
    be replaced by another before it is withdrawn.
    """
    with needs_extra("keys", "gateway"):
        from heliograph.keys_file import locked, read_text, with_entry, write_text
        from heliograph_gateway.keys.document import digest_of
    key = f"hg-{secrets.token_urlsafe(32)}"
    entry = _entry(digest_of(key), **fields)
    with _usable(path), locked(path):
        write_text(path, with_entry(read_text(path), entry))
    click.echo(f"Added the key {entry['name']!r} to {path}. It is shown this once:", err=True)
    click.echo(key)


@keys.command("list")
@_FILE
def list_keys(path: Path) -> None:
    """List the keys of the document."""
    with needs_extra("keys", "gateway"):
        from heliograph.keys_file import read_text
        from heliograph_gateway.keys.document import parse_keys
    with _usable(path):
        found = parse_keys(read_text(path))
    rows = [("NAME", "STATE", "SCOPES", "PER MINUTE", "PER DAY", "MODELS", "EXPIRES", "SHA256"), *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command()
@click.argument("name")
@_DIGEST
@_FILE
def disable(name: str, digest: str, path: Path) -> None:
    """Refuse the keys of a name from now on, and keep their entries."""
    count = _change(path, name, digest, lambda entry: {**entry, "disabled": True})
    click.echo(f"Disabled {count} of the keys of {path}", err=True)


@keys.command()
@click.argument("name")
@_DIGEST
@_FILE
def delete(name: str, digest: str, path: Path) -> None:
    """Take the keys of a name out of the document."""
    count = _change(path, name, digest, lambda _entry: None)
    click.echo(f"Deleted {count} of the keys of {path}", err=True)


@keys.command()
@click.option("--namespace", required=True, help="Namespace of the Secrets.")
@click.option("--secret", required=True, help="Secret that the key is kept in, as api-key.")
@click.option("--digest-secret", required=True, help="Secret with the document for the gateway, as keys.yaml.")
@click.pass_context
def first(context: click.Context, /, **names: str) -> None:
    """Make the first key of an installation in a cluster, once.

    A Secret that is there is left as it is: where both are, nothing is done.
    """
    with needs_extra("keys first", "gateway"):
        from heliograph_gateway.keys.first import run
    context.exit(asyncio.run(run(**names)))


def _entry(digest: str, *, name: str, scopes: Sequence[str], **limits: Any) -> dict[str, Any]:
    """Return an entry of the document; raise `click.UsageError` if the gateway would refuse it."""
    from pydantic import ValidationError

    from heliograph_gateway.keys.document import Key

    given = {
        "name": name,
        "sha256": digest,
        "scopes": list(scopes),
        "requestsPerMinute": limits["requests_per_minute"],
        "imagesPerDay": limits["images_per_day"],
        "models": limits["models"],
        "expires": limits["expires"],
    }
    entry = {field: value for field, value in given.items() if value is not None and value != []}
    try:
        Key.model_validate(entry | {"scopes": given["scopes"]})
    except ValidationError as error:
        raise click.UsageError(_explained(error)) from None
    return entry


def _explained(error: ValidationError) -> str:
    item = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = str(item["loc"][0])
    if field == "scopes":
        return "--scopes: must be models, admin, or models,admin"
    return f"{_OPTIONS.get(field, f'--{field}')}: {item['msg'].removeprefix('Value error, ')}"


def _change(path: Path, name: str, digest: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> int:
    """Change the entries of a name, those whose SHA-256 begins with `digest`, and return how many they are."""
    with needs_extra("keys", "gateway"):
        from heliograph.keys_file import entries_of, locked, read_text, with_changes, write_text

    def meant(entry: dict[str, Any]) -> bool:
        return bool(entry["name"] == name and entry["sha256"].lower().startswith(digest.lower()))

    with _usable(path), locked(path):
        text = read_text(path)
        count = sum(map(meant, entries_of(text)))
        if count:
            write_text(path, with_changes(text, lambda entry: change(entry) if meant(entry) else entry))
    if not count:
        which = f"whose SHA-256 begins with {digest}" if digest else "of this name"
        raise click.ClickException(f"NAME: {path} has no key {which}; `heliograph keys list` shows what there is")
    return count


def _row(key: Key) -> tuple[str, ...]:
    state = "disabled" if key.disabled else "expired" if key.expired(datetime.now(UTC)) else "active"
    limits = ("-" if limit is None else str(limit) for limit in (key.requests_per_minute, key.images_per_day))
    models = ",".join(key.models) or "all"
    expires = key.expires.isoformat() if key.expires else "never"
    return key.name, state, ",".join(key.scopes), *limits, models, expires, key.sha256[:_SHOWN_DIGITS]


class _usable:  # noqa: N801 - used like a function
    """Turn what is wrong with a document into an error of the command line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from heliograph_gateway.keys.document import KeysError

        if isinstance(error, OSError):
            raise click.ClickException(f"--file: {self._path}: {error.strerror}") from None
        if isinstance(error, KeysError | UnicodeDecodeError):
            raise click.ClickException(f"--file: {self._path}: {error}; nothing was changed") from None
