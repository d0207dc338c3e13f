"""Ports and addresses of this host for processes that tests start."""

import ipaddress
import random
import socket

import psutil

# Below the ranges from which systems take the ports of outgoing connections and of port 0 (Linux 32768 and up, macOS
# 49152 and up), so that nothing takes the port by chance between here and the program's own bind.
_PORTS = range(20_000, 32_000)
_ATTEMPTS = 200


def free_port() -> int:
    """Return a TCP port that nothing on this host is bound to.

    Raises:
        OSError: When none was found in many attempts.
    """
    for _ in range(_ATTEMPTS):
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free TCP port found from {_PORTS.start} to {_PORTS.stop - 1}")


def routable_address() -> str:
    """Return an address of this host that an EndpointSlice may hold.

    The API server refuses loopback and link-local addresses there. IPv4 goes before IPv6, as the control plane's
    Services are IPv4.

    Raises:
        OSError: When this host has no such address; the message says how to add one.
    """
    candidates = [
        ipaddress.ip_address(address.address)
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6) and "%" not in address.address
    ]
    usable = [
        candidate
        for candidate in candidates
        if not (candidate.is_loopback or candidate.is_link_local or candidate.is_multicast or candidate.is_unspecified)
    ]
    if not usable:
        raise OSError(
            "this host has loopback and link-local addresses only, and the API server takes none of them in an"
            " EndpointSlice: add another one, on Linux with `ip addr add 10.243.255.1/32 dev lo`"
        )
    return str(min(usable, key=lambda candidate: candidate.version))
