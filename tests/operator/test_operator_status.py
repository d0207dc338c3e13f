"""The status as a function of what was seen."""

from datetime import UTC, datetime
from typing import Any

import pytest

from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_api.status import ImageModelStatus, SpecWarning
from heliograph_operator.diagnosis.refusals import child_refused, removal_refused
from heliograph_operator.diagnosis.trouble import Trouble, trouble
from heliograph_operator.observation import Observation, Rollout
from heliograph_operator.plan.children import plan
from heliograph_operator.settings import OperatorSettings
from heliograph_operator.status import plan_status, status_changes

NOW = datetime(2026, 5, 1, 12, 0, 30, 999, tzinfo=UTC)
LATER = datetime(2026, 5, 1, 13, 0, 0, tzinfo=UTC)
REFUSED = child_refused("bad", kind="Deployment", name="x")
STAYS = removal_refused("bad", what="Service x")
OVER_QUOTA = child_refused("exceeded quota: q, requested: a=2, used: a=0, limited: a=1", kind="Service", name="x")


def image_model(spec: dict[str, Any] | None = None, *, generation: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "flux.1", "namespace": "art", "uid": "u", "generation": generation},
        "spec": {"parameters": {"model": "m.safetensors"}} if spec is None else spec,
        "status": status,
    }


def deployment(*, wanted: int = 1, current: bool = True, **status: int) -> Rollout:
    return Rollout.of(
        {
            "metadata": {"generation": 2},
            "spec": {"replicas": wanted},
            "status": {"observedGeneration": 2 if current else 1, **status},
        }
    )


def ready_deployment(count: int = 1, *, wanted: int | None = None) -> Rollout:
    return deployment(
        wanted=count if wanted is None else wanted,
        replicas=count,
        readyReplicas=count,
        updatedReplicas=count,
        availableReplicas=count,
    )


def observe(obj: dict[str, Any], **seen: Any) -> Observation:
    model = ImageModel.from_object(obj)
    planned = plan(model=model, settings=OperatorSettings())
    return Observation(obj=obj, model=model, plan=planned, **seen)


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in status["conditions"]}


def message(status: dict[str, Any], kind: str) -> str:
    return str(next(item["message"] for item in status["conditions"] if item["type"] == kind))


def test_the_first_status_is_whole() -> None:
    status = plan_status(observe(image_model()), now=NOW)
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "observedGeneration": 1,
        "replicas": 0,
        "readyReplicas": 0,
        "selector": "app.kubernetes.io/name=heliograph-runtime,heliograph.dev/model=flux-1-7dde2ed2",
        "engine": {"name": "diffusers", "reason": "no backend, GGUF file or stable-diffusion.cpp option is named"},
        "model": "flux.1",
        "url": "http://flux-1-7dde2ed2.art.svc:8080",
        "warnings": None,
        "weights": {"summary": "WeightsMissing"},
    }
    assert conditions(status) == {
        "Accepted": ("True", "Valid"),
        "Ready": ("False", "Starting"),
        "Progressing": ("True", "Starting"),
        "WeightsCached": ("False", "WeightsMissing"),
    }
    ImageModelStatus.model_validate({key: value for key, value in status.items() if value is not None})


@pytest.mark.parametrize(
    ("rollout", "ready", "progressing"),
    [
        (ready_deployment(2), ("True", "Serving"), ("False", "Complete")),
        (ready_deployment(1, wanted=2), ("True", "Serving"), ("True", "RollingOut")),
        (deployment(wanted=1), ("False", "Starting"), ("True", "RollingOut")),
        (deployment(wanted=0), ("False", "ScaledToZero"), ("False", "Complete")),
        (deployment(wanted=0, current=False), ("False", "ScaledToZero"), ("True", "RollingOut")),
        (
            # The old pod serves on while the new one is not ready.
            deployment(wanted=1, replicas=2, readyReplicas=1, updatedReplicas=1, availableReplicas=1),
            ("True", "Serving"),
            ("True", "RollingOut"),
        ),
    ],
)
def test_ready_and_progressing(rollout: Rollout, ready: tuple[str, str], progressing: tuple[str, str]) -> None:
    spec = {"parameters": {"model": "m"}, "serving": {"replicas": rollout.wanted}}
    found = conditions(plan_status(observe(image_model(spec), rollout=rollout), now=NOW))
    assert (found["Ready"], found["Progressing"]) == (ready, progressing)


