"""Addresses, packet filter rules and kernel settings of the machine: what the cluster adds, and how that is undone."""

import contextlib
import json
import re
import socket
import struct
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from devcluster.layout import NODE_ADDRESS, Layout
from steps import StepError

_SETTINGS = (
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.route_localnet",
    "vm.overcommit_memory",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)
"""What the kubelet, kube-proxy and the network plug-ins change."""
_FAMILIES = ("iptables", "ip6tables")
_OURS = ("KUBE-", "CNI-")
_PROC_SYS = Path("/proc/sys")


def add_address() -> None:
    """Give the machine the node's address.

    Raises:
        StepError: When that fails.
    """
    _run("ip", "address", "replace", f"{NODE_ADDRESS}/32", "dev", "lo")


def outside_mtu() -> int:
    """Return how many bytes a packet may have on the interface that leads outside."""
    routes = json.loads(_run("ip", "-json", "-4", "route", "show", "default"))
    for route in routes:
        mtu = Path("/sys/class/net") / route.get("dev", "") / "mtu"
        if mtu.is_file():
            return int(mtu.read_text())
    return 1500


def answers_names(server: str, name: str) -> bool:
    """Return whether a name server knows the address of a name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    # One question, recursion desired; the type A of the class IN.
    query = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, contextlib.suppress(OSError):
        client.settimeout(1.0)
        client.connect((server, 53))
        client.send(query)
        _, flags, _, answers, *_ = struct.unpack(">6H", client.recv(4096)[:12])
        return bool(answers) and flags & 0xF == 0
    return False


def record(layout: Layout) -> None:
    """Write down how the machine is before the cluster changes it, unless that was done since it was started."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    if layout.before.exists() and json.loads(layout.before.read_text())["boot"] == boot:
        return
    state = {
        "boot": boot,
        "settings": {name: path.read_text().strip() for name in _SETTINGS if (path := _setting(name)).exists()},
        "filters": {family: _saved(family) for family in _FAMILIES},
    }
    draft = layout.before.with_suffix(".new")
    draft.write_text(json.dumps(state, indent=1) + "\n")
    draft.replace(layout.before)


def restore(layout: Layout) -> None:
    """Take away the address and the rules, and set the kernel's settings back.

    Raises:
        StepError: When a step fails.
    """
    if NODE_ADDRESS in _run("ip", "-4", "address", "show", "dev", "lo"):
        _run("ip", "address", "delete", f"{NODE_ADDRESS}/32", "dev", "lo")
    before = json.loads(layout.before.read_text()) if layout.before.exists() else {}
    for family in _FAMILIES:
        earlier = _chains(before.get("filters", {}).get(family, ""))
        _restore_filter(family, earlier)
    for name, value in before.get("settings", {}).items():
        path = _setting(name)
        if path.read_text().strip() != value:
            path.write_text(value)


def _restore_filter(family: str, earlier: Mapping[str, Collection[str]]) -> None:
    present = _saved(family)
    if undoing := undo(present, earlier):
        _run(f"{family}-restore", "--noflush", input_text=undoing)
    for table in _tables(present).keys() - earlier.keys():
        _remove_empty_table(family, table)


def _remove_empty_table(family: str, table: str) -> None:
    """Remove a table that came with the first rule in it and has none any more; tables of older kernels just stay."""
    subprocess.run([family, "--table", table, "--delete-chain"], capture_output=True, check=False)
    named = ["table", "ip6" if family.startswith("ip6") else "ip", table]
    with contextlib.suppress(FileNotFoundError):
        listed = subprocess.run(["nft", "list", *named], capture_output=True, text=True, check=False)
        if re.fullmatch(r"table \S+ \S+ \{\s*\}\s*", listed.stdout):
            subprocess.run(["nft", "delete", *named], capture_output=True, check=False)


def undo(present: str, earlier: Mapping[str, Collection[str]]) -> str:
    """Return what iptables-restore takes to remove the chains of Kubernetes and of its network plug-ins.

    Args:
        present: What iptables-save printed.
        earlier: The chains of each table that are to stay as they were.
    """
    lines: list[str] = []
    for table, text in _tables(present).items():
        chains = set(_chains(present)[table]) - set(earlier.get(table, ()))
        doomed = sorted(chain for chain in chains if chain.startswith(_OURS))
        if not doomed:
            continue
        lines.append(f"*{table}")
        for rule in re.findall(r"^-A (.+)$", text, re.MULTILINE):
            target = re.search(r"(?:-j|-g) (\S+)", rule)
            if rule.split()[0] not in doomed and target and target[1] in doomed:
                lines.append(f"-D {rule}")
        lines += [f"-F {chain}" for chain in doomed]
        lines += [f"-X {chain}" for chain in doomed]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n" if lines else ""


def _tables(saved: str) -> dict[str, str]:
    return dict(re.findall(r"^\*(\w+)\n(.*?)(?=^\*|\Z)", saved, re.MULTILINE | re.DOTALL))


def _chains(saved: str) -> dict[str, list[str]]:
    return {table: re.findall(r"^:(\S+)", text, re.MULTILINE) for table, text in _tables(saved).items()}


def _saved(family: str) -> str:
    return _run(f"{family}-save")


def _setting(name: str) -> Path:
    return _PROC_SYS / name.replace(".", "/")


def _run(*command: str, input_text: str | None = None) -> str:
    done = subprocess.run(command, input=input_text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
