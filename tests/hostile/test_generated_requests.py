"""Generated requests through the gateway and the runtime: whatever they are, nothing fails.

A quick run has 200, the same each time. A long one has others each time, as many as the environment says:

    HELIOGRAPH_GENERATED_REQUESTS=20000 pytest tests/hostile/test_generated_requests.py --hypothesis-show-statistics

The request that fails is printed, made as small as it gets.
"""

import os

import pytest
from hypothesis import HealthCheck, event, given, note, settings

from hostile.exchanges import Case, check_answer, send
from hostile.generated import requests
from hostile.stacks import Stack

pytestmark = pytest.mark.usefixtures("unharmed", "same_worker")

_QUICK = 200
COUNT = int(os.environ.get("HELIOGRAPH_GENERATED_REQUESTS", str(_QUICK)))


@given(case=requests())
@settings(
    max_examples=COUNT,
    derandomize=COUNT == _QUICK,
    database=None,
    deadline=None,
    print_blob=True,
    # The worker's fixture holds for all of them together.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_a_generated_request_is_answered_without_a_fault(stack: Stack, case: Case) -> None:
    answer = send(stack.client, case)

    event(f"{case.method} {answer.status_code}")
    note(f"{answer.status_code} {answer.text[:2000]}")
    check_answer(answer, sent=(case.content, case.target.encode()))
