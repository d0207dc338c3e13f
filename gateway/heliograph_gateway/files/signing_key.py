"""The key that links are signed with, in a file."""

import contextlib
import secrets
from pathlib import Path

_BYTES = 32


def read_or_make(path: Path) -> bytes:
    """Return the key in a file, which is made with a new key and for its owner alone where there is none.

    Raises:
        OSError: The file can be neither read nor made.
    """
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    # Of two processes that get here at once, one gives its key the name, and both read that.
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    fresh.touch(mode=0o600, exist_ok=False)
    try:
        fresh.write_bytes(secrets.token_bytes(_BYTES))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
    finally:
        fresh.unlink()
    return path.read_bytes()
