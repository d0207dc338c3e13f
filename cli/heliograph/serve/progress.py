"""What `serve` tells its user on standard error: a spinner for each model on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from types import TracebackType

_HEARTBEAT_SECONDS = 30.0
_GIGABYTE, _MEGABYTE = 1e9, 1e6


class PlainReport:
    """Lines that stay; a model that loads for long is mentioned every 30 seconds."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._spoken: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Print a line."""
        click.echo(text, err=True)

    def loading(self, name: str) -> None:
        """Begin to load a model."""
        self._started[name] = self._spoken[name] = time.monotonic()
        self.say(f"Loading {name} ...")

    def tick(self, name: str) -> None:
        """A model is still loading."""
        now = time.monotonic()
        if now - self._spoken[name] >= _HEARTBEAT_SECONDS:
            self._spoken[name] = now
            self.say(f"Loading {name} ... {now - self._started[name]:.0f} s")

    def fetching(self, name: str, *, done: int, total: int | None, speed: float) -> None:
        """A model's weights are being fetched: so many bytes are there, and so many come in a second."""
        now = time.monotonic()
        if now - self._spoken[name] >= _HEARTBEAT_SECONDS:
            self._spoken[name] = now
            self.say(f"Fetching {name} ... {_amount(done, total, speed)}")

    def fetched(self, name: str) -> None:
        """A model's weights are there."""
        self._spoken[name] = time.monotonic()
        self.say(f"The weights of {name} are fetched")

    def ready(self, name: str) -> None:
        """A model answers requests."""
        self.say(f"{name} is ready after {time.monotonic() - self._started[name]:.0f} s")

    def failed(self, name: str, why: str) -> None:
        """A model could not be loaded."""
        self.say(f"Error: {name} could not be loaded: {why}")

    def close(self) -> None:
        """All models are loaded or failed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LiveReport(PlainReport):
    """A line with a spinner and the seconds for each model, redrawn until all are loaded."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._progress = Progress(
            SpinnerColumn(finished_text=" "), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
        )
        self._tasks: dict[str, TaskID] = {}

    def say(self, text: str) -> None:
        """Print a line above the spinners."""
        self._progress.console.print(escape(text), highlight=False, soft_wrap=True)

    def loading(self, name: str) -> None:
        """Add a model's line."""
        self._progress.start()
        self._tasks[name] = self._progress.add_task(f"Loading {escape(name)}", total=1)

    def tick(self, name: str) -> None:
        """Do nothing: the spinner turns by itself."""

    def fetching(self, name: str, *, done: int, total: int | None, speed: float) -> None:
        """Show in a model's line how far it is."""
        text = f"Fetching {escape(name)}: {_amount(done, total, speed)}"
        self._progress.update(self._tasks[name], description=text)

    def fetched(self, name: str) -> None:
        """Go on with a model's line."""
        self._progress.update(self._tasks[name], description=f"Loading {escape(name)}")

    def ready(self, name: str) -> None:
        """Stop a model's spinner."""
        self._progress.update(self._tasks[name], completed=1, description=f"[green]{escape(name)} is ready[/]")

    def failed(self, name: str, why: str) -> None:
        """Stop a model's spinner and say why it failed."""
        self._progress.update(self._tasks[name], completed=1, description=f"[red]{escape(name)} failed[/]")
        super().failed(name, why)

    def close(self) -> None:
        """Leave the lines as they are and stop redrawing."""
        self._progress.stop()


def _amount(done: int, total: int | None, speed: float) -> str:
    whole = "" if total is None else f" of {total / _GIGABYTE:.2f}"
    return f"{done / _GIGABYTE:.2f}{whole} GB, {speed / _MEGABYTE:.1f} MB/s"


def make_report(*, live: bool) -> PlainReport:
    """Return the report for standard error as it is; `live` false asks for plain lines on a terminal too."""
    console = Console(stderr=True)
    if live and console.is_terminal and not console.is_dumb_terminal:
        return LiveReport(console)
    return PlainReport()
