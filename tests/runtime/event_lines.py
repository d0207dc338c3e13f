"""Server-sent events, read line by line as the standard says, and nothing more leniently."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Event:
    """One block: its fields in order, its comments."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name), None)

    @property
    def data(self) -> Any:
        """Return what the data says as JSON."""
        text = self.get("data")
        assert text is not None
        return json.loads(text)


def read_events(lines: Iterable[str]) -> list[Event]:
    """Return all blocks; the last must be ended by its empty line."""
    events, block = [], Event()
    for line in lines:
        if not line:
            events.append(block)
            block = Event()
        elif line.startswith(":"):
            block.comments.append(line[1:].strip())
        else:
            name, colon, value = line.partition(":")
            assert colon
            assert name in {"event", "data", "error"}, line
            block.fields.append((name, value.removeprefix(" ")))
    assert block == Event(), "the last event is not ended"
    return events
