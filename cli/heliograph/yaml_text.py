"""YAML as people read it: in the order of its keys' making, long texts on lines of their own, nothing by reference."""

from __future__ import annotations

from typing import Any

import yaml

from heliograph_api.documents import reads_as_text

_LINE_BREAKS = "\x85\u2028\u2029"
"""What YAML 1.1 takes for the end of a line beside the usual: within quotes, PyYAML writes them as escapes."""


class _Readable(yaml.SafeDumper):
    """Writes every value out, and indents the entries of a list."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's signature
        super().increase_indent(flow, indentless=False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML quotes by itself what it reads otherwise, such as dates; kubectl takes 1e-1 and 0o17 for numbers too.
    quoted = not reads_as_text(text) or any(mark in text for mark in _LINE_BREAKS)
    style = '"' if quoted else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _represent_text)


def to_yaml(value: Any) -> str:
    """Return a value of JSON's types as one YAML document, without a line that marks its beginning."""
    return yaml.dump(value, Dumper=_Readable, sort_keys=False, width=120, allow_unicode=True)
