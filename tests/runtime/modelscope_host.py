"""ModelScope's API on the loopback, on top of a host of files."""

import hashlib
import json
from collections.abc import Mapping

from runtime.file_host import FileHost


def add_modelscope(host: FileHost, repo: str, files: Mapping[str, bytes], *, revision: str = "master") -> str:
    """Add a repository at a revision, each of its files from a commit of its own; return the newest commit."""
    listed: list[dict[str, object]] = [{"Path": "folder", "Type": "tree"}]
    commit = ""
    for date, (path, content) in enumerate(files.items()):
        commit = hashlib.sha1(content).hexdigest()
        digest = hashlib.sha256(content).hexdigest()
        about: dict[str, object] = {"Path": path, "Name": path, "Type": "blob", "Size": len(content), "Sha256": digest}
        listed.append({**about, "Revision": commit, "CommittedDate": 1_700_000_000 + date})
        host.queries[f"/api/v1/models/{repo}/repo", f"Revision={revision}&FilePath={path}"] = content
    answer = {"Code": 200, "Success": True, "Data": {"Files": listed}}
    host.queries[f"/api/v1/models/{repo}/repo/files", f"Revision={revision}&Recursive=true"] = json.dumps(
        answer
    ).encode()
    return commit
