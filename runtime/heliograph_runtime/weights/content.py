"""A look at the first bytes of weights, which tell a pickle under another name, and the page that asks for a login."""

import re
from pathlib import Path, PurePosixPath

from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.remote import RemoteFile

_WEIGHTS = frozenset({".safetensors", ".gguf"})
_ZIP = b"PK\x03\x04"
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE)


def check_content(path: Path | None, file: RemoteFile) -> None:
    """Raise `FetchError` for a file of weights, by its name, that is a pickle or a web page by its content.

    Whether it is sound, and safe in what it says, is for the engine to judge.

    Args:
        path: Its content.
        file: The file.
    """
    if path is None or PurePosixPath(file.target).suffix.lower() not in _WEIGHTS:
        return
    with path.open("rb") as opened:
        start = opened.read(64)
    if start.startswith(_ZIP) or _PICKLE.match(start):
        raise FetchError(
            "UnsafeWeights",
            f"{file.field}: {file.name} is a pickle by its content, which runs code when it is read, whatever its name "
            "says; name a source with safetensors, or convert it",
        )
    if _PAGE.match(start):
        raise FetchError(
            "InvalidSource",
            f"{file.field}: {file.name} is a web page, and no weights; name the address of the file itself, which must "
            "not ask for a login",
        )
