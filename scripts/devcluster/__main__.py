"""`python -m devcluster images|up|install|down|status`: the development cluster from the command line."""

import argparse
import sys
import time

from devcluster.cluster import Cluster
from devcluster.installation import build_images, install
from devcluster.machine import check_machine
from steps import Reporter, run_program

_COMMANDS = {
    "images": "build the images that the cluster is to run, as far as they are not there",
    "up": "bring the bare cluster up, or up to date",
    "install": "import the images, install the charts and apply the examples in the cluster that is up",
    "down": "end the cluster, and remove what it left on this machine",
    "status": "tell whether it is up",
}


def main() -> int:
    """Do what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(prog="devcluster", description="A single-node Kubernetes cluster for development.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in _COMMANDS.items():
        commands.add_parser(name, help=help_text)
    command = parser.parse_args().command
    return run_program(lambda reporter: _run(command, Cluster(reporter=reporter), reporter))


def _run(command: str, cluster: Cluster, reporter: Reporter) -> int:
    started = time.monotonic()
    if command == "images":
        check_machine(cluster.layout)
        build_images()
    elif command == "up":
        changed = cluster.up()
        what = "is up" if changed else "was up already, and is up to date"
        reporter.say(f"The development cluster {what} ({time.monotonic() - started:.0f} s).")
    elif command == "install":
        install(cluster, reporter)
    elif command == "down":
        if cluster.down():
            reporter.say(
                f"The development cluster is gone ({time.monotonic() - started:.0f} s). Its images and logs stay in"
                f" {cluster.layout.root}, which may be removed."
            )
        else:
            reporter.say("There is no development cluster.")
    else:
        return _status(cluster, reporter)
    return 0


def _status(cluster: Cluster, reporter: Reporter) -> int:
    check_machine(cluster.layout)
    if cluster.is_up():
        reporter.say(f"The development cluster is up.\nexport KUBECONFIG={cluster.kubeconfig}")
        return 0
    reporter.say("The development cluster is not up; `make cluster` brings it up.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
