"""Networks of the tests' own: a gateway between a public world, a cloud's metadata service and a cluster's addresses.

```
  this host -- ctl -- [ gateway ] -- world -- [ world ]     every other address, and the name server
                           |-------- meta --- [ meta ]      169.254.0.0/16 and other clouds' places for metadata
                           |-------- cluster  [ cluster ]   private ranges, and IPv4 addresses written in IPv6
```

Each host takes every address that is routed to it, and tells each packet that comes. It needs root and iproute2.
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.leash import Leash
from cluster.waiting import eventually

PROGRAM = Path(__file__).with_name("netns_host.py")
NAME_SERVER = "9.9.9.53"
SINKS = ("meta", "cluster")
PORTS = (22, 80, 2379, 6443, 8080, 10250)
"""Where the sinks listen; packets to others are told too."""

_ROUTES = {
    "world": ("default",),
    "meta": (
        "169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.0/24", "fd00:ec2::/32", "fd20:ce::/32",
    ),
    "cluster": (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "64:ff9b::/32", "2002::/16",
        "2001::/23", "fec0::/10", "198.18.0.0/15", "192.0.2.0/24",
    ),
}  # fmt: skip


@dataclass
class Networks:
    """Networks with a gateway's namespace in the middle.

    Attributes:
        name: What the namespaces' names begin with.
        here: Address of this host in the network that it shares with the gateway.
        gateway: Address of the gateway there.
        hosts: The processes of each namespace.
    """

    name: str
    here: str
    gateway: str
    hosts: dict[str, Leash]

    def before(self, place: str = "gateway") -> list[str]:
        """Return what a command line is put behind to run in a namespace."""
        return ["ip", "netns", "exec", f"{self.name}-{place}"]

    def packets(self, place: str) -> list[dict[str, Any]]:
        """Return what has reached a host so far."""
        lines = self.hosts[place].log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def connect(self, address: str, port: int) -> None:
        """Connect from the gateway's namespace, and read what comes."""
        script = (
            "import sys, http.client; c = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=5);"
            "c.request('GET', '/'); sys.exit(c.getresponse().status != 200)"
        )
        _run(*self.before(), sys.executable, "-I", "-S", "-c", script, address, str(port))


def available() -> bool:
    """Return whether such networks can be made here."""
    return os.geteuid() == 0 and shutil.which("ip") is not None and _makes_namespaces()


@contextlib.contextmanager
def networks(folder: Path, names: Mapping[str, Mapping[str, Sequence[Sequence[str]]]]) -> Iterator[Networks]:
    """Make the networks, and end everything in them afterwards.

    Args:
        folder: For the hosts' output.
        names: What the name server tells: name and type to lists of addresses, one after the other.
    """
    name, net = f"hg{uuid.uuid4().hex[:6]}", f"10.{random.randrange(200, 250)}.{random.randrange(256)}"
    with contextlib.ExitStack() as made:
        made.callback(_remove, name)
        for place in ("gateway", *_ROUTES):
            _ip("netns", "add", f"{name}-{place}")
            _ip("-n", f"{name}-{place}", "link", "set", "lo", "up")
        _link_here(name, net)
        for number, (place, routes) in enumerate(_ROUTES.items()):
            _link(name, place, number, routes)
        _write_resolver(name)
        made.callback(shutil.rmtree, _resolver(name), ignore_errors=True)
        wanted: dict[str, dict[str, Any]] = {
            "world": {"public": [80], "names": names},
            "meta": {"sink": PORTS, "sniff": ["eth0"]},
            "cluster": {"sink": PORTS, "sniff": ["eth0"]},
            "gateway": {"sink": PORTS, "sniff": ["lo"]},
        }
        networks = Networks(name, f"{net}.1", f"{net}.2", {})
        for place, what in wanted.items():
            command = [*networks.before(place), sys.executable, "-I", "-S", str(PROGRAM), json.dumps(what)]
            leash = made.enter_context(Leash(command, log=folder / f"{place}.log", grace=0))
            networks.hosts[place] = leash
        for leash in networks.hosts.values():
            leash.wait_until(lambda log=leash.log: "ready" in log.read_text())  # type: ignore[misc]
        _wait_for_addresses(networks)
        yield networks


def _link_here(name: str, net: str) -> None:
    _ip("link", "add", "name", f"{name}c", "type", "veth", "peer", "name", "ctl", "netns", f"{name}-gateway")
    _ip("address", "add", f"{net}.1/30", "dev", f"{name}c")
    _ip("link", "set", f"{name}c", "up")
    _ip("-n", f"{name}-gateway", "address", "add", f"{net}.2/30", "dev", "ctl")
    _ip("-n", f"{name}-gateway", "link", "set", "ctl", "up")


def _link(name: str, place: str, number: int, routes: Sequence[str]) -> None:
    """Join a host to the gateway; it takes every address, and the gateway has routes to it."""
    gateway, host = f"{name}-gateway", f"{name}-{place}"
    _ip("-n", gateway, "link", "add", "name", place, "type", "veth", "peer", "name", "eth0", "netns", host)
    for space, device, last in ((gateway, place, 1), (host, "eth0", 2)):
        _ip("-n", space, "address", "add", f"203.0.113.{number * 4 + last}/30", "dev", device)
        _ip("-n", space, "address", "add", f"2001:db8:{number}::{last}/64", "dev", device, "nodad")
        _ip("-n", space, "link", "set", device, "up")
    _ip("-n", host, "route", "add", "local", "default", "dev", "lo")
    _ip("-n", host, "-6", "route", "add", "local", "default", "dev", "lo")
    for route in routes:
        if ":" not in route:
            _ip("-n", gateway, "route", "add", route, "via", f"203.0.113.{number * 4 + 2}")
        if ":" in route or route == "default":
            _ip("-n", gateway, "-6", "route", "add", route, "via", f"2001:db8:{number}::2")


def _resolver(name: str) -> Path:
    return Path("/etc/netns") / f"{name}-gateway"


def _write_resolver(name: str) -> None:
    """Have names looked up as a pod does: the cluster's domains first."""
    folder = _resolver(name)
    folder.mkdir(parents=True)
    domains = "default.svc.cluster.local svc.cluster.local cluster.local"
    (folder / "resolv.conf").write_text(
        f"nameserver {NAME_SERVER}\nsearch {domains}\noptions ndots:5 timeout:2 attempts:2\n"
    )


def _wait_for_addresses(networks: Networks) -> None:
    """Wait until IPv6 addresses may be used."""

    def settled() -> bool:
        shown = [_ip("-n", f"{networks.name}-{place}", "-6", "address", "show") for place in ("gateway", *_ROUTES)]
        return not any("tentative" in text for text in shown)

    eventually(settled, what="IPv6 addresses")


def _makes_namespaces() -> bool:
    name = f"hg{uuid.uuid4().hex[:6]}"
    try:
        _ip("netns", "add", name)
        _ip("-n", name, "link", "add", "name", "near", "type", "veth", "peer", "name", "far")
    except subprocess.CalledProcessError:
        return False
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return True


def _remove(name: str) -> None:
    subprocess.run(["ip", "link", "delete", f"{name}c"], capture_output=True, check=False)
    for place in ("gateway", *_ROUTES):
        subprocess.run(["ip", "netns", "delete", f"{name}-{place}"], capture_output=True, check=False)


def _ip(*arguments: str) -> str:
    return _run("ip", *arguments)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
