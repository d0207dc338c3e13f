"""Which processes are there, for tests that none is left behind."""

import psutil


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits for its parent to notice does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def descendants(pid: int) -> list[int]:
    """Return the ids of a process's children, their children, and so on."""
    return [process.pid for process in psutil.Process(pid).children(recursive=True)]
