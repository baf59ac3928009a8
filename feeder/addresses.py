"""Which addresses a request may go to. Pure functions.

A webhook's host is chosen by whoever writes the settings or controls a domain, so it may lead into the network that feeder
runs in: to a database, a router, the cloud's metadata service. Only what the internet routes is reached, unless a setting
allows more. https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry list the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Network = IPv4Network | IPv6Network

# Written out, because what Python's `is_global` says differs from version to version, and includes multicast and relays.
_SPECIAL: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # behind a carrier's NAT
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's metadata and name service
            "169.254.0.0/16",  # of one link; the metadata service of most clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocols; Oracle's metadata service
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
            "2001::/23",  # Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation
            "3fff::/20",
        ),
    )
)
_UNICAST = ip_network("2000::/3")  # all that is routed of IPv6; what is private, local or multicast stands outside
_NAT64 = ip_network("64:ff9b::/96")
_6TO4 = ip_network("2002::/16")


@lru_cache(maxsize=1_000)
def networks(written: tuple[str, ...]) -> tuple[Network, ...]:
    """The networks that a setting allows: addresses or CIDR. ValueError names the one that is none."""
    found = []
    for each in written:
        try:
            found.append(ip_network(each.strip()))
        except ValueError as error:
            raise ValueError(f"{each!r} is no address or network, like 10.0.0.7 or 10.0.0.0/8") from error
    return tuple(found)


def is_allowed(address: str, allowed: Collection[Network]) -> bool:
    """Whether a connection may be made to `address`, as the operating system writes it."""
    try:
        found = ip_address(address.partition("%")[0])  # the zone of a link-local address
    except ValueError:
        return False
    within = {found, _embedded(found)}
    return _is_public(found) or any(
        each in network for each in within for network in allowed if _same_kind(each, network)
    )


def _same_kind(address: IPv4Address | IPv6Address, network: Network) -> bool:
    return address.version == network.version


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    inner = _embedded(address)
    if inner != address:
        # Which of the two a connection ends at depends on the network: an address in another's clothes is good only
        # where NAT64 is, and then as good as what it wears.
        return address in _NAT64 and _is_public(inner)
    routed = isinstance(address, IPv4Address) or address in _UNICAST
    return routed and not any(address in network for network in _SPECIAL if _same_kind(address, network))


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one stands for (RFC 4291, 6052, 3056); itself where it stands for none."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return address
