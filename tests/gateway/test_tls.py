"""HTTPS, with certificates that change while it is served."""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pydantic import ValidationError

from cluster.certificates import Authority
from cluster.waiting import eventually
from gateway.manifests import image_model
from heliograph.serve.gateway import make_gateway
from heliograph_gateway.database import StateError
from heliograph_gateway.handshakes import listen
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.tls import open_tls

NewLoop = Callable[[], asyncio.AbstractEventLoop]
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextlib.contextmanager
def serving(settings: GatewaySettings, *, new_loop: NewLoop | None = None) -> Iterator[int]:
    """Serve a gateway as `heliograph serve` does, in an event loop that `new_loop` makes; the value is its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    table = RoutingTable()
    table.set_model(image_model("tiny", ""))
    stop: list[Any] = []

    async def main() -> None:
        gateway = await make_gateway(table, settings)
        stop.append(gateway)
        await gateway.serve(sockets=[listener])

    def run() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        eventually(lambda: stop and stop[0].started, what="start")
        yield listener.getsockname()[1]
    finally:
        stop[0].should_exit = True
        thread.join(30)
    assert not thread.is_alive()


def settings_of(folder: Path, *, certificate: Path, key: Path, **settings: Any) -> GatewaySettings:
    """Return settings with copies of the files, which can be replaced."""
    shutil.copy(certificate, folder / "tls.crt")
    shutil.copy(key, folder / "tls.key")
    return GatewaySettings(
        data_dir=folder / "data",
        tls_cert_file=folder / "tls.crt",
        tls_key_file=folder / "tls.key",
        api_key="key",
        **settings,
    )


def serial(port: int, authority: Authority, **limits: Any) -> int:
    """Return the serial number of the certificate that is served, once it was checked."""
    context = ssl.create_default_context(cafile=authority.certificate)
    for name, value in limits.items():
        setattr(context, name, value)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as wrapped,
    ):
        return x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True) or b"").serial_number


def test_openai_s_client_is_served_over_https(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue_server("first", hosts=["127.0.0.1"])
    with serving(settings_of(tmp_path, certificate=certificate, key=key)) as port:
        trusting = httpx2.Client(verify=ssl.create_default_context(cafile=authority.certificate), trust_env=False)
        with openai.OpenAI(base_url=f"https://127.0.0.1:{port}/v1", api_key="key", http_client=trusting) as client:
            assert [model.id for model in client.models.list()] == ["tiny"]
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert serial(port, authority, minimum_version=version, maximum_version=version)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)


def is_cut(connection: socket.socket) -> bool:
    connection.settimeout(30)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@LOOPS
def test_a_handshake_takes_no_longer_than_a_head(tmp_path: Path, authority: Authority, new_loop: NewLoop) -> None:
    certificate, key = authority.issue_server("silent", hosts=["127.0.0.1"])
    settings = settings_of(tmp_path, certificate=certificate, key=key, header_seconds=1)
    with serving(settings, new_loop=new_loop) as port, contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        half = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert is_cut(silent)
        assert is_cut(half)
        assert serial(port, authority)


@LOOPS
def test_handshakes_count_as_connections(tmp_path: Path, authority: Authority, new_loop: NewLoop) -> None:
    certificate, key = authority.issue_server("many", hosts=["127.0.0.1"])
    settings = settings_of(tmp_path, certificate=certificate, key=key, header_seconds=300, max_connections=4)
    with serving(settings, new_loop=new_loop) as port, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(6)]
        # The oldest make room, as idle connections do.
        assert all(is_cut(connection) for connection in silent[:2])
        assert serial(port, authority)
        assert is_cut(silent[2])
        for connection in silent[3:]:
            connection.settimeout(0.2)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        with httpx.Client(verify=ssl.create_default_context(cafile=authority.certificate), trust_env=False) as client:
            assert client.get(f"https://127.0.0.1:{port}/healthz").status_code == 200


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Take families of addresses from this machine: a socket for one of them fails with the given number."""
    create_server = socket.create_server

    def take(*families: socket.AddressFamily, number: int = errno.EAFNOSUPPORT) -> None:
        def create(address: tuple[str, int], *, family: socket.AddressFamily, backlog: int) -> socket.socket:
            if family in families:
                raise OSError(number, os.strerror(number))
            return create_server(address, family=family, backlog=backlog)

        monkeypatch.setattr(socket, "create_server", create)

    return take


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_families_that_a_machine_lacks_are_left_out(lacking: Callable[..., None], number: int) -> None:
    lacking(socket.AF_INET6, number=number)
    (listener,) = listen("", 0, backlog=1)
    with listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_a_machine_that_has_none_of_the_addresses_is_told(lacking: Callable[..., None]) -> None:
    lacking(socket.AF_INET, socket.AF_INET6)
    with pytest.raises(OSError, match=r"cannot listen on 0\.0\.0\.0, ::; name an address that it has") as caught:
        listen("", 0, backlog=1)
    assert caught.value.strerror, "the log has it"


