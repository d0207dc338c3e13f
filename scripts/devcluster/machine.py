"""What the machine must be: a Linux, with root. As a program, this checks it with the standard library alone."""

import os
import sys

from cluster.go_programs import cache_folder
from devcluster.layout import LONGEST_FOLDER, Layout
from steps import StepError


def check_machine(layout: Layout) -> None:
    """Make sure that this is a Linux with root.

    Raises:
        StepError: When it is not, or the folder's path is too long.
    """
    if sys.platform != "linux":
        raise StepError(
            "the development cluster runs on Linux alone, since its node is this machine. Elsewhere take a cluster of"
            " kind, k3d or your cloud and install the chart there: docs/kubernetes.md"
        )
    if os.geteuid() != 0:
        raise StepError(
            "the development cluster needs root: its node is this machine, whose network and mounts it changes."
            " Run `make cluster` as root in a checkout of root's own, as docs/devcluster.md tells, since in yours what"
            " it makes would be root's; or install the chart in one of kind, k3d or your cloud: docs/kubernetes.md"
        )
    if len(str(layout.root)) > LONGEST_FOLDER:
        raise StepError(
            f"the path {layout.root} is longer than the {LONGEST_FOLDER} characters that leave room for sockets in it:"
            " set HELIOGRAPH_CACHE to a shorter one"
        )


def main() -> int:
    """Check this machine; return the exit status."""
    try:
        check_machine(Layout(cache_folder(os.environ) / "devcluster"))
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
