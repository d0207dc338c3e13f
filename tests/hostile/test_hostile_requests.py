"""Requests that mean harm, one by one, through the gateway and the runtime: each gets an answer that helps nobody."""

from collections.abc import Iterable
from types import ModuleType

import pytest

from contract.models import only_diffusers
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

pytestmark = pytest.mark.usefixtures("unharmed", "same_worker")

BEFORE_ENGINES = (json_bodies, header_cases, form_bodies, field_values, url_cases, name_cases)
"""Requests that are refused, or read, before it matters which engine draws."""
FOR_ENGINES = (picture_cases, prompt_cases)


def cases_of(modules: Iterable[ModuleType]) -> pytest.MarkDecorator:
    """Return the mark of a test that is run with each of the modules' cases."""
    cases = [case for module in modules for case in module.cases()]
    return pytest.mark.parametrize(
        "case", cases, ids=[f"{number} {case.name[:60]!a}" for number, case in enumerate(cases)]
    )


@only_diffusers
@cases_of(BEFORE_ENGINES)
def test_a_hostile_request_is_answered_and_does_no_harm(stack: Stack, case: Case) -> None:
    check(send(stack.client, case), case)


@cases_of(FOR_ENGINES)
def test_a_hostile_request_harms_no_engine(stack: Stack, case: Case) -> None:
    check(send(stack.client, case), case)
