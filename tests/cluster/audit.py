"""The API server's audit log: what is logged, and reading it back."""

import json
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cluster.waiting import eventually

_BARRIER = "audit-barrier"

AUDITED = "audited"
"""Namespace of whose service accounts every request is logged, reads too."""

# First match wins. Leases and events are written all the time by design; reads change nothing.
POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {"level": "Metadata", "userGroups": [f"system:serviceaccounts:{AUDITED}"]},
        {
            "level": "None",
            "resources": [
                {"group": "coordination.k8s.io", "resources": ["leases"]},
                {"group": "", "resources": ["events"]},
                {"group": "events.k8s.io", "resources": ["events"]},
            ],
        },
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        {"level": "None"},
    ],
}


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """One request that the API server was asked for, whether it granted it or not."""

    verb: str
    """create, update, patch, delete or deletecollection, or get, list or watch; server-side apply is a patch."""
    resource: str
    """As in `kubectl get`: `configmaps`, `deployments.apps`, with a subresource `deployments.apps/scale`."""
    namespace: str
    """Empty for what is in no namespace."""
    name: str
    """Empty where the API server chose it or the request named none."""
    user: str
    """`system:serviceaccount:NAMESPACE:NAME` for a service account."""
    user_agent: str
    code: int
    """HTTP status of the answer."""
    uri: str
    """Path and query, so that dry runs and field managers show."""


class AuditLog:
    """The writes that an API server was asked for, without leases and events."""

    def __init__(self, path: Path, admin: httpx.Client) -> None:
        """Read the log at `path`, of the API server that `admin` speaks to."""
        self._path = path
        self._admin = admin

    def mark(self) -> int:
        """Return the place in the log after everything that was answered until now, for `events`."""
        return self._barrier(self._path.stat().st_size)[1]

    def events(
        self,
        since: int,
        *,
        user: str | None = None,
        user_agent: str | None = None,
        verbs: Collection[str] | None = None,
    ) -> list[AuditEvent]:
        """Return what was answered between `mark`, which returned `since`, and now.

        Args:
            since: What `mark` returned.
            user: Only this user's; `system:serviceaccount:NAMESPACE:NAME` for a service account.
            user_agent: Only by clients whose user agent contains this.
            verbs: Only these of create, update, patch, delete and deletecollection.
        """
        events = map(_parse_event, self._barrier(since)[0])
        return [
            event
            for event in events
            if not event.user_agent.startswith(_BARRIER)
            and (user is None or event.user == user)
            and (user_agent is None or user_agent in event.user_agent)
            and (verbs is None or event.verb in verbs)
        ]

    def _barrier(self, since: int) -> tuple[list[bytes], int]:
        """Make a write, wait for it in the log, and return the lines from `since` to it, and the place after it.

        An answer may reach the client a moment before its line reaches the file; a whole request later it is there.
        """
        barrier = f"{_BARRIER}/{uuid.uuid4()}"
        self._admin.post(
            "/api/v1/namespaces/default/configmaps?dryRun=All",
            headers={"User-Agent": barrier},
            json={"metadata": {"generateName": f"{_BARRIER}-"}},
        ).raise_for_status()

        def lines_to_barrier() -> list[bytes] | None:
            with self._path.open("rb") as log:
                log.seek(since)
                lines = log.read().splitlines(keepends=True)
            ends = [number for number, line in enumerate(lines, 1) if barrier.encode() in line and line.endswith(b"\n")]
            return lines[: ends[0]] if ends else None

        lines = eventually(lines_to_barrier, what="own write in the audit log")
        assert lines is not None
        return lines, since + sum(map(len, lines))


def _parse_event(line: bytes) -> AuditEvent:
    event = json.loads(line)
    target = event.get("objectRef", {})
    resource = ".".join(filter(None, (target.get("resource"), target.get("apiGroup"))))
    return AuditEvent(
        verb=event["verb"],
        resource="/".join(filter(None, (resource, target.get("subresource")))),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        user=event["user"].get("username", ""),
        user_agent=event.get("userAgent", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        uri=event["requestURI"],
    )
