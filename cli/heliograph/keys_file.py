"""Changing a keys document as a person would: what is in it already stays as it is written, comments among it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from heliograph.yaml_text import to_yaml
from heliograph_api.documents import read_documents
from heliograph_gateway.keys.document import parse_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Entries = list[dict[str, Any]]

_INDENT = 2


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have a file to oneself inside the `with` block, among those who ask for it in this way."""
    folder = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def read_text(path: Path) -> str:
    """Return a document, or an empty one where there is no file.

    Raises:
        KeysError: It cannot be used; it is left as it is then.
        OSError: It cannot be read.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return "keys: []\n"
    parse_keys(text)
    return text


def write_text(path: Path, text: str) -> None:
    """Put a document in the place of the file, at once; a new file is for its owner alone.

    Raises:
        OSError: It cannot be written; the old file is as it was then.
    """
    target = path.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
            with contextlib.suppress(FileNotFoundError):
                # Who could read it before can still do so, such as a gateway that runs as somebody else.
                before = target.stat()
                os.fchmod(handle, before.st_mode & 0o7777)
                with contextlib.suppress(PermissionError):
                    os.fchown(handle, before.st_uid, before.st_gid)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink()
        raise


def entries_of(text: str) -> Entries:
    """Return the entries of a document as they are written."""
    entries: Entries = read_documents(text)[0]["keys"]
    return entries


def with_entry(text: str, entry: dict[str, Any]) -> str:
    """Return a document with one more entry at its end."""
    wanted = [*entries_of(text), entry]

    def edit(_key: yaml.Node, keys: yaml.SequenceNode) -> str:
        if not keys.value:
            head, tail = text[: keys.start_mark.index].rstrip(), text[keys.end_mark.index :]
            return f"{head}\n{_entry_text(entry, _INDENT)}{tail.lstrip(' ').removeprefix(chr(10))}"
        lines = text.splitlines(keepends=True)
        end = _last_line(keys) + 1
        lines[end - 1] = lines[end - 1].rstrip("\n") + "\n"
        return "".join([*lines[:end], _entry_text(entry, keys.start_mark.column), *lines[end:]])

    return _edited(text, wanted, edit)


def with_changes(text: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> str:
    """Return a document with every entry replaced by what `change` makes of it, or without it where that is None."""
    before = entries_of(text)
    after = [change(entry) for entry in before]

    def edit(key: yaml.Node, keys: yaml.SequenceNode) -> str:
        lines = text.splitlines(keepends=True)
        for node, old, new in reversed(list(zip(keys.value, before, after, strict=True))):
            if new != old:
                end = _last_line(node) + 1
                lines[node.start_mark.line : end] = [_entry_text(new, keys.start_mark.column)] if new else []
        if not any(after):
            # A key without a value would be null, and no list.
            lines[key.end_mark.line] = lines[key.end_mark.line].rstrip("\n") + " []\n"
        return "".join(lines)

    return _edited(text, [entry for entry in after if entry is not None], edit)


def _edited(text: str, wanted: Entries, edit: Callable[[yaml.Node, yaml.SequenceNode], str]) -> str:
    """Return a document with the wanted entries: edited where it stands, or else written anew."""
    with contextlib.suppress(ValueError):
        json.loads(text)
        return json.dumps({"keys": wanted}, indent=2, ensure_ascii=False) + "\n"
    root = yaml.compose(text, yaml.SafeLoader)
    assert root is not None  # noqa: S101 - the text was read as a document with keys before
    key, keys = next((key, value) for key, value in root.value if key.value == "keys")
    if isinstance(keys, yaml.SequenceNode) and (not keys.value or not keys.flow_style):
        # Flow style, anchors and the like may be in the way: what counts is what is read.
        with contextlib.suppress(ValueError, KeyError):
            edited = edit(key, keys)
            if read_documents(edited) == [{"keys": wanted}]:
                return edited
    return to_yaml({"keys": wanted})


def _entry_text(entry: dict[str, Any], indent: int) -> str:
    lines = to_yaml({"keys": [entry]}).splitlines()[1:]
    outer = len(lines[0]) - len(lines[0].lstrip())
    return "".join(f"{' ' * indent}{line[outer:]}\n" for line in lines)


def _last_line(node: yaml.Node) -> int:
    """Return the number of the last line that a node has something in, from 0."""
    if isinstance(node, yaml.ScalarNode) or not node.value:
        return int(node.end_mark.line)
    last = node.value[-1]
    return _last_line(last[1] if isinstance(last, tuple) else last)
