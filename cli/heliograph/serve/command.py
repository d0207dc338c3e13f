"""What `heliograph serve` and `heliograph run` do once the command line is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from heliograph.extras import FETCH_PACKAGES, require_engines, require_packages
from heliograph.serve.listener import ListenError, open_listener
from heliograph.serve.manifests import ManifestError, ServedModel, collect
from heliograph.serve.progress import make_report
from heliograph.serve.session import Session, Wiring
from heliograph.serve.weights import must_fetch
from heliograph.settings_command import read_settings
from heliograph_api.engine import choose_engine
from heliograph_gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def serve(
    paths: Sequence[Path],
    *,
    command: str,
    models_dir: Path | None,
    host: str,
    port: int,
    api_key: str | None,
    keys_file: Path | None,
    verbose: bool,
) -> int:
    """Serve manifests in the foreground and return the exit status.

    Args:
        paths: Manifests, and folders of manifests.
        command: The subcommand, for error messages.
        models_dir: Folder of the weights; each manifest's own folder when None.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        api_key: Key that requests may carry; this or `keys_file` is required unless `host` is a loopback address.
        keys_file: Document of API keys, or folder of them.
        verbose: Whether the runtimes' logs are passed on.

    Raises:
        click.ClickException: The manifests or the options cannot be served as they are.
    """
    report = make_report(live=not verbose)
    try:
        served = collect(paths, models_dir=models_dir, warn=lambda text: report.say(f"Warning: {text}"))
        _check_engines(command, served)
        given = {"host": host, "port": port, "api_key": api_key or None}
        if keys_file:
            given["keys_file"] = keys_file
        settings = read_settings(GatewaySettings, given)
        listener = open_listener(host, port, has_key=settings.asks_for_keys)
    except (ManifestError, ListenError) as error:
        raise click.ClickException(str(error)) from None
    wiring = Wiring(settings=settings, listener=listener, report=report, verbose=verbose)

    async def session() -> int:
        return await Session(served, wiring).run()

    return asyncio.run(session())


def _check_engines(command: str, served: Sequence[ServedModel]) -> None:
    running = [one for one in served if one.has_runtime]
    if not running:
        raise ManifestError(
            f"{served[0].source}: only aliases and disabled models are named here; name the manifest of a model to run"
        )
    require_engines(command, (choose_engine(one.model.spec).name for one in running))
    if any(map(must_fetch, running)):
        require_packages(command, "fetch", FETCH_PACKAGES)
