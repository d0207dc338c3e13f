"""Every field of the contract under each of its names, written in every way that clients write it.

Over both engines: that a value shows, under each name, and what says nothing. Over diffusers alone: the ways to write a
value beside plain JSON, since all of them have become one request before an engine is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import pytest

from contract.differences import DIFFERENT_ROWS, rows_of
from contract.models import EngineName, only_diffusers
from contract.rows import DOCUMENTED, ROWS, Row
from contract.spellings import Spelling, form_parts, nothing, spellings
from contract.stack import Model, Part, Stack, events, refusal, succeeded
from heliograph_api.images.fields import FIELDS

Seen = Any
FIELD = {field.name: field for field in FIELDS}
ALIASED = [field.name for field in FIELDS if field.also]
# A prompt may be the word "null", and without one there is no picture.
OPTIONAL = [field.name for field in FIELDS if field.name != "prompt"]
NAMES = [pytest.param(field.name, name, id=name) for field in FIELDS for name in field.names]
_, *FORM_NOTHING = nothing()
SPELLINGS = [
    pytest.param(field.name, name, spelling, id=f"{name}-{spelling.what}")
    for field in FIELDS
    for _, *others in [spellings(field, rows_of("diffusers")[field.name].value)]
    for spelling in others
    for name in field.names
]
_MEASURED = {"created", "created_at", "time_to_process_ms", "time_per_generation_ms", "generation_per_second"}


class Asked:
    """Requests of rows, and what a client makes of the answers."""

    def __init__(self, stack: Stack, rows: Mapping[str, Row], start: Callable[[str], object]) -> None:
        self.rows = rows
        self._client = stack.gateway.client
        self._start = start
        self._known: dict[tuple[str, str], Seen] = {}

    def send(self, name: str, fields: Mapping[str, Any], parts: Sequence[tuple[str, Part]] = ()) -> httpx.Response:
        """Send the request of a field's row: as JSON, or with parts as a form."""
        row = self.rows[name]
        self._start(row.model)
        content: dict[str, Any] = {"files": [*form_parts(fields), *parts]} if parts else {"json": fields}
        return self._client.post(row.path, **content)

    def see(self, name: str, fields: Mapping[str, Any], parts: Sequence[tuple[str, Part]] = ()) -> Seen:
        """Return what comes back: times aside, and with the files behind links."""
        response = self.send(name, fields, parts)
        if response.status_code != 200:
            error = refusal(response, response.status_code)
            assert error["param"] in FIELD[name].names
            return error["code"]
        if response.headers["content-type"].startswith("text/event-stream"):
            # How many steps are told of depends on how fast they are.
            return [self._plain(event) for event in events(response) if "b64_json" in str(event)]
        return self._plain(response.json())

    def of_row(self, name: str, which: str) -> Seen:
        """Return what comes back for the `value` or the `other` of a row, or for `silence`."""
        if (name, which) not in self._known:
            row = self.rows[name]
            self._known[name, which] = self.see(name, row.asks(name, getattr(row, which, None)))
        return self._known[name, which]

    def _plain(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._plain(part) for part in value]
        if not isinstance(value, dict):
            return value
        kept = {key: self._plain(part) for key, part in value.items() if key not in _MEASURED}
        return kept | {"url": succeeded(self._client.get(kept["url"])).content} if "url" in kept else kept


@pytest.fixture(scope="module")
def asked(engine: EngineName, stack: Stack, plain: Model, request: pytest.FixtureRequest) -> Asked:
    """Requests of rows; a second name of the default model answers with links alone."""
    stack.add_like(plain, "linked", serving={"responseFormat": "url"})
    return Asked(stack, rows_of(engine), request.getfixturevalue)


def test_there_is_a_row_for_every_field() -> None:
    assert sorted([*ROWS, *DIFFERENT_ROWS]) == sorted(FIELD)
    assert all(set(names) <= set(FIELD[name].also) for name, names in DOCUMENTED.items())


@pytest.mark.parametrize("name", FIELD)
def test_a_value_shows(asked: Asked, name: str) -> None:
    """Without which the tests below would not tell a field that is read from one that is not."""
    row = asked.rows[name]
    found = [asked.of_row(name, which) for which in ("value", "silence", *(["other"] if row.other else []))]

    assert isinstance(found[0], str) == row.refused
    assert all(first != second for place, first in enumerate(found) for second in found[:place])


@pytest.mark.parametrize(("field", "name"), NAMES)
def test_every_name_means_the_same(asked: Asked, field: str, name: str) -> None:
    row = asked.rows[field]

    assert asked.see(field, row.asks(field) | {name: row.value}) == asked.of_row(field, "value")


@only_diffusers
@pytest.mark.parametrize(("field", "name", "spelling"), SPELLINGS)
def test_every_spelling_means_the_same(asked: Asked, field: str, name: str, spelling: Spelling) -> None:
    row = asked.rows[field]
    parts = [(name + suffix, part) for suffix, part in spelling.form or ()]
    fields = row.asks(field) if parts else {**row.asks(field), name: spelling.json}

    assert asked.see(field, fields, parts) == asked.of_row(field, "value")


@pytest.mark.parametrize("field", OPTIONAL)
def test_null_is_as_if_the_field_were_not_there(asked: Asked, field: str) -> None:
    """Under all of its names at once."""
    names = dict.fromkeys(FIELD[field].names)

    assert asked.see(field, asked.rows[field].asks(field) | names) == asked.of_row(field, "silence")


@only_diffusers
@pytest.mark.parametrize("spelling", FORM_NOTHING, ids=lambda spelling: spelling.what)
@pytest.mark.parametrize("field", OPTIONAL)
def test_nothing_in_a_form_is_as_if_the_field_were_not_there(asked: Asked, field: str, spelling: Spelling) -> None:
    parts = [(name, part) for name in FIELD[field].names for _, part in spelling.form or ()]

    assert asked.see(field, asked.rows[field].asks(field), parts) == asked.of_row(field, "silence")


@pytest.mark.parametrize("field", ALIASED)
def test_all_names_may_say_the_same(asked: Asked, field: str) -> None:
    row = asked.rows[field]
    fields = row.asks(field) | dict.fromkeys(FIELD[field].names, row.value)

    assert asked.see(field, fields) == asked.of_row(field, "value")


@pytest.mark.parametrize(
    ("field", "also"), [(field, also) for field in ALIASED for also in FIELD[field].also], ids=lambda name: name
)
def test_names_that_disagree_are_both_named(asked: Asked, field: str, also: str) -> None:
    row = asked.rows[field]
    first, second = row.rivals

    error = refusal(asked.send(field, row.asks(field) | {also: first, field: second}))

    assert error["code"] == "conflicting_fields"
    assert f"{field} and {also} name the same setting and disagree" in error["message"]


@pytest.mark.parametrize("name", ["prompt", "negative_prompt"])
def test_texts_are_taken_as_they_are(asked: Asked, name: str) -> None:
    """Quotes that are part of what to draw are no shell's."""
    row = asked.rows[name]

    assert asked.see(name, row.asks(name, f'"{row.value}"')) != asked.of_row(name, "value")


def test_a_prompt_may_be_the_word_null(asked: Asked) -> None:
    assert asked.see("prompt", asked.rows["prompt"].asks("prompt", "null"))["data"]
    assert asked.see("prompt", {**asked.rows["prompt"].asks("prompt"), "prompt": None}) == "missing_required_parameter"
