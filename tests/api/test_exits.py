import json

import pytest

from heliograph_api.exits import FETCH_PERMANENT, FETCH_TEMPORARY, FetchResult

FIELD = "spec.parameters.model"
FETCHED = FetchResult("Fetched", bytes=12, files=2, revisions={FIELD: "0" * 40})


def test_a_result_is_read_back() -> None:
    assert FetchResult.read(FETCHED.line()) == FETCHED


def test_a_result_ends_a_log() -> None:
    log = f"2026-01-01 INFO heliograph_runtime.weights: fetching\n{FETCHED.line()}\n"

    assert FetchResult.read(log) == FETCHED


def test_what_a_later_version_adds_is_no_obstacle() -> None:
    line = json.dumps({"reason": "DiskFull", "message": "m", "seconds": 3})

    assert FetchResult.read(line) == FetchResult("DiskFull", "m")


@pytest.mark.parametrize(
    "text", ["", "Traceback", "[]", '{"reason": "Whatever"}', '{"reason": "Fetched", "bytes": "many"}', '{"bytes": 1}']
)
def test_what_is_no_result(text: str) -> None:
    assert FetchResult.read(text) is None


@pytest.mark.parametrize(
    "result",
    [
        FetchResult("WeightsNotFound", 'spec.parameters.model: "ü"\n' * 500),
        FetchResult("Fetched", revisions={f"spec.lora_adapters[{index}]": "0" * 40 for index in range(100)}),
    ],
)
def test_a_line_is_short_enough_for_a_kubelet(result: FetchResult) -> None:
    line = result.line()

    assert len(line.encode()) <= 2048
    assert "\n" not in line
    assert FetchResult.read(line) is not None


def test_the_statuses_are_those_of_no_other_end() -> None:
    """1 is an error of Python's, 2 a wrong command line, 126 and more a shell's or a signal's."""
    assert FETCH_PERMANENT != FETCH_TEMPORARY
    assert all(2 < status < 126 for status in (FETCH_PERMANENT, FETCH_TEMPORARY))
