"""Packet filter rules of Kubernetes and of its network plug-ins: which are the cluster's, and how they are undone."""

import ipaddress
import itertools
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from devcluster.layout import NETWORK_NAME, POD_RANGE

_KUBERNETES = "KUBE-"
_PLUGINS = "CNI-"
_MARKS = {"CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"}
"""Chains of the plug-ins that hold the same for everybody."""
_SHARED = {"CNI-FORWARD", "CNI-ADMIN", "CNI-HOSTPORT-DNAT", *_MARKS}
"""Chains of the plug-ins that all networks of a machine have in common, such as those of Podman."""


@dataclass(frozen=True)
class Rule:
    """A rule of a table.

    Attributes:
        text: As iptables-save prints it, without `-A`.
    """

    text: str

    @property
    def chain(self) -> str:
        """The chain that it is in."""
        return self.text.split()[0]

    @property
    def target(self) -> str:
        """Where it leads; empty when it only counts."""
        return self._option("-j", "-g")

    @property
    def is_named(self) -> bool:
        """Whether a plug-in wrote the name of the cluster's network at it."""
        return f'name: "{NETWORK_NAME}"' in self._option("--comment")

    @property
    def is_ours(self) -> bool:
        """Whether it is about a pod of the cluster."""
        pods = ipaddress.IPv4Network(POD_RANGE)
        ends = [ipaddress.ip_network(end, strict=False) for end in (self._option("-s"), self._option("-d")) if end]
        return self.is_named or any(isinstance(end, ipaddress.IPv4Network) and end.subnet_of(pods) for end in ends)

    def _option(self, *names: str) -> str:
        words = shlex.split(self.text)
        return next((value for name, value in itertools.pairwise(words) if name in names), "")


def undo(present: str, earlier: Mapping[str, Collection[str]]) -> str:
    """Return what iptables-restore takes to remove the cluster's chains and rules; those of other networks stay.

    Args:
        present: What iptables-save printed.
        earlier: The chains of each table that are to stay.
    """
    lines: list[str] = []
    for table, text in tables(present).items():
        rules = [Rule(rule) for rule in re.findall(r"^-A (.+)$", text, re.MULTILINE)]
        doomed = _doomed(set(chains(present)[table]) - set(earlier.get(table, ())), rules)
        deleted = [
            rule
            for rule in rules
            if rule.chain not in doomed
            and (rule.target in doomed or (rule.chain.startswith(_PLUGINS) and rule.is_ours))
        ]
        if doomed or deleted:
            lines.append(f"*{table}")
            lines += [f"-D {rule.text}" for rule in deleted]
            lines += [f"-{action} {chain}" for action in "FX" for chain in sorted(doomed)]
            lines.append("COMMIT")
    return "\n".join(lines) + "\n" if lines else ""


def _doomed(new: Collection[str], rules: Sequence[Rule]) -> set[str]:
    """Return the chains that go, of those that were not there before."""
    named = {chain for rule in rules if rule.is_named for chain in (rule.chain, rule.target)} - _SHARED
    doomed = {
        chain for chain in new if chain.startswith(_KUBERNETES) or (chain.startswith(_PLUGINS) and chain in named)
    }
    of_others = [
        rule
        for rule in rules
        if (rule.chain.startswith(_PLUGINS) or rule.target.startswith(_PLUGINS))
        and not (rule.chain in doomed | _MARKS or rule.target in doomed | _SHARED or rule.is_ours)
    ]
    return doomed if of_others else doomed | (_SHARED & set(new))


def is_blank(saved: str, table: str) -> bool:
    """Return whether a table has neither rules nor chains that anybody made, by what iptables-save printed."""
    text = tables(saved).get(table, "")
    return (
        all(line.split()[1] == "ACCEPT" for line in text.splitlines() if line.startswith(":")) and "\n-A " not in text
    )


def tables(saved: str) -> dict[str, str]:
    """Return the lines of each table in what iptables-save printed."""
    return dict(re.findall(r"^\*(\w+)\n(.*?)(?=^\*|\Z)", saved, re.MULTILINE | re.DOTALL))


def chains(saved: str) -> dict[str, list[str]]:
    """Return the chains of each table in what iptables-save printed."""
    return {table: re.findall(r"^:(\S+)", text, re.MULTILINE) for table, text in tables(saved).items()}
