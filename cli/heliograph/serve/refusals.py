"""What the system refuses `heliograph serve`, told in one line as other errors are."""

from __future__ import annotations

import errno

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "have it owned by the user who runs this, and writable"),
    errno.ENAMETOOLONG: "write a shorter path",
    errno.EEXIST: "move away what is there",
}


def refusal(error: OSError) -> str:
    """Return the problem and the remedy."""
    return f"{error.strerror or error}; {_REMEDIES.get(error.errno or 0, 'mend that, and start it again')}"


def refused_path(error: OSError) -> str:
    """Return what cannot be used, the problem and the remedy."""
    path = error.filename2 or error.filename
    return f"{path} cannot be used: {refusal(error)}" if path else refusal(error)
