"""Requests that go on as long as something happens, each with a prompt of its own."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import openai

from runtime.scripted_worker import SLOW


@dataclass
class Load:
    """What became of the requests.

    Attributes:
        served: Prompts of those that were answered with a picture.
        failed: Prompts of the others, and what the client raised.
    """

    served: list[str] = field(default_factory=list)
    failed: dict[str, openai.OpenAIError] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def done(self) -> int:
        return len(self.served) + len(self.failed)

    def _ask(self, url: str, retries: int, api_key: str, model: str) -> None:
        with openai.OpenAI(base_url=f"{url}/v1", api_key=api_key, max_retries=retries) as client:
            while not self._stop.is_set():
                prompt = f"{SLOW} {next(self._numbers)}"
                try:
                    client.images.generate(model=model, prompt=prompt, size="64x64", extra_body={"steps": 2, "seed": 1})
                    self.served.append(prompt)
                except openai.OpenAIError as error:
                    self.failed[prompt] = error


@contextmanager
def load(
    url: str, *, together: int = 8, retries: int = 0, api_key: str = "none", model: str = "tiny"
) -> Iterator[Load]:
    """Ask for pictures inside the `with` block; at its end the last requests have been answered.

    Args:
        url: Where the gateways are.
        together: Requests at a time.
        retries: How often the client tries again by itself.
        api_key: API key.
        model: The model.
    """
    made = Load()
    with ThreadPoolExecutor(together) as pool:
        asking = [pool.submit(made._ask, url, retries, api_key, model) for _ in range(together)]
        try:
            yield made
        finally:
            made._stop.set()
    for future in asking:
        future.result()
