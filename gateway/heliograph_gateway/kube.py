"""The Kubernetes API as the gateway uses it: lists, watches and single objects, all as plain dicts.

The official client does the authentication and the transport; its models are not used, since they refuse objects that
the API server serves.
"""

import json
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from kubernetes.aio import client, config

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 30.0
_PAGE = 500


class KubeError(Exception):
    """The API server could not be reached, or did not answer with success.

    Attributes:
        status: HTTP status, or None when there was none.
    """

    def __init__(self, status: int | None, message: str) -> None:
        super().__init__(message if status is None else f"{status}: {message}")
        self.status = status


class KubeApi:
    """A connection to an API server."""

    def __init__(self, configuration: client.Configuration) -> None:
        # HTTP_PROXY is meant for the world outside; the API server is not reached through it (kopf does the same).
        configuration.client_session_kwargs = {"trust_env": False}
        self._client = client.ApiClient(configuration)
        self._client.user_agent = "heliograph-gateway"

    @classmethod
    async def connect(cls) -> Self:
        """Return a client for the cluster of $KUBECONFIG, else of the service account, else of ~/.kube/config.

        Nothing is sent yet.

        Raises:
            KubeError: There is no usable configuration; the message says what to do.
        """
        configuration = client.Configuration()
        files = _kubeconfig()
        try:
            if files:
                await config.load_kube_config(
                    config_file=files, client_configuration=configuration, persist_config=False
                )
            else:
                config.load_incluster_config(configuration)
        except config.ConfigException as error:
            raise KubeError(None, f"{files or 'the service account'} does not lead to a cluster: {error}") from error
        return cls(configuration)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def list_objects(self, path: str, *, label_selector: str = "") -> tuple[list[dict[str, Any]], str]:
        """Return all the objects of a collection and the resourceVersion that they are from.

        Raises:
            KubeError: They could not be read.
        """
        items: list[dict[str, Any]] = []
        query = {"limit": str(_PAGE), "labelSelector": label_selector}
        while True:
            with _failures():
                response = await self._request("GET", path, query, read_seconds=_READ_SECONDS)
                page = json.loads(await response.read())
                items += page["items"]
                metadata = page["metadata"]
                if not metadata.get("continue"):
                    return items, metadata["resourceVersion"]
            query["continue"] = metadata["continue"]

    async def get(self, path: str) -> dict[str, Any]:
        """Return one object.

        Raises:
            KubeError: It could not be read.
        """
        with _failures():
            response = await self._request("GET", path, {}, read_seconds=_READ_SECONDS)
            found: dict[str, Any] = json.loads(await response.read())
            return found

    async def create(self, path: str, obj: Mapping[str, Any]) -> None:
        """Create an object in a collection.

        Raises:
            KubeError: It could not be created; with status 409 there is one of its name.
        """
        with _failures():
            response = await self._request("POST", path, {}, read_seconds=_READ_SECONDS, body=obj)
            await response.read()

    async def replace(self, path: str, obj: Mapping[str, Any]) -> None:
        """Replace the object that `obj` was read from.

        Raises:
            KubeError: It could not be written; with status 409 it has changed since.
        """
        with _failures():
            response = await self._request("PUT", path, {}, read_seconds=_READ_SECONDS, body=obj)
            await response.read()

    async def watch(
        self, path: str, *, resource_version: str, seconds: int, silence: float, label_selector: str = ""
    ) -> AsyncGenerator[dict[str, Any]]:
        """Yield the events of a collection since a resourceVersion, bookmarks among them.

        Args:
            path: Path of the collection.
            resource_version: Version after which the events begin.
            seconds: When the API server is to end the watch; the iterator then ends too.
            silence: Seconds without a single byte after which the connection counts as lost.
            label_selector: Which objects.

        Raises:
            KubeError: The watch failed; with status 410 the version is too old and a new list is needed.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
            "labelSelector": label_selector,
        }
        with _failures():
            response = await self._request("GET", path, query, read_seconds=silence)
            try:
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise KubeError(event["object"].get("code"), event["object"].get("message", ""))
                    yield event
            finally:
                response.close()

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        read_seconds: float,
        body: Mapping[str, Any] | None = None,
    ) -> aiohttp.ClientResponse:
        request = await self._client.param_serialize(
            method,
            path,
            query_params=[(key, value) for key, value in query.items() if value],
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=read_seconds)
        answer = await self._client.call_api(*request, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        if not response.ok:
            text = await response.text(errors="replace")
            response.close()
            raise KubeError(response.status, _message(text))
        return response


def _kubeconfig() -> str | None:
    """Return the kubeconfig files to read, or None for the service account."""
    files = os.environ.get("KUBECONFIG")
    if not files:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            return None
        files = str(Path.home() / ".kube" / "config")
    if not any(Path(file).is_file() for file in files.split(os.pathsep)):
        raise KubeError(None, f"there is no kubeconfig at {files}; set KUBECONFIG, or run inside a cluster")
    return files


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what the transport raises, and an answer that is not what the API serves, into `KubeError`."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise KubeError(None, f"the Kubernetes API does not answer: {str(error) or type(error).__name__}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise KubeError(None, "the Kubernetes API answered with something that is not a list or an event") from error


def _message(text: str) -> str:
    """Return the message of a `Status` object, or the first words of any other answer."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, LookupError, TypeError):
        return text[:200]
