"""The API server as the operator uses it: plain JSON over the official client's transport."""

import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from kubernetes.aio import client, config

from heliograph_api import naming
from heliograph_operator.resources import Object, Resource

_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_LIST_LIMIT = 500


class KubeError(Exception):
    """A request that the API server refused or could not answer.

    Attributes:
        status: HTTP status; 0 when there was no answer.
        message: What the API server said, or why there was no answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}" if status else message)
        self.status = status
        self.message = message


class NotFoundError(KubeError):
    """There is no such object, or no such kind."""


class ConflictError(KubeError):
    """The object is another one than was meant, or somebody else owns a field."""


class ForbiddenError(KubeError):
    """The operator lacks the right, or an admission rule or quota forbids the object, or can't be asked about it."""


class InvalidError(KubeError):
    """The API server does not take the object as it is."""


class UnavailableError(KubeError):
    """The API server cannot be reached, or has too much to do."""


_ERRORS: Mapping[int, type[KubeError]] = {
    400: InvalidError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidError,
    429: UnavailableError,
}


_UNASKED = "failed calling webhook"
"""What an answer says, with status 500, where an admission webhook that must be asked does not answer."""


class CredentialsError(Exception):
    """There are no credentials for the API server."""


class KubeApi(Protocol):
    """What the operator asks of the API server. Every method raises `KubeError`."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """Return one object; None is for a kind that is in no namespace."""

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        labels: Mapping[str, str] = {},
        fields: Mapping[str, str] = {},
    ) -> list[Object]:
        """Return the objects of a kind that bear all `labels` and have all `fields`; None is all namespaces."""

    async def apply(
        self, resource: Resource, obj: Object, *, force: bool = True, manager: str = naming.FIELD_MANAGER
    ) -> Object:
        """Apply `obj` server-side and return the whole object; without `force`, others' fields are a conflict."""

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create `obj`; one of that name is a conflict."""

    async def delete(
        self, resource: Resource, obj: Object, *, unchanged: bool = False, foreground: bool = False
    ) -> None:
        """Delete `obj` if it still has the uid that it was read with; see `KubeClient.delete`."""

    async def patch_status(self, resource: Resource, obj: Object, status: Mapping[str, Any]) -> Object:
        """Merge `status` into that of `obj` if that has not changed since it was read; None removes a field."""

    async def scale(self, resource: Resource, obj: Object, replicas: int) -> None:
        """Set the size of `obj` by its /scale if it has not changed since it was read."""

    async def serves(self, resource: Resource) -> bool:
        """Return whether the API server knows the kind."""


class RequestMetrics(Protocol):
    """What a client reports."""

    def requested(self, method: str, status: int, seconds: float) -> None:
        """A request was answered with an HTTP status after `seconds`; 0 when there was no answer."""


class KubeClient:
    """`KubeApi` over HTTP."""

    def __init__(
        self,
        api: client.ApiClient,
        *,
        request_timeout: float,
        renew: Callable[[], Awaitable[None]] | None = None,
        metrics: RequestMetrics | None = None,
    ) -> None:
        """Use `api`.

        Args:
            api: The official client.
            request_timeout: Seconds after which a request is given up.
            renew: Reads the credentials anew; called when the API server refuses those that there are.
            metrics: Where each request is reported.
        """
        self._api = api
        self._renew = renew
        self._metrics = metrics
        self._timeout = aiohttp.ClientTimeout(total=request_timeout)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """Return one object; None is for a kind that is in no namespace."""
        return await self._request("GET", resource.path(namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        labels: Mapping[str, str] = {},
        fields: Mapping[str, str] = {},
    ) -> list[Object]:
        """Return the objects of a kind that bear all `labels` and have all `fields`; None is all namespaces."""
        query = [("limit", str(_LIST_LIMIT))]
        for kind, wanted in (("labelSelector", labels), ("fieldSelector", fields)):
            if wanted:
                query.append((kind, ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))))
        found: list[Object] = []
        position: list[tuple[str, str]] = []
        while True:
            page = await self._request("GET", resource.path(namespace), query=[*query, *position])
            # The items of a list lack what they have in common.
            common = {"apiVersion": resource.api_version, "kind": resource.kind}
            found += [common | item for item in page["items"]]
            token = page["metadata"].get("continue")
            if not token:
                return found
            position = [("continue", token)]

    async def apply(
        self, resource: Resource, obj: Object, *, force: bool = True, manager: str = naming.FIELD_MANAGER
    ) -> Object:
        """Apply `obj` server-side and return the whole object; without `force`, others' fields are a conflict."""
        path = resource.path(obj["metadata"]["namespace"], obj["metadata"]["name"])
        query = [("fieldManager", manager), ("force", str(force).lower())]
        return await self._request("PATCH", path, query=query, body=obj, content_type=_APPLY)

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Create `obj`; one of that name is a conflict."""
        path = resource.path(obj["metadata"]["namespace"])
        return await self._request("POST", path, query=[("fieldManager", naming.FIELD_MANAGER)], body=obj)

    async def replace(self, resource: Resource, obj: Object) -> Object:
        """Replace the object that `obj` was read from; a change since then is a conflict."""
        path = resource.path(obj["metadata"]["namespace"], obj["metadata"]["name"])
        return await self._request("PUT", path, query=[("fieldManager", naming.FIELD_MANAGER)], body=obj)

    async def delete(
        self, resource: Resource, obj: Object, *, unchanged: bool = False, foreground: bool = False
    ) -> None:
        """Delete `obj` if it still has the uid that it was read with.

        Args:
            resource: Its kind.
            obj: The object.
            unchanged: Whether it must not have changed in any way since it was read.
            foreground: Whether it stays, with a time of deletion, until its dependents are gone.
        """
        metadata = obj["metadata"]
        preconditions = {key: metadata[key] for key in ("uid", *(["resourceVersion"] if unchanged else []))}
        policy = "Foreground" if foreground else "Background"
        body = {"propagationPolicy": policy, "preconditions": preconditions}
        await self._request("DELETE", resource.path(metadata["namespace"], metadata["name"]), body=body)

    async def patch_status(self, resource: Resource, obj: Object, status: Mapping[str, Any]) -> Object:
        """Merge `status` into that of `obj` if that has not changed since it was read; None removes a field."""
        metadata = obj["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"], "status")
        # The API server does not check the uid of a status, but it does check the version.
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": dict(status)}
        query = [("fieldManager", naming.FIELD_MANAGER)]
        return await self._request("PATCH", path, query=query, body=body, content_type=_MERGE)

    async def scale(self, resource: Resource, obj: Object, replicas: int) -> None:
        """Set the size of `obj` by its /scale if it has not changed since it was read."""
        named = {key: obj["metadata"][key] for key in ("name", "namespace", "resourceVersion")}
        body = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": named, "spec": {"replicas": replicas}}
        path = resource.path(named["namespace"], named["name"], "scale")
        await self._request("PUT", path, query=[("fieldManager", naming.FIELD_MANAGER)], body=body)

    async def serves(self, resource: Resource) -> bool:
        """Return whether the API server knows the kind, by both of its lists."""
        try:
            known = await self._request("GET", resource.group_path)
            groups = await self._request("GET", "/apis")
        except NotFoundError:
            return False
        group = resource.api_version.rpartition("/")[0]
        return any(entry["name"] == resource.plural for entry in known["resources"]) and (
            not group or any(entry["name"] == group for entry in groups["groups"])
        )

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        arguments = {"query_params": list(query), "header_params": headers, "body": body}
        status, text = await self._send(method, path, **arguments)
        if status == HTTPStatus.UNAUTHORIZED and self._renew is not None:
            await self._renew()
            status, text = await self._send(method, path, **arguments)
        if status >= 400:
            raise _error(status, text)
        answer: Object = json.loads(text)
        return answer

    async def _send(self, method: str, path: str, **arguments: Any) -> tuple[int, bytes]:
        started, status = time.monotonic(), 0
        try:
            request = await self._api.param_serialize(method, path, auth_settings=["BearerToken"], **arguments)
            response = await self._api.call_api(*request, _request_timeout=self._timeout)
            text: bytes = await response.response.read()
            status = response.status
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(0, f"The API server does not answer: {reason}") from error
        finally:
            if self._metrics is not None:
                self._metrics.requested(method, status, time.monotonic() - started)
        return status, text


def _error(status: int, text: bytes) -> KubeError:
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        # Not from the API server, but from something before it.
        message = text.decode(errors="replace").strip()[:200] or "no reason given"
    if status >= 500:
        return (ForbiddenError if _UNASKED in message else UnavailableError)(status, message)
    return _ERRORS.get(status, KubeError)(status, message)


@asynccontextmanager
async def connect(*, request_timeout: float, metrics: RequestMetrics | None = None) -> AsyncIterator[KubeClient]:
    """Connect with the pod's ServiceAccount, or else with the kubeconfig that KUBECONFIG names.

    Args:
        request_timeout: Seconds after which a request is given up.
        metrics: Where each request is reported.

    Raises:
        CredentialsError: There is neither.
    """
    configuration = client.Configuration()
    try:
        await _load_credentials(configuration)
    except config.ConfigException as error:
        raise CredentialsError(
            "There is neither the token of a ServiceAccount nor a usable kubeconfig: run in a pod whose ServiceAccount "
            f"token is mounted, or let KUBECONFIG name a kubeconfig ({error})"
        ) from error
    # The environment's proxy is for the world outside; kopf does not ask it for the API server either.
    configuration.client_session_kwargs = {"trust_env": False}
    async with client.ApiClient(configuration) as api:
        api.user_agent = f"{naming.FIELD_MANAGER}/{version('heliograph')}"

        async def renew() -> None:
            # A file that cannot be read is no worse than credentials that are refused: the next request tries again.
            with suppress(config.ConfigException, OSError):
                await _load_credentials(configuration)

        yield KubeClient(api, request_timeout=request_timeout, renew=renew, metrics=metrics)


async def _load_credentials(configuration: client.Configuration) -> None:
    if _in_cluster():
        config.load_incluster_config(client_configuration=configuration)
        return
    file = os.environ.get("KUBECONFIG") or None
    await config.load_kube_config(config_file=file, client_configuration=configuration, persist_config=False)


def _in_cluster() -> bool:
    return _TOKEN.exists()