@pytest.mark.parametrize(
    ("rollout", "ready"),
    [
        (deployment(wanted=2, replicas=3, updatedReplicas=1), ("False", "Starting")),
        (deployment(wanted=2, replicas=2, updatedReplicas=1), ("False", "NoGpuFree")),
    ],
    ids=["an old one is about to end", "none ends that is wanted"],
)
def test_a_gpu_that_is_wanted_is_told_of_unless_an_old_pod_leaves_one(rollout: Rollout, ready: tuple[str, str]) -> None:
    spec = {"parameters": {"model": "m"}, "serving": {"replicas": 2}}
    seen = observe(image_model(spec), rollout=rollout, trouble=Trouble("NoGpuFree", "no GPU is free"))
    assert conditions(plan_status(seen, now=NOW))["Ready"] == ready


def test_a_model_that_is_wanted_does_not_sleep_though_its_deployment_cannot_be_changed() -> None:
    spec = {"parameters": {"model": "m"}, "serving": {"replicas": 1, "scaling": {"min": 0}}}
    seen = observe(image_model(spec), rollout=deployment(wanted=0), refusals=[OVER_QUOTA])
    assert conditions(plan_status(seen, now=NOW))["Ready"] == ("False", "QuotaExceeded")


def test_what_ails_new_replicas_is_told_and_old_ones_serve_on() -> None:
    found = Trouble("OutOfMemory", "The container was killed: raise its limit.")
    status = plan_status(observe(image_model(), rollout=deployment(), trouble=found), now=NOW)
    assert conditions(status)["Ready"] == conditions(status)["Progressing"] == ("False", "OutOfMemory")
    assert message(status, "Ready") == found.message
    rolling = deployment(wanted=1, replicas=2, readyReplicas=1, updatedReplicas=1, availableReplicas=1)
    status = plan_status(observe(image_model(), rollout=rolling, trouble=found), now=NOW)
    assert conditions(status)["Ready"] == ("True", "Serving")
    assert conditions(status)["Progressing"] == ("False", "OutOfMemory")


def test_weights_that_do_not_come_are_told_before_what_ails_the_replicas() -> None:
    missing = Trouble("WeightsNotFound", "spec.parameters.model: there is no such repository; correct it")
    obj = image_model({"parameters": {"model": "hf://nobody/nothing"}})
    seen = observe(obj, fetch_trouble=missing, trouble=Trouble("Unschedulable", "No node."))
    status = plan_status(seen, now=NOW)
    found = conditions(status)
    assert found["Ready"] == found["Progressing"] == found["WeightsCached"] == ("False", "WeightsNotFound")
    assert message(status, "WeightsCached") == missing.message


@pytest.mark.parametrize(
    ("spec", "rollout", "ready", "progressing"),
    [
        ({}, None, ("False", "Fetching"), ("True", "Fetching")),
        ({}, ready_deployment(), ("True", "Serving"), ("True", "Fetching")),
        ({}, deployment(wanted=1), ("False", "Starting"), ("True", "Fetching")),
        ({"disabled": True}, None, ("False", "Disabled"), ("False", "Disabled")),
        ({"disabled": True}, deployment(wanted=0), ("False", "Disabled"), ("False", "Complete")),
    ],
    ids=["first ones", "others serve", "others start", "disabled from the start", "disabled"],
)
def test_replicas_of_weights_that_are_fetched_are_still_to_come(
    spec: dict[str, Any], rollout: Rollout | None, ready: tuple[str, str], progressing: tuple[str, str]
) -> None:
    obj = image_model({"parameters": {"model": "hf://nobody/nothing"}, **spec})
    found = conditions(plan_status(observe(obj, rollout=rollout), now=NOW))
    assert (found["Ready"], found["Progressing"]) == (ready, progressing)


