"""Repositories of Hugging Face's hub, and of what speaks its API."""

import httpx
import httpx2  # what huggingface_hub asks with
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling

from heliograph_api.sources import RepositorySource
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.listing import Entry, Listing
from heliograph_runtime.weights.urls import HttpFile

_SECONDS = 30.0
_REMEDY = (
    "name a Secret with a token that may read it in serving.hfTokenSecretRef, and accept the model's licence on its "
    "page if it has one"
)


def list_repository(
    source: RepositorySource, *, field: str, client: httpx.Client, endpoint: str | None, token: str | None
) -> Listing:
    """Return what a repository holds at the wanted revision.

    Args:
        source: The repository.
        field: Field of the ImageModel to blame.
        client: What will read its files.
        endpoint: The hub; Hugging Face's own when None.
        token: What the hub knows the reader by.

    Raises:
        FetchError: It can't be listed.
    """
    # False, since None would have it look for a token in this account's files.
    api = HfApi(endpoint=endpoint, token=token or False, library_name="heliograph")
    try:
        info = api.model_info(source.repo, revision=source.revision, files_metadata=True, timeout=_SECONDS)
    except GatedRepoError:
        problem = f"{field}: {source.repo} is gated; {_REMEDY}"
        raise FetchError("WeightsUnauthorized", problem) from None
    except RepositoryNotFoundError as error:
        raise _no_repository(source, field, status=error.response.status_code, known=bool(token)) from None
    except RevisionNotFoundError:
        problem = f"{field}: {source.repo} has no revision {source.revision}; correct it, or leave it out"
        raise FetchError("WeightsNotFound", problem) from None
    except HFValidationError:
        problem = f"{field}: {source.repo} can't be the name of a repository; write OWNER/NAME"
        raise FetchError("InvalidSource", problem) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in {401, 403}:  # its client tells what is hidden by the address of the hub, and mirrors have others
            raise _no_repository(source, field, status=status, known=bool(token)) from None
        problem = f"{field}: the hub answers {status} for {source.repo}; try again later"
        raise FetchError("SourceUnreachable", problem, passes=status >= 500 or status == 429) from None
    except (httpx2.HTTPError, OSError) as error:
        problem = f"{field}: the hub can't be reached ({type(error).__name__})"
        raise FetchError("SourceUnreachable", problem, passes=True) from None
    files = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    commit = info.sha or source.revision or "main"
    headers = {"authorization": f"Bearer {token}"} if token else {}

    def open_file(path: str, target: str) -> HttpFile:
        file = files[path]
        return HttpFile(
            field=field,
            target=target,
            name=f"{source.repo}/{path}",
            identity=_identity(source, commit, file),
            size=file.size,
            sha256=file.lfs.sha256 if file.lfs else None,
            client=client,
            url=hf_hub_url(source.repo, path, revision=commit, endpoint=endpoint),
            headers=headers,
            remedy=_REMEDY,
        )

    return Listing(source.repo, [Entry(path, file.size or 0) for path, file in files.items()], open_file, commit)


def _identity(source: RepositorySource, commit: str, file: RepoSibling) -> str:
    """Return what tells a file from others; an unchanged file of another commit is the same."""
    return f"{source.hub} {source.repo} {file.rfilename} {file.blob_id or commit}"


def _no_repository(source: RepositorySource, field: str, *, status: int, known: bool) -> FetchError:
    """Return the error for a repository that the hub hides; it answers alike for none and for a private one."""
    if status == 401 and not known:
        problem = f"{field}: there is no public repository {source.repo}; correct the name, or, if it is private, "
        return FetchError("WeightsUnauthorized", problem + _REMEDY)
    problem = (
        f"{field}: there is no repository {source.repo}, or the token may not read it; correct the name or the token"
    )
    return FetchError("WeightsNotFound", problem)
