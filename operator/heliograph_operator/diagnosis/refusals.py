"""Why the API server does not take an object, from its own words."""

import re

from heliograph_operator.diagnosis.trouble import Trouble, quote, trouble

_SUBJECT = re.compile(r'^(?:.*: )?(?:pods|replicasets\.apps) "[^"]*" is forbidden: ')
"""Each attempt names another pod."""
_QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,]+), requested: (?P<requested>.*), used: .*, limited: (?P<limited>.*)$"
)
_QUOTA_WANTS = re.compile(r"failed quota: (?P<name>[^:]+): must specify (?P<what>.*)$")
_RIGHT = re.compile(r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"')


def pods_refused(message: str) -> Trouble:
    """Return why pods cannot be made."""
    return _by_quota(message, "pod") or trouble(
        "PodRejected", f"The pods are refused ({quote(_SUBJECT.sub('', message))})"
    )


def child_refused(message: str, *, kind: str, name: str) -> Trouble:
    """Return why a child of an ImageModel is not taken."""
    return (
        _by_right(message)
        or _by_quota(message, kind)
        or trouble("ApplyFailed", f"The API server refuses {kind} {name} ({quote(message)})")
    )


def removal_refused(message: str, *, what: str) -> Trouble:
    """Return why something that is not asked for any more stays."""
    return (
        _by_right(message)
        or _by_quota(message, f"object to remove {what}")
        or trouble("RemovalFailed", f"The API server refuses to remove {what} ({quote(message)})")
    )


def _by_right(message: str) -> Trouble | None:
    if found := _RIGHT.search(message):
        return trouble("RightMissing", f"The operator may not {found['verb']} {found['resource']} in this namespace")
    return None


def _by_quota(message: str, what: str) -> Trouble | None:
    if found := _QUOTA.search(message):
        # What is used is left out: it changes with what else the namespace holds.
        return trouble(
            "QuotaExceeded",
            f"The ResourceQuota {found['name']} allows no further {what} (it asks for {found['requested']}, and "
            f"{found['limited']} is all there may be)",
        )
    if found := _QUOTA_WANTS.search(message):
        return trouble("QuotaExceeded", f"The ResourceQuota {found['name']} wants {quote(found['what'])} to be given")
    return None
