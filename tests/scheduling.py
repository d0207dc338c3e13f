"""Which tests run beside which: those that compute beside those that wait, on two workers of pytest-xdist.

Tests of models use both cores as long as they run; those of servers and of Kubernetes wait for most of the time. In
turn they leave a third of two cores idle. A folder stays on one worker, which makes what its tests share once.
"""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

_COMPUTING = {"clients", "contract", "hostile", "runtime"}


class ComputingBesideWaiting(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives the first worker folders whose tests compute, and the others the rest, as long as there are such."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0].split("/")[1]

    def _assign_work_unit(self, node: WorkerController) -> None:
        computes = node is self.nodes[0]
        if fitting := next((scope for scope in self.workqueue if (scope in _COMPUTING) == computes), None):
            self.workqueue.move_to_end(fitting, last=False)
        super()._assign_work_unit(node)
