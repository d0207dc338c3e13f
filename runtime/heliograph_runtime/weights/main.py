"""The process that fetches the weights of one model: from settings to an exit status."""

import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread

import huggingface_hub.constants

from heliograph_api.engine import choose_engine
from heliograph_api.errors import SpecError
from heliograph_api.exits import FETCH_PERMANENT, FETCH_TEMPORARY, FetchResult
from heliograph_api.manifest import ImageModel
from heliograph_api.weights import plan_weights
from heliograph_runtime.logs import configure_logging
from heliograph_runtime.manifest import read_model
from heliograph_runtime.weights.answers import ListenError, answering_progress
from heliograph_runtime.weights.download import FULL
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.fetcher import Fetcher
from heliograph_runtime.weights.finding import Access
from heliograph_runtime.weights.models_dir import present_in
from heliograph_runtime.weights.progress import Progress
from heliograph_runtime.weights.settings import FetchSettings
from heliograph_runtime.weights.volume import Receipt, Volume

_LOG_SECONDS = 30.0
_GIGABYTE = 1e9

log = logging.getLogger("heliograph_runtime.weights")


def run(settings: FetchSettings) -> int:
    """Fetch the weights of one ImageModel, answering meanwhile how far that is.

    How it ended is the last line on standard output, and the termination message of the container. SIGTERM and SIGINT
    end it at once; what there is of the weights is kept for the next time.

    Returns:
        The exit status: 0 when all weights are there, one of `heliograph_api.exits`, or 1 when the progress can't be
        answered where it should be.
    """
    configure_logging()
    # Clients log what they ask for, and the addresses of some stores are signed.
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("heliograph_runtime").setLevel(logging.INFO)
    # It would tell the hub what else is installed here. The variable that forbids it is read at the import.
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    _end_on_signals(settings)
    progress = Progress()
    try:
        model = _read(settings)
        with answering_progress(progress, host=settings.host, port=settings.port) as port, _logged(progress):
            log.info("fetching %s; its progress is answered on port %d", model.name, port)
            receipt = _fetch(model, settings, progress)
    except ListenError as error:
        log.critical("%s", error)
        return 1
    except SpecError as error:
        return _tell(FetchResult("InvalidSource", str(error)), FETCH_PERMANENT, settings)
    except FetchError as error:
        status = FETCH_TEMPORARY if error.passes else FETCH_PERMANENT
        return _tell(FetchResult(error.reason, str(error)), status, settings)
    except OSError as error:
        return _tell(_of_volume(error), FETCH_TEMPORARY, settings)
    digests = set(receipt.files.values())
    result = FetchResult(
        "Fetched",
        bytes=receipt.bytes,
        files=len(receipt.files),
        revisions=receipt.revisions,
        sha256=digests.pop() if len(receipt.files) == 1 else None,
    )
    return _tell(result, 0, settings)


def read_access(environment: Mapping[str, str], settings: FetchSettings) -> Access:
    """Return how sources are reached: by the environment variables that other clients of theirs read.

    HF_TOKEN, HF_ENDPOINT, MODELSCOPE_API_TOKEN and MODELSCOPE_ENDPOINT are these; for buckets see `bucket`.
    """

    def given(name: str) -> str | None:
        # A Secret that was made of a file often ends with a new line, which no header may hold.
        return environment.get(name, "").strip() or None

    return Access(
        hub_endpoint=given("HF_ENDPOINT"),
        hub_token=given("HF_TOKEN"),
        modelscope_endpoint=given("MODELSCOPE_ENDPOINT"),
        modelscope_token=given("MODELSCOPE_API_TOKEN"),
        plain_http_registries=frozenset(settings.plain_http_registries),
        local_files=settings.local_files,
    )


def _read(settings: FetchSettings) -> ImageModel:
    try:
        return read_model(settings.manifest)
    except OSError as error:
        raise SpecError("manifest", f"{settings.manifest} can't be read: {error.strerror}") from None


def _fetch(model: ImageModel, settings: FetchSettings, progress: Progress) -> Receipt:
    """Fetch, and tidy the volume up: afterwards, and before a second try when there is no room."""
    plan = plan_weights(model, present=present_in(settings.models_dir)) if settings.models_dir else plan_weights(model)
    place = str((plan.local_spec.get("parameters") or {}).get("model") or "")
    checkpoint = place if choose_engine(model.spec).name == "diffusers" else None
    volume = Volume(settings.volume)
    fetcher = Fetcher(volume, read_access(os.environ, settings), max_bytes=settings.max_bytes)

    def fetch() -> Receipt:
        half = bool(model.spec.f16)
        return fetcher.fetch(settings.name, plan.parts, half=half, progress=progress, checkpoint=checkpoint)

    try:
        try:
            receipt = fetch()
        except FetchError as error:
            if error.reason != "DiskFull" or not _tidy(volume, settings):
                raise
            receipt = fetch()
        _tidy(volume, settings)
        return receipt
    finally:
        fetcher.close()


def _tidy(volume: Volume, settings: FetchSettings) -> int:
    keep = None if settings.keep is None else {settings.name, *settings.keep}
    freed = volume.collect(keep, unchanged_seconds=settings.unchanged_seconds)
    if freed:
        log.info("removed %.1f GB that no model uses any more", freed / _GIGABYTE)
    return freed


def _of_volume(error: OSError) -> FetchResult:
    if error.errno in FULL:
        return FetchResult("DiskFull", "the volume is full; make it larger, or remove models that share it")
    why = error.strerror or str(error)
    return FetchResult(
        "VolumeUnavailable",
        f"the volume can't be used: {why}; it must be a file system with hard links and locks that the fetcher's user "
        "may write",
    )


def _tell(result: FetchResult, status: int, settings: FetchSettings) -> int:
    """Tell how it ended, and return the exit status."""
    if result.message:
        log.error("%s: %s", result.reason, result.message)
    line = result.line()
    if settings.termination_log.is_file():
        with suppress(OSError):
            settings.termination_log.write_text(line, encoding="ascii")
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    return status


@contextmanager
def _logged(progress: Progress) -> Iterator[None]:
    """Log how far it is, now and then, inside the `with` block."""
    ended = Event()

    def log_state() -> None:
        while not ended.wait(_LOG_SECONDS):
            state = progress.state()
            total = "?" if state.total is None else f"{state.total / _GIGABYTE:.2f}"
            log.info("%.2f of %s GB, %.1f MB/s", state.done / _GIGABYTE, total, state.speed / 1e6)

    thread = Thread(target=log_state, name="log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _end_on_signals(settings: FetchSettings) -> None:
    """End this process on SIGTERM and SIGINT and, if it is watched, at the end of standard input.

    It ends where it stands: all that lies in the volume is good for that, and threads may wait for hosts for a minute.
    """

    def end(*_: object) -> None:
        os._exit(_tell(FetchResult("Interrupted"), FETCH_TEMPORARY, settings))

    def end_with_input() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    if settings.watch_stdin:
        Thread(target=end_with_input, name="stdin", daemon=True).start()
