"""Requests that mean harm, one by one, through the gateway and the runtime: each gets an answer that helps nobody."""

from itertools import chain

import pytest

from hostile import (
    field_values,
    form_bodies,
    header_cases,
    json_bodies,
    name_cases,
    picture_cases,
    prompt_cases,
    url_cases,
)
from hostile.exchanges import Case, check, send
from hostile.stacks import Stack

MODULES = (json_bodies, header_cases, form_bodies, field_values, picture_cases, url_cases, name_cases, prompt_cases)
CASES = tuple(chain.from_iterable(module.cases() for module in MODULES))


@pytest.mark.parametrize("case", CASES, ids=[f"{number} {case.name[:60]!a}" for number, case in enumerate(CASES)])
def test_a_hostile_request_is_answered_and_does_no_harm(stack: Stack, case: Case) -> None:
    check(send(stack.client, case), case)
