"""What a request is told when its drawing failed."""

from heliograph_api.errors import APIError, invalid_request
from heliograph_runtime.engines.protocol import Sampling
from heliograph_runtime.worker.messages import GenerateFailed, Refused
from heliograph_runtime.worker.process import WorkerEndedError

_NO_RETRY = {"x-should-retry": "false"}


def batch_failed(failure: Refused | GenerateFailed, sampling: Sampling, *, retry_after_seconds: int) -> APIError:
    """Return the error for drawings that the engine could not draw.

    Only a lost device is worth another try of the same request: the worker that is started next has it anew.
    """
    if isinstance(failure, Refused):
        return invalid_request(failure.field, failure.problem)
    if failure.reason == "device_lost":
        return APIError(
            503,
            f"The device failed while it drew; the model is being loaded again. Try again in {retry_after_seconds} s.",
            code="device_lost",
            headers={"Retry-After": str(retry_after_seconds)},
        )
    if failure.reason == "out_of_memory":
        frames = f" with {sampling.frames} frames" if sampling.frames else ""
        return APIError(
            503,
            f"The device ran out of memory at {sampling.width}x{sampling.height}{frames}; ask for a smaller size"
            f"{' or fewer frames' if frames else ''}.",
            code="out_of_memory",
            headers=_NO_RETRY,
        )
    return APIError(
        500,
        "The engine failed to draw this; the runtime's log says why. Other sizes or settings may work.",
        code="generation_failed",
        headers=_NO_RETRY,
    )


def worker_crashed(ended: WorkerEndedError) -> APIError:
    """Return the error for drawings that were at work when the worker ended, perhaps because of them."""
    return APIError(
        500,
        f"The worker process ended while it drew ({ended}); it is being started again.",
        code="worker_crashed",
        headers=_NO_RETRY,
    )
