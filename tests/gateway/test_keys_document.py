"""The keys document: what it may say, and how its errors read."""

import hashlib
import json
from datetime import UTC, datetime

import pytest

from heliograph_gateway.keys.caller import ANONYMOUS, Caller
from heliograph_gateway.keys.document import KeysError, digest_of, parse_keys

DIGEST = hashlib.sha256(b"a key").hexdigest()
OTHER = hashlib.sha256(b"another key").hexdigest()


def document(**fields: object) -> str:
    return json.dumps({"keys": [{"name": "team-a", "sha256": DIGEST, **fields}]})


def test_an_entry_needs_a_name_and_a_digest_alone() -> None:
    (key,) = parse_keys(f"keys:\n  - name: team-a\n    sha256: {DIGEST.upper()}\n")
    assert (key.name, key.sha256, key.scopes, key.models) == ("team-a", DIGEST, ("models",), ())
    assert (key.requests_per_minute, key.images_per_day, key.disabled, key.expires) == (None, None, False, None)
    assert key.caller == Caller("team-a", frozenset({"models"}))
    assert digest_of("a key") == digest_of(b"a key") == DIGEST


def test_every_field_is_read() -> None:
    fields = {"scopes": ["admin", "models"], "requestsPerMinute": 60, "imagesPerDay": 100, "models": ["a/*", "tiny"]}
    (key,) = parse_keys(document(**fields, disabled=True, expires="2026-12-31T18:00:00+01:00"))
    assert key.caller == Caller("team-a", frozenset({"admin", "models"}), ("a/*", "tiny"), 100)
    assert (key.requests_per_minute, key.disabled) == (60, True)
    assert key.expires == datetime(2026, 12, 31, 17, tzinfo=UTC)


def test_a_day_begins_at_midnight_in_utc() -> None:
    (key,) = parse_keys(f"keys: [{{name: a, sha256: '{DIGEST}', expires: 2026-12-31}}]")
    assert not key.expired(datetime(2026, 12, 30, 23, 59, 59, tzinfo=UTC))
    assert key.expired(datetime(2026, 12, 31, tzinfo=UTC))


def test_there_may_be_no_keys_and_several_of_one_name() -> None:
    assert parse_keys("keys: []") == []
    two = [{"name": "a", "sha256": DIGEST}, {"name": "a", "sha256": OTHER}]
    assert [key.name for key in parse_keys(json.dumps({"keys": two}))] == ["a", "a"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be one document with a list under `keys`"),
        ("- name: a", "must be one document with a list under `keys`"),
        ("keys: []\n---\nkeys: []", "must be one document"),
        ("keys: {}", "keys: must be a list"),
        ("keys: []\nkey: canary", r"has 1 unknown field\(s\) beside `keys`"),
        ("keys: [canary]", r"keys\[0\]: must be a mapping"),
        ("keys:\n  - name: [canary", "is not valid YAML in line"),
        ('{"keys": [], "keys": []}', "or has a key twice"),
        (document(name="-"), r"keys\[0\]\.name: must be 1 to 63 letters"),
        (document(name=7), r"keys\[0\]\.name: input should be a valid string"),
        (document(sha256="canary"), r"keys\[0\] \(team-a\)\.sha256: must be the SHA-256 of the key in 64"),
        (document(sha256=hashlib.sha256(b"").hexdigest()), r"\(team-a\)\.sha256: is the SHA-256 of no text at all"),
        (document(scopes=[]), r"keys\[0\] \(team-a\)\.scopes: tuple should have at least 1 item"),
        (document(scopes=["canary"]), r"scopes\.0: input should be 'models' or 'admin'"),
        (document(scopes="models"), r"scopes: input should be a valid tuple"),
        (document(requestsPerMinute=0), "requestsPerMinute: input should be greater than or equal to 1"),
        (document(requestsPerMinute="60"), "requestsPerMinute: input should be a valid integer"),
        (document(imagesPerDay=True), "imagesPerDay: input should be a valid integer"),
        (document(models=["", "a"]), "models: must hold names or patterns"),
        (document(disabled="no"), "disabled: input should be a valid boolean"),
        (document(expires="2026-12-31T18:00:00"), "expires: must be a day, 2026-12-31, or a time with its zone"),
        (document(expires=20261231), "expires: must be a day"),
        (document(canary="canary"), r"keys\[0\] \(team-a\): has a field that is unknown; those known are name, sha256"),
    ],
)
def test_what_cannot_be_used_is_named_and_not_repeated(text: str, problem: str) -> None:
    with pytest.raises(KeysError, match=problem) as caught:
        parse_keys(text)
    assert "canary" not in str(caught.value)


def test_one_key_has_one_entry() -> None:
    twice = [{"name": "a", "sha256": DIGEST}, {"name": "b", "sha256": DIGEST}]
    with pytest.raises(KeysError, match="sha256: 'a' and 'b' are one and the same key; keep one entry"):
        parse_keys(json.dumps({"keys": twice}))


def test_patterns_take_in_slashes_and_mind_case() -> None:
    caller = Caller("a", frozenset(), models=("team-a/*", "tiny"))
    assert caller.may_use(["team-a/x/y"])
    assert caller.may_use(["other", "tiny"])
    assert not caller.may_use(["Tiny", "team-b/tiny"])
    assert ANONYMOUS.may_use(["anything"])
