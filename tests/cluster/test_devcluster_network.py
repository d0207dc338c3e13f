"""What the development cluster writes down of its machine, and what it takes from that later."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from devcluster import host, network, processes
from devcluster.layout import NODE_ADDRESS, Layout
from steps import StepError

BOOT = "11111111-2222-3333-4444-555555555555"


class Machine:
    """Stands for `ip` and iptables, which take root, and for the kernel's settings."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.addresses: list[str] = []
        self.settings = folder / "sys"
        self.boot = folder / "boot_id"
        self.boot.write_text(f"{BOOT}\n")
        monkeypatch.setattr(network, "_run", self._run)
        monkeypatch.setattr(network, "_BOOT", self.boot)
        monkeypatch.setattr(network, "_PROC_SYS", self.settings)

    def set(self, **values: str) -> None:
        for name, value in values.items():
            file = self.settings / "kernel" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")

    def get(self, name: str) -> str:
        return (self.settings / "kernel" / name).read_text().strip()

    def _run(self, *command: str, input_text: str | None = None) -> str:
        del input_text
        if command[:4] == ("ip", "-json", "-4", "address"):
            found = [{"local": address, "prefixlen": 32} for address in self.addresses]
            return json.dumps([{"ifname": "lo", "addr_info": found}])
        if command[0].endswith("-save"):
            return ""
        self.done.append(" ".join(command))
        return ""


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, run=tmp_path / "run")


def test_settings_go_back_unless_somebody_changed_them_meanwhile(computer: Machine, layout: Layout) -> None:
    computer.set(panic="0", panic_on_oops="0")
    network.record(layout)
    computer.set(panic="10", panic_on_oops="7")
    network.record(layout)
    network.restore(layout)
    assert computer.get("panic") == "0", "the first record counts"
    assert computer.get("panic_on_oops") == "7"


def test_what_was_written_down_before_a_restart_counts_no_more(computer: Machine, layout: Layout) -> None:
    computer.set(panic="0")
    network.record(layout)
    assert network.recorded(layout)["settings"] == {"kernel.panic": "0"}
    computer.boot.write_text("another\n")
    computer.set(panic="10")
    computer.addresses = [NODE_ADDRESS]
    assert network.recorded(layout) == {}
    network.restore(layout)
    assert (computer.get("panic"), computer.done) == ("10", [])
    network.record(layout)
    assert network.recorded(layout)["settings"] == {"kernel.panic": "10"}


@pytest.mark.parametrize("others", [[], [f"{NODE_ADDRESS}0"]])
def test_the_nodes_address_is_taken_and_given_back_once(
    computer: Machine, layout: Layout, others: Sequence[str]
) -> None:
    computer.addresses = [*others]
    network.add_address()
    assert computer.done == [f"ip address add {NODE_ADDRESS}/32 dev lo"]
    computer.addresses.append(NODE_ADDRESS)
    network.add_address()
    network.record(layout)
    network.restore(layout)
    assert computer.done[1:] == [f"ip address delete {NODE_ADDRESS}/32 dev lo"]
    computer.addresses = [*others]
    network.restore(layout)
    assert len(computer.done) == 2


def test_routes_in_the_clusters_ranges_are_found_and_wider_ones_may_stay() -> None:
    routes = [
        {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"},
        {"dst": "10.0.0.0/8", "dev": "tun0"},
        {"dst": f"{NODE_ADDRESS}0", "dev": "eth0", "type": "local", "table": "local"},
        {"dst": "10.244.1.0/24", "dev": "cni0"},
        {"dst": NODE_ADDRESS, "dev": "br0", "type": "local", "table": "local"},
        {"dst": "10.244.0.0/25", "dev": "cni0"},
        {"dst": "10.96.7.0/24", "type": "unreachable"},
    ]
    assert network.taken_addresses(routes) == [
        f"{NODE_ADDRESS} (br0)",
        "10.244.0.0/25 (cni0)",
        "10.96.7.0/24 (no device)",
    ]


def test_a_machine_whose_addresses_are_taken_is_refused_unless_the_cluster_has_them(
    computer: Machine, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_MARK", f"HELIOGRAPH_TEST_{layout.root.name}")
    computer.set(panic="0")
    routes = [{"dst": "10.96.0.0/16", "dev": "eth1"}]
    monkeypatch.setattr(network, "_run", lambda *command: json.dumps(routes) if "route" in command else "")
    with pytest.raises(StepError, match=r"routes in the address ranges .*: 10\.96\.0\.0/16 \(eth1\)\. `ip -4 route"):
        host.check_addresses(layout)
    network.record(layout)
    host.check_addresses(layout)
    computer.boot.write_text("another\n")
    with pytest.raises(StepError, match="routes in the address ranges"):
        host.check_addresses(layout)
