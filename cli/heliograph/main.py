"""The command line `heliograph`.

What a subcommand needs is imported when it is called: `heliograph --help` and `heliograph crd` work without any extra.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heliograph.extras import HTTP_PACKAGES, needs_extra
from heliograph.keys_command import keys
from heliograph.settings_command import SettingsCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DEFAULT_HOST, _DEFAULT_PORT = "127.0.0.1", 8080


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="heliograph")
def main() -> None:
    """Serve image models: on Kubernetes, or with `serve` and `run` on this machine alone."""


def _serving_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that `serve` and `run` share."""
    options = (
        click.option(
            "--models-dir",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Folder in which relative weight paths are looked up. [default: the manifest's own]",
        ),
        click.option("--host", default=_DEFAULT_HOST, show_default=True, help="Address to listen on."),
        click.option(
            "--port",
            type=click.IntRange(0, 65_535),
            default=_DEFAULT_PORT,
            show_default=True,
            help="Port to listen on; 0 takes a free one.",
        ),
        click.option(
            "--api-key",
            envvar="HELIOGRAPH_API_KEY",
            show_envvar=True,
            help="Key that requests must carry; needed unless the address is a loopback one. Other users of this "
            "machine can read a command line, but not an environment.",
        ),
        click.option(
            "--keys-file",
            type=click.Path(exists=True, path_type=Path),
            envvar="HELIOGRAPH_KEYS_FILE",
            show_envvar=True,
            help="Document of API keys, as `heliograph keys create` writes it, or folder of such documents.",
        ),
        click.option("--verbose", is_flag=True, help="Pass the runtimes' logs on."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command(short_help="Serve manifests on this machine, without Kubernetes.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, path_type=Path))
@_serving_options
@click.pass_context
def serve(context: click.Context, /, paths: tuple[Path, ...], **options: Any) -> None:
    """Serve models on this machine, without Kubernetes.

    Each PATH is a manifest (an ImageModel, or a LocalAI model file as it is) or a folder of manifests. Every model runs
    in a process of its own, with the gateway in front; Ctrl-C ends them all.
    """
    context.exit(_serve("serve", paths, options))


@main.command(short_help="Serve one of the examples on this machine.")
@click.argument("name", required=False)
@_serving_options
@click.pass_context
def run(context: click.Context, /, name: str | None, **options: Any) -> None:
    """Serve one of the example models on this machine; list them without NAME."""
    from heliograph.catalogue import entries
    from heliograph.serve.manifests import ManifestError

    try:
        examples = entries()
    except ManifestError as error:
        raise click.ClickException(str(error)) from None
    if name is None:
        for entry in examples:
            click.echo(f"{entry.name}\t{entry.description}")
        return
    manifest = next((entry.manifest for entry in examples if entry.name == name), None)
    if manifest is None:
        known = ", ".join(entry.name for entry in examples)
        raise click.UsageError(f"NAME: there is no example {name!r}; choose one of: {known}")
    context.exit(_serve("run", [manifest], options))


def _serve(command: str, paths: Sequence[Path], options: dict[str, Any]) -> int:
    with needs_extra(command, "gateway,diffusers"):
        from heliograph.serve.command import serve
    return serve(paths, command=command, **options)


@main.command(short_help="Print the CustomResourceDefinition of ImageModel.")
def crd() -> None:
    """Print the CustomResourceDefinition of ImageModel as YAML, for `kubectl apply -f -`."""
    from heliograph_api.crd import crd_yaml

    click.echo(crd_yaml(), nl=False)


@main.command("import", short_help="Make ImageModels of LocalAI's models.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output",
    "-o",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the ImageModels, a file for each. [default: standard output]",
)
@click.option("--namespace", "-n", default="", help="Namespace of the ImageModels.")
@click.option("--profile", default="", help="Profile of the ImageModels: spec.serving.profile.")
@click.option(
    "--claim",
    default="",
    metavar="CLAIM[/FOLDER]",
    help="PersistentVolumeClaim that holds LocalAI's models folder, in FOLDER if not at its root; for models whose "
    "files lie there.",
)
@click.option("--check", is_flag=True, help="Write nothing; only say what would be done.")
@click.pass_context
def import_models(
    context: click.Context, /, paths: tuple[Path, ...], folder: Path | None, check: bool, **placing: str
) -> None:
    """Make ImageModels of LocalAI's models, with what was changed and why in comments.

    Each PATH is a LocalAI model file, an index of LocalAI's gallery, a base file that entries of one name, or a folder
    of these. Nothing is fetched. Models that draw nothing are left out. The exit status is 1 when nothing was imported,
    or a model that draws was left out; all others are written then too.
    """
    from heliograph.importing import import_files
    from heliograph_api.localai_import import Placing

    context.exit(import_files(paths, folder=folder, placing=Placing(**placing), check=check))


@main.command("plan", short_help="Print the objects that the operator would make.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, path_type=Path))
@click.option("--namespace", "-n", default="default", show_default=True, help="Namespace of manifests that name none.")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file with settings of the operator, such as gpu_profile; they win over the environment's.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["yaml", "json", "names"]),
    default="yaml",
    show_default=True,
    help="How the objects are written.",
)
@click.pass_context
def plan_objects(context: click.Context, /, paths: tuple[Path, ...], **options: Any) -> None:
    """Print the objects that the operator would make of manifests, in the order of their making.

    Each PATH is a manifest or a folder of manifests, as for `serve`; /dev/stdin is one too. Nothing is asked of a
    cluster: the operator's settings come from its environment variables (HELIOGRAPH_OPERATOR_<NAME>) and --settings.
    The uid in owner references is made of zeros. What the operator would warn of or refuse goes to standard error.
    """
    from heliograph.planning import show_plan

    context.exit(show_plan(paths, **options))


@main.command(short_help="Ask a gateway whether it is well.")
@click.argument("url", metavar="URL")
@click.option(
    "--api-key",
    envvar="HELIOGRAPH_API_KEY",
    show_envvar=True,
    default="",
    help="Key that the requests carry. Other users of this machine can read a command line, but not an environment.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the gateway may take to become ready.",
)
@click.option("--insecure", is_flag=True, help="Accept any certificate.")
@click.pass_context
def check(context: click.Context, /, url: str, **options: Any) -> None:
    """Ask a gateway whether it takes requests and which models it has.

    URL is where it is, such as http://127.0.0.1:8080. The exit status is 1 when it is not well, and the message says
    what failed and what to do. The chart's `helm test` is this command.
    """
    with needs_extra("check", "gateway"):
        from heliograph.checking import check as run_check
    context.exit(run_check(url, **options))


main.add_command(keys)
main.add_command(SettingsCommand("operator", extra="operator", help="Run the operator of a cluster."))
main.add_command(SettingsCommand("gateway", extra="gateway", help="Run the gateway of a cluster."))
main.add_command(
    SettingsCommand("runtime", extra="diffusers", help="Run the runtime of one model.", packages=HTTP_PACKAGES)
)
main.add_command(
    SettingsCommand(
        "fetch", extra="fetch", help="Fetch the weights of one model.", package="heliograph_runtime.weights"
    )
)
main.add_command(
    SettingsCommand(
        "collect",
        extra="fetch",
        help="Remove weights that no model uses.",
        package="heliograph_runtime.weights.collecting",
    )
)
