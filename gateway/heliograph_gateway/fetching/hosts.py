"""Which hosts the administrator allows, and what a URL's host is."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from heliograph_gateway.fetching.errors import RefusedError

_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# Resolvers read a name that ends in a number as an IPv4 address in one of inet_aton's spellings: 127.1, 0x7f000001.
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_RULE = re.compile(
    r"(?:(?P<any>\*)|(?P<sub>\*\.)?(?P<host>[^\s:/?#@%*\\\[\]]+|\[[0-9A-Fa-f:.]+\]))(?::(?P<port>[0-9]{1,5}))?"
)
_MAX_PORT = 65_535
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """What is connected to and asked for.

    Attributes:
        url: The URL, for its scheme and path.
        host: A DNS name in lower case, without a dot at its end, or an IP address as `ipaddress` writes it.
        port: TCP port.
    """

    url: httpx.URL
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.url.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class HostRule:
    """Hosts that are allowed.

    Attributes:
        host: Name or address; the part after `*.` for a domain, empty for any host.
        subdomains: Whether the hosts below `host` are meant and not itself.
        port: TCP port; None stands for 80 and 443.
    """

    host: str
    subdomains: bool = False
    port: int | None = None

    @property
    def any_host(self) -> bool:
        """Whether every host is allowed."""
        return not self.host

    def allows(self, host: str, port: int) -> bool:
        """Return whether a host, written as in `Target`, is allowed at a port."""
        if port not in (_DEFAULT_PORTS.values() if self.port is None else (self.port,)):
            return False
        return self.any_host or (host.endswith(f".{self.host}") if self.subdomains else host == self.host)


def allows(rules: Iterable[HostRule], host: str, port: int) -> bool:
    """Return whether one of the rules allows a host at a port."""
    return any(rule.allows(host, port) for rule in rules)


def parse_rule(text: str) -> HostRule:
    """Return the rule that HOST, *.DOMAIN or *, each with :PORT or without, stands for; raise `ValueError` if none."""
    match = _RULE.fullmatch(text)
    if match:
        port = int(match["port"]) if match["port"] else None
        host = "" if match["any"] else _host_of_text(match["host"])
        if host is not None and (port is None or 0 < port <= _MAX_PORT):
            return HostRule(host, subdomains=bool(match["sub"]), port=port)
    raise ValueError(f"{text!r} is no host; write HOST, *.DOMAIN or *, each with :PORT or without")


def parse_target(text: str) -> Target:
    """Return what a URL asks for; raise `RefusedError` if it is none that can be fetched from anywhere."""
    # A backslash is a slash to some parsers and a letter to others.
    if "\\" in text or not text.isprintable() or " " in text:
        raise RefusedError("invalid", "holds characters that no URL has; percent-encode them")
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError):
        raise RefusedError("invalid", "is no URL that can be read") from None
    if url.scheme not in _DEFAULT_PORTS:
        raise RefusedError("invalid", "must be an http or https URL")
    if url.userinfo:
        raise RefusedError("invalid", "must hold no user name or password")
    host = host_of(url)
    port = _DEFAULT_PORTS[url.scheme] if url.port is None else url.port
    if host is None or not 0 < port <= _MAX_PORT:
        raise RefusedError("invalid", "must name a host, by a DNS name or a usual IP address, and a port that exists")
    return Target(url, host, port)


def host_of(url: httpx.URL) -> str | None:
    """Return the host of a URL as `Target` has it, or None if it is neither a name nor an address in its usual form."""
    text = url.raw_host.decode("ascii").lower()
    try:
        return None if "%" in text else str(ipaddress.ip_address(text))
    except ValueError:
        name = text.removesuffix(".")
    plain = len(name) <= 253 and _NAME.fullmatch(name) and not _ENDS_IN_NUMBER.fullmatch(name)
    return name if plain else None


def _host_of_text(text: str) -> str | None:
    try:
        return host_of(httpx.URL(f"http://{text}/"))
    except (httpx.InvalidURL, UnicodeError):
        return None
