"""Ports are free and addresses are this host's."""

import ipaddress
import socket
from types import SimpleNamespace

import psutil
import pytest

from cluster.addresses import free_port, routable_address


def test_free_port_can_be_bound_and_is_not_given_while_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        port = free_port()
        server.bind(("127.0.0.1", port))
        monkeypatch.setattr("cluster.addresses._PORTS", range(port, port + 1))
        with pytest.raises(OSError, match="no free TCP port"):
            free_port()


def test_routable_address_is_this_hosts_and_not_loopback() -> None:
    address = routable_address()
    assert not ipaddress.ip_address(address).is_loopback
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as server:
        server.bind((address, 0))


def test_host_with_loopback_alone_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    loopback = [SimpleNamespace(family=socket.AF_INET, address="127.0.0.1")]
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"lo": loopback})
    with pytest.raises(OSError, match="ip addr add"):
        routable_address()
