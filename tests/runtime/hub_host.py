"""A hub on the loopback, in the shape of Hugging Face's, on top of a host of files."""

import hashlib
import json
from collections.abc import Mapping

from runtime.file_host import FileHost


def add_repository(
    host: FileHost,
    repo: str,
    files: Mapping[str, bytes],
    *,
    revision: str = "main",
    large: tuple[str, ...] = (".safetensors", ".gguf"),
) -> str:
    """Add a repository at a revision; return the commit. Large files have a SHA-256 there, the others none."""
    commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
    siblings = []
    for path, content in files.items():
        host.files[f"/{repo}/resolve/{commit}/{path}"] = content
        sibling = {"rfilename": path, "size": len(content), "blobId": hashlib.sha1(content).hexdigest()}
        if path.endswith(large):
            digest = hashlib.sha256(content).hexdigest()
            sibling["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 134}
        siblings.append(sibling)
    info = json.dumps({"id": repo, "modelId": repo, "sha": commit, "siblings": siblings}).encode()
    host.files[f"/api/models/{repo}/revision/{revision}"] = info
    if revision == "main":
        host.files[f"/api/models/{repo}"] = info
    # As the hub has it (huggingface_hub's hf_raise_for_status reads it).
    host.error_code = lambda path: "RevisionNotFound" if "/revision/" in path else "RepoNotFound"
    return commit
