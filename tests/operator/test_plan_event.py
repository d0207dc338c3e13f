"""Which changes of conditions are told by Events, and how."""

from datetime import UTC, datetime
from typing import Any

from heliograph_operator.plan.event import plan_events

NOW = datetime(2026, 5, 1, 12, 0, 30, 1234, tzinfo=UTC)


def condition(kind: str, status: str, reason: str, message: str = "m") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def image_model(*conditions: dict[str, Any], version: str = "7") -> dict[str, Any]:
    metadata = {"name": "flux.1", "namespace": "art", "uid": "u", "resourceVersion": version}
    return {"metadata": metadata, "status": {"conditions": list(conditions)}}


def events(obj: dict[str, Any], *conditions: dict[str, Any]) -> list[dict[str, Any]]:
    return plan_events(obj, conditions, now=NOW, instance="pod-1")


def told(obj: dict[str, Any], *conditions: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(event["type"], event["reason"], event["action"]) for event in events(obj, *conditions)]


def test_a_change_of_status_or_reason_is_told_and_one_of_words_is_not() -> None:
    old = condition("Ready", "False", "Starting")
    assert told(image_model(old), old) == []
    assert told(image_model(old), condition("Ready", "False", "Starting", "other words")) == []
    assert told(image_model(old), condition("Ready", "True", "Serving")) == [("Normal", "Serving", "Ready")]
    assert told(image_model(old), condition("Ready", "False", "CrashLoop")) == [("Warning", "CrashLoop", "Ready")]


def test_of_a_condition_that_is_new_only_trouble_is_told() -> None:
    assert told(image_model(), condition("Accepted", "True", "Valid"), condition("Ready", "False", "Starting")) == []
    conflict = condition("NameConflict", "True", "NameTaken")
    assert told(image_model(), conflict) == [("Warning", "NameTaken", "NameConflict")]
    assert told({"metadata": image_model()["metadata"]}, conflict) == told(image_model(), conflict)


def test_what_two_conditions_say_alike_is_told_once() -> None:
    conditions = [condition(kind, "False", "CrashLoop") for kind in ("Ready", "Progressing")]
    assert told(image_model(), *conditions) == [("Warning", "CrashLoop", "Ready")]


def test_an_event_as_a_whole() -> None:
    (event,) = events(image_model(), condition("Ready", "False", "OutOfMemory", "The container was killed: do this."))
    name = event["metadata"].pop("name")
    assert name.startswith("flux-1-7dde2ed2.")
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "art"},
        "eventTime": "2026-05-01T12:00:30.001234Z",
        "type": "Warning",
        "reason": "OutOfMemory",
        "note": "The container was killed: do this.",
        "action": "Ready",
        "regarding": {
            "apiVersion": "heliograph.dev/v1alpha1",
            "kind": "ImageModel",
            "namespace": "art",
            "name": "flux.1",
            "uid": "u",
        },
        "reportingController": "heliograph-operator",
        "reportingInstance": "pod-1",
    }


def test_the_same_transition_of_the_same_version_has_the_same_name() -> None:
    crash = condition("Ready", "False", "CrashLoop")

    def name(version: str) -> str:
        return str(events(image_model(version=version), crash)[0]["metadata"]["name"])

    assert name("7") == name("7") != name("8")


def test_a_long_message_fits_an_event() -> None:
    (event,) = events(image_model(), condition("Ready", "False", "CrashLoop", "ü" * 1000))
    assert event["note"] == "ü" * 512
