"""Addresses, packet filter rules and kernel settings of the machine: what the cluster adds, and how that is undone."""

import contextlib
import ipaddress
import json
import re
import socket
import struct
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.programs import SERVICE_RANGE
from devcluster import rules
from devcluster.layout import NODE_ADDRESS, POD_RANGE, Layout
from steps import StepError

_SETTINGS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.route_localnet": "1",
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    "kernel.keys.root_maxkeys": "1000000",
    "kernel.keys.root_maxbytes": "25000000",
}
"""What the kubelet, kube-proxy and the network plug-ins change, and what they set it to."""
_FAMILIES = ("iptables", "ip6tables")
_PROC_SYS = Path("/proc/sys")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_ADDRESSES = (f"{NODE_ADDRESS}/32", POD_RANGE, SERVICE_RANGE)


def check_addresses() -> None:
    """Make sure that nobody else has the cluster's addresses on this machine.

    Raises:
        StepError: When a route leads to one of them, be it on the machine itself.
    """
    if taken := taken_addresses(json.loads(_run("ip", "-json", "-4", "route", "show", "table", "all"))):
        raise StepError(
            f"this machine has routes in the address ranges {', '.join(_ADDRESSES)}, which the cluster needs:"
            f" {', '.join(taken)}. `ip -4 route show table all` shows them; end what made them, or use another machine"
        )


def taken_addresses(routes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the destinations of routes that lie in the cluster's address ranges, each with its device.

    Wider routes, such as one of a virtual private network to 10.0.0.0/8, go on beside the cluster's narrower ones.

    Args:
        routes: As `ip -json route show table all` prints them; a machine's own addresses are routes, too.
    """
    ranges = [ipaddress.IPv4Network(text) for text in _ADDRESSES]
    return [
        f"{route['dst']} ({route.get('dev', 'no device')})"
        for route in routes
        if route["dst"] != "default" and any(ipaddress.IPv4Network(route["dst"]).subnet_of(own) for own in ranges)
    ]


def add_address() -> None:
    """Give the machine the node's address.

    Raises:
        StepError: When that fails.
    """
    if not _has_address():
        _run("ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", "lo")


def _has_address() -> bool:
    """Return whether the node's address is where the cluster puts it."""
    (loopback,) = json.loads(_run("ip", "-json", "-4", "address", "show", "dev", "lo"))
    return any((entry["local"], entry["prefixlen"]) == (NODE_ADDRESS, 32) for entry in loopback["addr_info"])


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
    if recorded(layout):
        return
    state = {
        "boot": _BOOT.read_text().strip(),
        "settings": {name: path.read_text().strip() for name in _SETTINGS if (path := _setting(name)).exists()},
        "filters": {family: _saved(family) for family in _FAMILIES},
    }
    draft = layout.before.with_suffix(".new")
    draft.write_text(json.dumps(state, indent=1) + "\n")
    draft.replace(layout.before)


def recorded(layout: Layout) -> dict[str, Any]:
    """Return what was written down since the machine was started; empty when the cluster has changed nothing since."""
    if not layout.before.exists():
        return {}
    state: dict[str, Any] = json.loads(layout.before.read_text())
    # What an earlier start of the machine left is gone, and what is there now is somebody else's.
    return state if state["boot"] == _BOOT.read_text().strip() else {}


def restore(layout: Layout) -> None:
    """Take away the address and the rules, and set the kernel's settings back, as far as the cluster changed them.

    Raises:
        StepError: When a step fails.
    """
    before = recorded(layout)
    if not before:
        return
    if _has_address():
        _run("ip", "address", "delete", f"{NODE_ADDRESS}/32", "dev", "lo")
    for family in _FAMILIES:
        _restore_filter(family, rules.chains(before["filters"][family]))
    for name, value in before["settings"].items():
        path = _setting(name)
        if path.read_text().strip() == _SETTINGS.get(name) != value:
            path.write_text(value)


def _restore_filter(family: str, earlier: Mapping[str, Collection[str]]) -> None:
    if undoing := rules.undo(_saved(family), earlier):
        _run(f"{family}-restore", "--noflush", input_text=undoing)
    left = _saved(family)
    for table in rules.tables(left).keys() - earlier.keys():
        if rules.is_blank(left, table):
            _remove_empty_table(family, table)


def _remove_empty_table(family: str, table: str) -> None:
    """Remove a table that came with the first rule in it and has none any more; tables of older kernels just stay."""
    subprocess.run([family, "--table", table, "--delete-chain"], capture_output=True, check=False)
    named = ["table", "ip6" if family.startswith("ip6") else "ip", table]
    with contextlib.suppress(FileNotFoundError):
        listed = subprocess.run(["nft", "list", *named], capture_output=True, text=True, check=False)
        if re.fullmatch(r"table \S+ \S+ \{\s*\}\s*", listed.stdout):
            subprocess.run(["nft", "delete", *named], capture_output=True, check=False)


def _saved(family: str) -> str:
    return _run(f"{family}-save")


def _setting(name: str) -> Path:
    return _PROC_SYS / name.replace(".", "/")


def _run(*command: str, input_text: str | None = None) -> str:
    done = subprocess.run(command, input=input_text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
