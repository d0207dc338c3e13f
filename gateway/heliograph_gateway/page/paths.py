"""The paths of the pages. They answer without a key: the files are the same for everybody, and hold nothing."""

PLAYGROUND_PATH = "/"
ADMIN_PATH = "/admin"
STATIC_PREFIX = "/page/"


def is_page(path: str) -> bool:
    """Return whether a path is one of a page or of its files."""
    return path in {PLAYGROUND_PATH, ADMIN_PATH} or path.startswith(STATIC_PREFIX)
