"""Video jobs at a gateway, and what draws their clips."""

import contextlib
from collections.abc import Iterator
from typing import Any

import openai

from cluster.waiting import eventually
from gateway.answers import CLIP, chunk, entry
from gateway.peers import Behaviour, Peer
from gateway.running import Gateway, StartGateway

CLIP_EVENTS = [
    chunk(25.0),
    b": still here\n\n",
    chunk(100.0, finish_reason="stop", **entry(CLIP, mime_type="video/mp4", size="720x1278", seconds="4.05")),
    b"data: [DONE]\n\n",
]


@contextlib.contextmanager
def drawing(behaviour: Behaviour, start_gateway: StartGateway, **settings: Any) -> Iterator[tuple[Peer, Gateway]]:
    with Peer(behaviour) as peer:
        yield peer, start_gateway(endpoints=[peer.endpoint], **settings)


def ended(client: openai.OpenAI, video_id: str) -> Any:
    """Return a job once it has ended."""
    eventually(
        lambda: client.videos.retrieve(video_id).status in {"completed", "failed"},
        what=f"end of {video_id}",
        timeout=30,
    )
    return client.videos.retrieve(video_id)
