"""YAML as kubectl and LocalAI read it, so that a file means the same to them and to `heliograph serve`.

Both turn YAML into JSON: keys are strings, a date stays text, `1e-1` is a number, and a key must not occur twice.
"""

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml

from heliograph_api.errors import SpecError

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """A loader that makes nothing but what JSON knows."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own attribute

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Return the node of a mapping; refuse a key that occurs twice, before merge keys add theirs."""
        node = super().compose_mapping_node(anchor)
        written = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.composer.ComposerError(problem="a key must be text", problem_mark=key.start_mark)
            if key.value in written:
                problem = f"the key {key.value} occurs twice; keep one of them"
                raise yaml.composer.ComposerError(problem=problem, problem_mark=key.start_mark)
            written.add(key.value)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping with keys as JSON has them."""
        self.flatten_mapping(node)
        return {_json_key(self.construct_object(key)): self.construct_object(value, deep) for key, value in node.value}


# The patterns are those of go-yaml, which kubectl and LocalAI read with; unlike PyYAML's they know neither dates nor
# numbers to the base of 60 (`12:30`), and a float needs no point (`1e-1`).
for _tag, _pattern, _first in (
    (_NULL, r"~|null|Null|NULL|", [*"~nN", ""]),
    (_BOOL, r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", [*"yYnNtTfFoO"]),
    (_INT, r"[-+]?(0b[01_]+|0o?[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)", [*"-+0123456789"]),
    (
        _FLOAT,
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        [*"-+0123456789."],
    ),
    (_MERGE, r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), _first)


def reads_as_text(scalar: str) -> bool:
    """Return whether a scalar without quotes is text to `read_documents`, and not a number, a truth value or null."""
    found = _Loader.yaml_implicit_resolvers.get(scalar[:1], [])
    return not any(pattern.match(scalar) for _, pattern in found)


def read_documents(text: str) -> list[Any]:
    """Return the documents of a YAML or JSON text that are not empty, without the keys whose value is null.

    Null counts as absent, as it does for the API server.

    Raises:
        SpecError: The text is not YAML, a key occurs twice, a value does not fit its tag, or an anchor stands inside of
            what it names.
    """
    try:
        # JSON is nearly YAML: PyYAML neither joins the two escapes of a character like U+1F600 nor takes a long key.
        documents = [json.loads(text, object_pairs_hook=_object)]
    except SpecError:
        raise
    except ValueError:
        documents = _read_yaml(text)
    except RecursionError:
        raise SpecError("manifest", "is nested too deeply") from None
    try:
        return [_without_nulls(document) for document in documents if document is not None]
    except RecursionError:
        raise SpecError("manifest", "is nested too deeply, or an anchor refers to itself; write it out") from None


def _read_yaml(text: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SpecError("manifest", f"is not valid YAML{where}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise SpecError("manifest", f"is not valid YAML: {' '.join(str(error).split())}") from None
    except ValueError:
        raise SpecError("manifest", "has a number of too many digits; put it in quotes if it is text") from None
    except (LookupError, TypeError, AttributeError, ArithmeticError):
        # PyYAML does not look at what a tag stands before: `!!bool maybe`, `!!set [a]`, `!!timestamp soon`.
        raise SpecError("manifest", "is not valid YAML: a value does not fit its tag; leave the tag out") from None
    except RecursionError:
        raise SpecError("manifest", "is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise SpecError("manifest", f"the key {twice} occurs twice; keep one of them")
    return found


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _json_key(key: Any) -> str:
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    return str(key)
