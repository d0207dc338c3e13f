"""A video job as it is read from the database."""

from dataclasses import dataclass
from typing import Literal

JobStatus = Literal["queued", "in_progress", "completed", "failed"]


@dataclass(frozen=True)
class VideoJob:
    """A job as it was read; times are in seconds since 1970.

    Attributes:
        id: `video_` and 32 hexadecimal digits.
        owner: Who made it; empty where no key is asked for.
        model: The model, as the request spelled it.
        status: How far it is.
        progress: Percent that is done.
        attempt: How often it was started.
        lapses: How many of its attempts ended without a word, with the process that worked on it.
        created_at: When it was made.
        completed_at: When it was completed.
        expires_at: When it will be deleted; moved on when the job ends.
        prompt: The prompt, if there is one.
        seconds: Length of the clip, as OpenAI writes it.
        size: Size of the clip, WIDTHxHEIGHT.
        error_code: Machine-readable reason of a failure.
        error_message: What a person is told of it.
        file_id: The clip in the file store, once the job is completed.
        waiting_since: Since when its model has been not ready or too busy, if it is.
        reserved_day: The day of the owner's quota that the clip is counted on; None when it is not counted.
    """

    id: str
    owner: str
    model: str
    status: JobStatus
    progress: int
    attempt: int
    lapses: int
    created_at: int
    completed_at: int | None
    expires_at: int
    prompt: str | None
    seconds: str | None
    size: str | None
    error_code: str | None
    error_message: str | None
    file_id: str | None
    waiting_since: float | None
    reserved_day: int | None


class JobsFullError(Exception):
    """There are as many unended jobs as there may be.

    Attributes:
        of_owner: Whether it is the owner's own that are too many.
    """

    def __init__(self, *, of_owner: bool) -> None:
        super().__init__("too many video jobs")
        self.of_owner = of_owner


@dataclass(frozen=True)
class Page:
    """Some of an owner's jobs.

    Attributes:
        jobs: The jobs, in the order that was asked for.
        has_more: Whether there are more after them.
    """

    jobs: tuple[VideoJob, ...]
    has_more: bool
