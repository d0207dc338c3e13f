"""Why an image is not fetched."""


class RefusedError(Exception):
    """An image that is not fetched; it tells nothing of what its host answered.

    Attributes:
        reason: Machine-readable reason in one word.
        problem: What is wrong with the URL, as part of a sentence.
    """

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason
        self.problem = problem
