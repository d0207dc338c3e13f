"""Why weights can't be fetched."""

from heliograph_api.exits import FetchProblem


class FetchError(Exception):
    """Weights that can't be fetched; the message names the field, the problem and the remedy.

    Attributes:
        reason: One word in CamelCase, for the condition.
        passes: Whether it may pass by itself, so that another try makes sense.
    """

    def __init__(self, reason: FetchProblem, message: str, *, passes: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.passes = passes
