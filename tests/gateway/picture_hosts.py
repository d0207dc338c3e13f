"""Hosts that serve pictures by URL, well or badly, and the names they go by."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.peers import Peer, answer
from heliograph_api.errors import APIError
from heliograph_gateway.body import Bodies, Body
from heliograph_gateway.fetching.fetcher import Fetcher
from heliograph_gateway.fetching.sockets import Resolve
from heliograph_gateway.routing import Endpoint
from heliograph_gateway.settings import GatewaySettings

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)
JPEG = b"\xff\xd8\xff\xe0" + bytes(500)
GIF = b"GIF89a" + bytes(100)
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(200)

picture = answer(200, PNG, content_type="text/plain")
"""A picture, under a content type that is not one's."""


def redirect(location: str, status: int = 302) -> Any:
    """Answer with a redirect."""
    return answer(status, b"moved: canary-body", f"location: {location}", "set-cookie: canary=1")


@dataclass
class PictureHost(Peer):
    """A peer that counts connections, those without a request too, and may speak TLS.

    Attributes:
        certificate: Files of a certificate and its key; without them it speaks plain HTTP.
        connections: How many there were.
    """

    certificate: tuple[Any, Any] | None = None
    connections: int = 0

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.create_server((self.host, 0), family=family)
        self.endpoint = Endpoint(*self._socket.getsockname()[:2])

    @property
    def port(self) -> int:
        return self.endpoint.port

    def url(self, host: str = "127.0.0.1", path: str = "/a.png") -> str:
        """Return a URL of this host under some name."""
        return f"{'https' if self.certificate else 'http'}://{host}:{self.port}{path}"

    def _serve(self, connection: socket.socket) -> None:
        self.connections += 1
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            with connection, contextlib.suppress(OSError):
                connection.settimeout(30.0)
                super()._serve(context.wrap_socket(connection, server_side=True))
        else:
            super()._serve(connection)


@dataclass
class Names:
    """A resolver: each name has one list of addresses after the other, the last one for good.

    Attributes:
        answers: The lists by name.
        asked: The names that were looked up.
    """

    answers: dict[str, list[Sequence[str]]]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:  # noqa: ARG002 - a resolver's interface
        self.asked.append(host)
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        answers = self.answers.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "canary-resolver")
        return answers.pop(0) if len(answers) > 1 else answers[0]


def taken(picture: Body) -> bytes:
    """Return a picture that was fetched, and give it up."""
    with contextlib.closing(picture):
        return picture.read_by(lambda content: content[:])


def fetch(*wanted: tuple[str, str], names: Resolve | None = None, **settings: Any) -> list[bytes]:
    """Fetch pictures with a fetcher of these settings."""

    async def session() -> list[bytes]:
        chosen = GatewaySettings(**settings)
        fetcher, bodies = Fetcher(chosen, resolve=names), Bodies(chosen)
        try:
            return [taken(picture) for picture in await fetcher.fetch(wanted, into=bodies)]
        finally:
            await fetcher.aclose()
            # Whatever became of the others, nothing of them is kept.
            assert (bodies.buffered, bodies.spooled) == (0, 0)

    return asyncio.run(session())


def refusal(url: str, *, names: Resolve | None = None, **settings: Any) -> APIError:
    """Return the error that fetching one picture ends with."""
    with pytest.raises(APIError) as caught:
        fetch(("image", url), names=names, **settings)
    error = caught.value
    assert (error.status, error.param) == (400, "image")
    assert error.message.startswith("image: ")
    assert error.message.endswith("; send the image inline, as an upload, base64 or a data URL.")
    # The tests' hosts put this word wherever an answer could leak from.
    assert "canary" not in error.message
    return error


def allowed(*hosts: PictureHost, name: str = "127.0.0.1") -> dict[str, Any]:
    """Return the settings that allow some hosts under a name, private as their address is."""
    return {"image_url_private_hosts": tuple(f"{name}:{one.port}" for one in hosts)}