@pytest.mark.parametrize(
    ("has_fetcher", "reason"), [(False, "QuotaExceeded"), (True, "Fetching")], ids=["unmade", "fetching"]
)
def test_weights_whose_fetcher_could_not_be_made_are_not_being_fetched(has_fetcher: bool, reason: str) -> None:
    obj = image_model({"parameters": {"model": "hf://nobody/nothing"}})
    status = plan_status(observe(obj, refusals=[OVER_QUOTA], has_fetcher=has_fetcher), now=NOW)
    assert conditions(status)["WeightsCached"] == ("False", reason)
    assert conditions(status)["Progressing"] == ("False", "QuotaExceeded")


def test_replicas_that_are_about_to_go_are_not_counted_among_those_that_are_wanted() -> None:
    surging = deployment(wanted=1, replicas=2, readyReplicas=2, updatedReplicas=1, availableReplicas=2)
    status = plan_status(observe(image_model(), rollout=surging), now=NOW)
    assert (message(status, "Ready"), status["readyReplicas"]) == ("1 of 1 replicas answer requests.", 2)


def test_what_an_invalid_spec_leaves_says_what_ails_it_and_what_wakes_it() -> None:
    problem = SpecError("spec.serving.profile", "there is none of that name")
    serving: dict[str, Any] = {"scaling": {"min": 0}}

    def told(replicas: int, **seen: Any) -> dict[str, Any]:
        obj = image_model({"parameters": {"model": "m"}, "serving": {**serving, "replicas": replicas}})
        model = ImageModel.from_object(obj)
        return plan_status(Observation(obj=obj, model=model, problem=problem, **seen), now=NOW)

    starting = conditions(told(1, rollout=deployment(wanted=1)))
    assert (starting["Ready"], starting["Progressing"]) == (("False", "Starting"), ("False", "InvalidSpec"))
    assert "WeightsCached" not in starting
    ailing = told(1, rollout=deployment(wanted=1), trouble=Trouble("NoGpuFree", "No node takes the pod."))
    assert conditions(ailing)["Ready"] == ("False", "NoGpuFree")
    asleep = told(0, rollout=deployment(wanted=0))
    assert conditions(asleep)["Ready"] == ("False", "ScaledToZero")
    assert message(asleep, "Ready") == "Nobody needs a replica now; the next request starts one."


def test_a_model_that_sleeps_says_what_wakes_it() -> None:
    def told(scaling: dict[str, Any] | None) -> str:
        spec = {"parameters": {"model": "m"}, "serving": {"replicas": 0, "scaling": scaling}}
        return message(plan_status(observe(image_model(spec), rollout=deployment(wanted=0)), now=NOW), "Ready")

    assert told({"min": 0}) == "Nobody needs a replica now; the next request starts one."
    assert "set spec.serving.replicas" in told(None)


def test_two_autoscalers_are_a_conflict() -> None:
    spec = {"parameters": {"model": "m"}, "serving": {"scaling": {"min": 0}}}
    status = plan_status(observe(image_model(spec), rollout=ready_deployment(), rivals=["by-cpu"]), now=NOW)
    assert conditions(status)["ScalingConflict"] == ("True", "TwoAutoscalers")
    assert "HorizontalPodAutoscaler by-cpu" in message(status, "ScalingConflict")
    assert "ScalingConflict" not in conditions(plan_status(observe(image_model(spec)), now=NOW))
    status = plan_status(observe(image_model(), rollout=ready_deployment(), misaimed=["keda-hpa-x"]), now=NOW)
    assert conditions(status)["ScalingConflict"] == ("True", "WrongScaleTarget")
    assert "have it, or the ScaledObject that it is of, target the ImageModel flux.1." in message(
        status, "ScalingConflict"
    )


