"""Why weights do not come, told from the Jobs and pods that fetch them."""

import json

import pytest

from heliograph_operator.diagnosis.fetching import fetch_trouble
from heliograph_operator.diagnosis.trouble import Trouble
from pod_statuses import FETCHER, LATER, START, Status, ended, pod, pod_status, waiting


def job(reason: str) -> Status:
    conditions = [{"type": "Failed", "status": "True", "reason": reason}]
    return {"spec": {"activeDeadlineSeconds": 600}, "status": {"conditions": conditions}}


def fetch_pod(message: str, *, name: str = "f", created: str = START, phase: str = "Failed", code: int = 1) -> Status:
    status = pod_status(ended("Error", code, message))
    return pod({**status, "phase": phase}, name=name, created=created)


@pytest.mark.parametrize("reason", FETCHER)
def test_a_fetchers_last_words(reason: str) -> None:
    words = json.dumps({"reason": reason, "message": FETCHER[reason]})
    for message in (words, f"fetching 3 files\n{words}\n"):
        assert fetch_trouble(None, [fetch_pod(message)]) == Trouble(reason, FETCHER[reason])


def test_the_newest_try_to_fetch_is_believed_until_one_succeeds() -> None:
    first = fetch_pod(json.dumps({"reason": "SourceUnreachable", "message": "first"}))
    second = fetch_pod(json.dumps({"reason": "DiskFull", "message": "second"}), name="g", created=LATER)
    at_work = pod(pod_status({"running": {"startedAt": LATER}}), name="h", created="2026-05-01T12:06:00Z")
    assert fetch_trouble(None, [first, second]) == Trouble("DiskFull", "second")
    assert fetch_trouble(None, [at_work, first, second]) == Trouble("DiskFull", "second")
    done = fetch_pod(
        '{"reason": "Fetched", "bytes": 1}', name="h", created="2026-05-01T12:06:00Z", phase="Succeeded", code=0
    )
    assert fetch_trouble(None, [first, second, done]) is None


def test_a_fetcher_that_cannot_even_start() -> None:
    missing = fetch_trouble(None, [pod(waiting("CreateContainerConfigError", 'secret "hub" not found'))])
    assert missing is not None
    assert missing.reason == "SecretMissing"
    killed = fetch_trouble(None, [pod({**pod_status(ended("OOMKilled", 137)), "phase": "Failed"})])
    assert killed is not None
    assert killed.reason == "OutOfMemory"


def test_a_job_that_gave_up() -> None:
    assert fetch_trouble(job("BackoffLimitExceeded"), []) is not None
    late = fetch_trouble(job("DeadlineExceeded"), [])
    assert late is not None
    assert late.reason == "FetchTimeout"
    assert "within 600 s" in late.message
    assert fetch_trouble({"spec": {}}, []) is None
    assert fetch_trouble(None, []) is None