def test_an_address_that_is_in_use_is_named(lacking: Callable[..., None]) -> None:
    lacking(socket.AF_INET6, number=errno.EADDRINUSE)
    with pytest.raises(OSError, match="in use"):
        listen("", 0, backlog=1)
    with socket.create_server(("127.0.0.1", 0), family=socket.AF_INET, backlog=1) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"in use .*'127\.0\.0\.1', {port}") as caught:
            listen("127.0.0.1", port, backlog=1)
    assert caught.value.errno == errno.EADDRINUSE


def test_older_versions_are_refused(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue_server("old", hosts=["127.0.0.1"])
    tls = open_tls(settings_of(tmp_path, certificate=certificate, key=key))
    assert tls is not None
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_new_certificate_is_taken_up_and_a_broken_one_is_not(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (authority.issue_server(name, hosts=["127.0.0.1"]) for name in ("a", "b"))
    serials = [x509.load_pem_x509_certificate(path.read_bytes()).serial_number for path, _ in (first, second)]
    with serving(settings_of(tmp_path, certificate=first[0], key=first[1])) as port:
        assert serial(port, authority) == serials[0]
        shutil.copy(second[0], tmp_path / "tls.crt")
        eventually(lambda: "is not the key of" in caplog.text, what="log of the pair that does not fit")
        assert serial(port, authority) == serials[0]
        with caplog.at_level(logging.INFO):
            shutil.copy(second[1], tmp_path / "tls.key")
            eventually(lambda: serial(port, authority) == serials[1], what="second certificate", timeout=5.0)
        (tmp_path / "tls.key").unlink()
        eventually(lambda: "tls_key_file" in caplog.text.partition("a new certificate")[2], what="log of the lost key")
        assert serial(port, authority) == serials[1]


def test_handshakes_never_see_a_certificate_that_is_being_read(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (authority.issue_server(name, hosts=["127.0.0.1"]) for name in ("e", "f"))
    tls = open_tls(settings_of(tmp_path, certificate=first[0], key=first[1]))
    assert tls
    shown = tls.context
    load = ssl.SSLContext.load_cert_chain
    into: list[ssl.SSLContext] = []

    def read(context: ssl.SSLContext, *arguments: Any, **options: Any) -> None:
        into.append(context)
        load(context, *arguments, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", read)
    monkeypatch.setattr("heliograph_gateway.tls._POLL_SECONDS", 0.01)
    for source, name in zip(second, ("tls.crt", "tls.key"), strict=True):
        shutil.copy(source, tmp_path / name)

    async def scenario() -> None:
        watching = asyncio.create_task(tls.watch())
        await asyncio.to_thread(eventually, lambda: "a new certificate is served" in caplog.text, what="log")
        watching.cancel()

    with caplog.at_level(logging.INFO, "heliograph_gateway.tls"):
        asyncio.run(scenario())
    assert into == [tls.context], "one context, of which one pair was read"
    assert tls.context is not shown


def test_what_cannot_be_served_is_named(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue_server("c", hosts=["127.0.0.1"])
    _, other = authority.issue_server("d", hosts=["127.0.0.1"])
    settings = settings_of(tmp_path, certificate=certificate, key=other)

    def problem() -> str:
        with pytest.raises(StateError) as caught:
            open_tls(settings)
        return str(caught.value)

    crt, secret = tmp_path / "tls.crt", tmp_path / "tls.key"
    assert problem() == f"tls_key_file: {secret} is not the key of {crt}; name the one that it was made with"
    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    form = serialization.PrivateFormat.PKCS8
    locked = serialization.BestAvailableEncryption(b"password")
    secret.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, locked))
    assert problem() == f"tls_key_file: {secret} asks for a password; name a key without one"
    secret.write_text("no key")
    assert problem() == f"tls_cert_file: {crt} with tls_key_file: {secret} cannot be used; both must be in PEM"
    crt.unlink()
    assert problem() == f"tls_cert_file: {crt} cannot be read: No such file or directory; name a file in PEM"


def test_both_files_are_named_or_neither(tmp_path: Path) -> None:
    assert open_tls(GatewaySettings(data_dir=tmp_path)) is None
    for name in ("tls_cert_file", "tls_key_file"):
        given: dict[str, Any] = {name: tmp_path / "file"}
        with pytest.raises(ValidationError, match=r"tls_key_file\n.*goes together with tls_cert_file"):
            GatewaySettings(**given)
