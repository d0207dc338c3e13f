"""Which IP addresses may be connected to."""

import ipaddress
from typing import Literal

Standing = Literal["public", "private", "barred"]
"""A barred address is one that no image is ever at: it names a cloud's metadata, everybody, or nobody."""

_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"),
    )
)
_BARRED = tuple(
    map(
        ipaddress.ip_network,
        (
            # Metadata of Alibaba, Azure, Oracle (and the IETF's own), AWS and Google; others' is link-local.
            *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.0/24", "fd00:ec2::254/128", "fd20:ce::254/128"),
            # Ways to spell an IPv4 address in IPv6 that nothing in use needs: Teredo and the like, 6to4, its relay.
            *("2001::/23", "2002::/16", "192.88.99.0/24"),
            # For documentation; younger than some Pythons' own list.
            "3fff::/20",
        ),
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def standing(text: str) -> Standing:
    """Return what an address is, for an IPv4 address written in IPv6 what that is."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return standing(str(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)))
        if address.ipv4_mapped:
            return standing(str(address.ipv4_mapped))
    # ipaddress knows no address of one version in a network of the other.
    if any(address in network for network in _BARRED):
        return "barred"
    if any(address in network for network in _PRIVATE):
        return "private"
    if address.is_multicast or not address.is_global:
        return "barred"
    return "public" if address.version == 4 or address in _GLOBAL_UNICAST else "barred"
