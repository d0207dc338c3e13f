"""The address that `serve` listens on, taken before any model is loaded."""

from __future__ import annotations

import errno
import ipaddress
import socket

_BACKLOG = 128


class ListenError(Exception):
    """An address that cannot be used; the message names the option, the problem and the remedy."""


def open_listener(host: str, port: int, *, has_key: bool) -> socket.socket:
    """Return a socket that listens on an address.

    Args:
        host: Name or address; where a name stands for several addresses, the first is taken.
        port: TCP port; 0 takes a free one.
        has_key: Whether requests must carry a key; without one, only a loopback address is taken.

    Raises:
        ListenError: The address is in use or is not one of this machine's, or it is open to others without a key.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError):
        raise ListenError(f"--host: {host!r} is no address of this machine; 127.0.0.1 is the usual one") from None
    if not has_key and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise ListenError(
            f"--host: on {host} others could reach the models without a key; set HELIOGRAPH_API_KEY or give "
            "--keys-file, or listen on 127.0.0.1"
        )
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # asyncio sets it for sockets of its own making alone. Without it the body of an answer waits for the client's
        # delayed acknowledgement of the head, 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(_explain(error, host, port)) from None
    return listener


def url(listener: socket.socket, *, scheme: str = "http") -> str:
    """Return the URL under which this machine reaches a listening socket."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"{scheme}://[{address}]:{port}" if address.version == 6 else f"{scheme}://{address}:{port}"


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port: {port} on {host} is in use; stop what listens there, or choose another port"
    if error.errno == errno.EACCES:
        return f"--port: {port} needs root; choose a port from 1024 up"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host: {host!r} is no address of this machine; 127.0.0.1 is the usual one"
    return f"--host: cannot listen on {host} port {port}: {error.strerror}"
