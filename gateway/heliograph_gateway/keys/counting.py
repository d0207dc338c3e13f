"""Pictures of a request, counted against the quota of the key that it carries."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from heliograph_api.images.request import ImageRequest
from heliograph_gateway.keys.caller import caller_of
from heliograph_gateway.keys.quotas import Quotas
from heliograph_gateway.record import Record, record_of


class Counted(Response):
    """An answer with pictures, which are counted before it is begun; those that are not drawn are given back.

    Whoever leaves before the answer has begun has got nothing, and gets the pictures back; later, they count.
    """

    def __init__(self, answer: Response, wanted: ImageRequest, quotas: Quotas) -> None:
        """Wrap the answer to a request for pictures."""
        super().__init__()
        self._answer = answer
        self._images = wanted.n * len(wanted.prompts)
        self._quotas = quotas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the client; raise `APIError` (429 `insufficient_quota`) if not so many pictures are left."""
        caller = caller_of(scope)
        if caller.images_per_day is None:
            await self._answer(scope, receive, send)
            return
        day = await self._quotas.reserve(caller, self._images)
        record = record_of(scope)
        try:
            await self._answer(scope, receive, send)
        finally:
            if spare := self._images - min(self._images, _drawn(record, self._images)):
                await self._quotas.give_back(caller.name, day, spare)


def _drawn(record: Record, images: int) -> int:
    """Return how many pictures count: none before the answer has begun, then what the runtime tells, else all."""
    if not record.is_begun:
        return 0
    return images if record.usage is None else record.usage.images