def test_a_model_without_a_gpu_says_whose_it_may_get() -> None:
    def told(*lenders: str) -> str:
        no_gpu = trouble("NoGpuFree", "No node takes the pod")
        seen = observe(image_model(), rollout=deployment(wanted=1), trouble=no_gpu, lenders=lenders)
        return message(plan_status(seen, now=NOW), "Ready")

    assert told("art", "team").endswith("For a request, only idle models of art, team give theirs up.")
    assert told().endswith("lower spec.serving.gpus.")


@pytest.mark.parametrize(
    ("spec", "ready"),
    [
        ({"parameters": {"model": "m"}, "disabled": True}, ("False", "Disabled")),
        ({"parameters": {"model": "m"}, "serving": {"replicas": 0}}, ("False", "ScaledToZero")),
    ],
)
def test_no_replicas_are_wanted(spec: dict[str, Any], ready: tuple[str, str]) -> None:
    status = plan_status(observe(image_model(spec), rollout=deployment(wanted=0)), now=NOW)
    assert conditions(status)["Ready"] == ready
    assert status["replicas"] == 0
    assert status["selector"]


@pytest.mark.parametrize(("exists", "ready"), [(True, ("True", "TargetFound")), (False, ("False", "TargetMissing"))])
def test_an_alias_is_ready_when_its_target_exists(exists: bool, ready: tuple[str, str]) -> None:
    status = plan_status(observe(image_model({"alias": "tiny"}), target_exists=exists), now=NOW)
    assert conditions(status) == {"Accepted": ("True", "Alias"), "Ready": ready}
    assert (status["engine"], status["url"], status["model"]) == (None, None, "flux.1")
    assert status["selector"]


def test_weights_in_an_existing_claim() -> None:
    spec = {"parameters": {"model": "m"}, "serving": {"cache": {"existingClaim": "weights"}}}
    status = plan_status(observe(image_model(spec)), now=NOW)
    assert conditions(status)["WeightsCached"] == ("True", "ExistingClaim")
    assert "PersistentVolumeClaim weights" in message(status, "WeightsCached")


def test_missing_weights_are_named_with_the_remedy() -> None:
    text = message(plan_status(observe(image_model()), now=NOW), "WeightsCached")
    assert "m.safetensors" in text
    assert "spec.serving.cache.existingClaim" in text


def test_an_invalid_spec_leaves_what_the_last_valid_one_said() -> None:
    before = plan_status(observe(image_model({"name": "Flux", "parameters": {"model": "m"}})), now=NOW)
    obj = image_model({"step": "many"}, generation=2, **before)
    problem = SpecError("spec.step", "must be a number")
    status = plan_status(Observation(obj=obj, problem=problem, rollout=ready_deployment()), now=LATER)
    assert (status["engine"], status["model"], status["url"]) == (before["engine"], "Flux", before["url"])
    assert status["observedGeneration"] == 2
    assert conditions(status) == {
        "Accepted": ("False", "InvalidSpec"),
        "Ready": ("True", "Serving"),
        "Progressing": ("False", "InvalidSpec"),
        "WeightsCached": ("False", "WeightsMissing"),
    }
    assert message(status, "Accepted") == "spec.step: must be a number"


def test_an_invalid_spec_from_the_start() -> None:
    problem = SpecError("spec.step", "must be a number")
    status = plan_status(Observation(obj=image_model({}), problem=problem), now=NOW)
    assert conditions(status) == {
        "Accepted": ("False", "InvalidSpec"),
        "Ready": ("False", "InvalidSpec"),
        "Progressing": ("False", "InvalidSpec"),
    }
    assert (status["engine"], status["model"], status["url"]) == (None, None, None)


