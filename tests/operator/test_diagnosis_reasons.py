"""Every reason that some part of the project gives is one that has a remedy."""

import ast
import re
from pathlib import Path
from typing import get_args

from heliograph_api.exits import FetchProblem
from heliograph_api.status import FINAL_REASONS, PASSING_REASONS
from heliograph_operator import conditions
from heliograph_operator.diagnosis.reasons import CAUSES, FETCH_CAUSES, LOAD_CAUSES, STATES, WARNINGS

ROOT = Path(__file__).resolve().parents[2]


def test_every_reason_of_the_runtime_is_known() -> None:
    """The runtime is no package that the operator may import."""
    named: set[str] = set()
    for path in (ROOT / "runtime" / "heliograph_runtime").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "LoadError":
                first = node.args[0]
                choices = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
                named |= {str(item.value) for item in choices if isinstance(item, ast.Constant)}
    assert named == set(LOAD_CAUSES)


def test_every_reason_of_the_fetcher_is_known() -> None:
    assert set(get_args(FetchProblem)) <= {*FETCH_CAUSES, "UnsafeWeights"}


def test_every_reason_of_a_condition_is_known() -> None:
    used = set(re.findall(r'Verdict\(\s*"(?:True|False|Unknown)",\s*"(\w+)"', Path(conditions.__file__).read_text()))
    assert used
    assert used <= {*STATES, *CAUSES}
    assert not {*STATES} & {*CAUSES}


def test_every_reason_of_a_warning_is_known() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "operator").rglob("*.py"))
    named = set(re.findall(r'(?:\b_warning\(|\bSpecWarning\(\s*reason=)"(\w+)"', sources))
    assert {"UnknownKey", "CudaUnavailable", "VolumeKept"} <= named
    assert named == set(WARNINGS)


def test_reasons_that_waiting_does_not_mend_are_causes_and_never_pass() -> None:
    assert CAUSES.keys() >= FINAL_REASONS
    assert not FINAL_REASONS & PASSING_REASONS
