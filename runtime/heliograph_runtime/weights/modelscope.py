"""Repositories of ModelScope."""

from typing import Any
from urllib.parse import quote, urlencode

import httpx

from heliograph_api.sources import RepositorySource
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.listing import Entry, Listing
from heliograph_runtime.weights.urls import HttpFile, answering, check_answer

ENDPOINT = "https://modelscope.cn"
_DEFAULT_REVISION = "master"
_REMEDY = "give the fetcher a token that may read it, in MODELSCOPE_API_TOKEN"


def list_modelscope(
    source: RepositorySource, *, field: str, client: httpx.Client, endpoint: str | None, token: str | None
) -> Listing:
    """Return what a repository of ModelScope holds; see `hub.list_repository`.

    Paths and fields are those of its own client (modelscope/hub/file_download.py). A listing tells no commit but the
    last one of each file, of which the newest stands for the revision.

    Raises:
        FetchError: It can't be listed.
    """
    host, revision = endpoint or ENDPOINT, source.revision or _DEFAULT_REVISION
    # Its site takes the token as a cookie, its API as a bearer's too.
    headers = {"authorization": f"Bearer {token}", "cookie": f"m_session_id={token}"} if token else {}
    url = f"{host}/api/v1/models/{quote(source.repo)}/repo/files"
    with answering(field, url):
        answer = client.get(url, params={"Revision": revision, "Recursive": "true"}, headers=headers)
    check_answer(answer, field=field, name=f"{source.repo}@{revision}", remedy=_REMEDY)
    files = {file["Path"]: file for file in _files(answer, source, field) if file.get("Type") == "blob"}

    def open_file(path: str, target: str) -> HttpFile:
        file = files[path]
        digest = file.get("Sha256") or None
        return HttpFile(
            field=field,
            target=target,
            name=f"{source.repo}/{path}",
            identity=f"{source.hub} {source.repo} {path} {digest or file.get('Revision') or revision}",
            size=file.get("Size"),
            sha256=digest,
            client=client,
            url=f"{host}/api/v1/models/{quote(source.repo)}/repo?{urlencode({'Revision': revision, 'FilePath': path})}",
            headers=headers,
            remedy=_REMEDY,
        )

    newest = max(files.values(), key=lambda file: file.get("CommittedDate") or 0, default={})
    entries = [Entry(path, file.get("Size") or 0) for path, file in files.items()]
    return Listing(source.repo, entries, open_file, newest.get("Revision") or revision)


def _files(answer: httpx.Response, source: RepositorySource, field: str) -> list[dict[str, Any]]:
    try:
        return list(answer.json()["Data"]["Files"])
    except (ValueError, KeyError, TypeError):
        raise FetchError(
            "SourceUnreachable", f"{field}: ModelScope does not list {source.repo} as it should; try again later"
        ) from None
