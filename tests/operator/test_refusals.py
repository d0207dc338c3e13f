"""Why the API server does not take or remove a child, in words."""

import pytest

from heliograph_operator.diagnosis.reasons import CAUSES
from heliograph_operator.diagnosis.refusals import child_refused, removal_refused
from heliograph_operator.diagnosis.trouble import Trouble

CHILDREN = {
    'persistentvolumeclaims "x" is forbidden: exceeded quota: disk, requested: requests.storage=50Gi, used: '
    "requests.storage=0, limited: requests.storage=1Gi": (
        "QuotaExceeded",
        "The ResourceQuota disk allows no further PersistentVolumeClaim (it asks for requests.storage=50Gi, and",
    ),
    'persistentvolumeclaims "x" is forbidden: User "system:serviceaccount:a:b" cannot patch resource '
    '"persistentvolumeclaims" in API group "" in the namespace "n"': (
        "RightMissing",
        "The operator may not patch persistentvolumeclaims in this namespace: ask the administrator",
    ),
    'PersistentVolumeClaim "x" is invalid: spec: Forbidden: is immutable\nafter creation': (
        "ApplyFailed",
        'refuses PersistentVolumeClaim x (PersistentVolumeClaim "x" is invalid: spec: Forbidden: is immutable after',
    ),
}


@pytest.mark.parametrize("message", CHILDREN)
def test_why_a_child_is_not_taken(message: str) -> None:
    reason, words = CHILDREN[message]
    found = child_refused(message, kind="PersistentVolumeClaim", name="x")
    assert found.reason == reason
    assert words in found.message
    assert found.message.endswith(f": {CAUSES[reason].remedy}.")


def test_a_webhook_that_does_not_answer_reads_the_same_at_each_attempt() -> None:
    def told(port: int) -> Trouble:
        message = (
            'Internal error occurred: failed calling webhook "guard.example.org": failed to call webhook: Post '
            f'"https://guard.a.svc:443/?timeout=10s": read tcp 10.0.0.1:{port}->10.0.0.2:443: connection reset by peer'
        )
        return child_refused(message, kind="Deployment", name="x")

    assert told(34567) == told(45678)
    assert 'failed calling webhook "guard.example.org"' in told(34567).message
    assert "10.0.0.2:443: connection reset by peer" in told(34567).message


def test_why_something_stays_that_is_not_asked_for_any_more() -> None:
    def told(message: str) -> Trouble:
        return removal_refused(message, what="Service x")

    assert told("not by hand") == Trouble(
        "RemovalFailed", "The API server refuses to remove Service x (not by hand): correct what the message names."
    )
    quota = told("exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=3, limited: 3")
    assert quota.reason == "QuotaExceeded"
    assert quota.message.startswith("The ResourceQuota q allows no further object to remove Service x (it asks for")
    assert told('User "a" cannot delete resource "services" in API group ""').reason == "RightMissing"
