"""The process that removes folders of weights: from settings to an exit status."""

import logging
import os
import signal
import time

from heliograph_api.exits import FETCH_TEMPORARY
from heliograph_runtime.logs import configure_logging
from heliograph_runtime.weights.collecting.settings import CollectSettings
from heliograph_runtime.weights.volume import Volume

_PAUSE_SECONDS = 0.5
_GIGABYTE = 1e9

log = logging.getLogger("heliograph_runtime.weights")


def run(settings: CollectSettings) -> int:
    """Remove folders of a volume; SIGTERM ends it at once, and the next try goes on from there.

    Returns:
        The exit status: 0 when they are gone, `FETCH_TEMPORARY` when another try may succeed.
    """
    configure_logging()
    # The first process of a container is ended by no signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(FETCH_TEMPORARY))
    try:
        volume = Volume(settings.volume)
        for name in settings.remove:
            freed = _remove(volume, name, time.monotonic() + settings.wait_seconds)
            log.info("removed %s: %.1f GB are free again", name, freed / _GIGABYTE)
    except BlockingIOError:
        log.error("the volume is in use: fetches are at work; collect again when they have ended")  # noqa: TRY400 - no fault
        return FETCH_TEMPORARY
    except OSError as error:
        log.error("the volume can't be used: %s; it must be one that the fetcher may write", error.strerror or error)  # noqa: TRY400 - its words say it all
        return FETCH_TEMPORARY
    return 0


def _remove(volume: Volume, name: str, latest: float) -> int:
    """Remove a folder, waiting for fetches until a time on the monotonic clock; see `Volume.remove`."""
    while True:
        try:
            return volume.remove(name)
        except BlockingIOError:
            if time.monotonic() >= latest:
                raise
            time.sleep(_PAUSE_SECONDS)
