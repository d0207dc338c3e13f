"""The address that `heliograph serve` listens on."""

import socket
from contextlib import closing

import pytest

from heliograph.serve.listener import ListenError, free_port, open_listener, url


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.8.8"])
def test_loopback_needs_no_key(host: str) -> None:
    with closing(open_listener(host, 0, has_key=False)) as listener:
        address, port = listener.getsockname()[:2]
        assert address.startswith("127.") or address == "::1"
        with socket.create_connection((address, port), timeout=5):
            pass


def test_no_answer_waits_for_an_acknowledgement() -> None:
    with (
        closing(open_listener("127.0.0.1", 0, has_key=False)) as listener,
        closing(socket.create_connection(listener.getsockname())),
    ):
        accepted, _ = listener.accept()
        with closing(accepted):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_addresses_need_a_key(host: str) -> None:
    with pytest.raises(ListenError) as error:
        open_listener(host, 0, has_key=False)

    assert str(error.value).startswith(f"--host: on {host} others could reach the models without a key")
    assert "HELIOGRAPH_API_KEY" in str(error.value)
    assert "127.0.0.1" in str(error.value)


def test_a_key_opens_other_addresses_and_the_url_is_one_that_this_machine_reaches() -> None:
    with closing(open_listener("0.0.0.0", 0, has_key=True)) as listener:
        assert url(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=rf"^--port: {port} on 127\.0\.0\.1 is in use; .* choose another port$"):
            open_listener("127.0.0.1", port, has_key=False)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a" * 70 + ".example"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ListenError, match=r"^--host: .* is no address of this machine; 127\.0\.0\.1 is the usual one$"):
        open_listener(host, 0, has_key=True)


def test_a_free_port_can_be_listened_on() -> None:
    with closing(open_listener("127.0.0.1", free_port(), has_key=False)):
        pass