@pytest.mark.parametrize(
    ("seen", "reason", "text"),
    [
        ({"conflicts": ["Service flux-1-7dde2ed2"]}, "NameTaken", "delete or rename Service flux-1-7dde2ed2"),
        ({"refusals": [REFUSED]}, "ApplyFailed", "refuses Deployment x (bad): correct what the message names."),
        ({"refusals": [REFUSED, OVER_QUOTA]}, "ApplyFailed", OVER_QUOTA.message),
        ({"awaits_removal": True}, "AwaitingRemoval", "still being removed"),
    ],
)
def test_what_stands_in_the_way_is_said(seen: dict[str, Any], reason: str, text: str) -> None:
    status = plan_status(observe(image_model(), **seen), now=NOW)
    found = conditions(status)
    assert found["Ready"] == found["Progressing"] == ("False", reason)
    assert text in message(status, "Ready")
    assert ("NameConflict" in found) == ("conflicts" in seen)


def test_a_refused_change_does_not_make_serving_replicas_unready() -> None:
    seen = observe(image_model(), rollout=ready_deployment(), refusals=[REFUSED])
    found = conditions(plan_status(seen, now=NOW))
    assert found["Ready"] == ("True", "Serving")
    assert found["Progressing"] == ("False", "ApplyFailed")


def test_what_can_not_be_removed_is_told_where_nothing_goes_on_and_keeps_no_replica() -> None:
    def told(obj: dict[str, Any], **seen: Any) -> dict[str, tuple[str, str]]:
        return conditions(plan_status(observe(obj, leftovers=[STAYS], **seen), now=NOW))

    starting = told(image_model(), rollout=deployment())
    assert (starting["Ready"], starting["Progressing"]) == (("False", "Starting"), ("True", "RollingOut"))
    serving = told(image_model(), rollout=ready_deployment())
    assert (serving["Ready"], serving["Progressing"]) == (("True", "Serving"), ("False", "RemovalFailed"))
    alias = told(image_model({"alias": "tiny"}), target_exists=True)
    assert (alias["Ready"], alias["Progressing"]) == (("True", "TargetFound"), ("False", "RemovalFailed"))


def test_a_transition_time_stays_until_the_status_flips() -> None:
    obj = image_model()
    obj["status"] = plan_status(observe(obj, rollout=deployment()), now=NOW)
    unchanged = plan_status(observe(obj, rollout=deployment()), now=LATER)
    assert status_changes(unchanged, obj) == {}
    flipped = plan_status(observe(obj, rollout=ready_deployment()), now=LATER)
    times = {item["type"]: item["lastTransitionTime"] for item in flipped["conditions"]}
    assert times["Accepted"] == "2026-05-01T12:00:30Z"
    assert times["Ready"] == "2026-05-01T13:00:00Z"
    assert set(status_changes(flipped, obj)) == {"conditions", "replicas", "readyReplicas"}


def test_what_has_nothing_to_say_is_removed_once() -> None:
    obj = image_model()
    warned = plan_status(observe(obj, warnings=[SpecWarning(reason="UnknownKey", message="stepp")]), now=NOW)
    obj["status"] = {key: value for key, value in warned.items() if value is not None}
    quiet = plan_status(observe(obj), now=NOW)
    assert status_changes(quiet, obj) == {"warnings": None}
    del obj["status"]["warnings"]
    assert status_changes(quiet, obj) == {}


def test_long_messages_and_many_warnings_fit_the_schema() -> None:
    warnings = [SpecWarning(reason="UnknownKey", message=str(number)) for number in range(100)]
    seen = observe(image_model(), warnings=warnings, refusals=[REFUSED] * 1000)
    status = plan_status(seen, now=NOW)
    ImageModelStatus.model_validate({key: value for key, value in status.items() if value is not None})
