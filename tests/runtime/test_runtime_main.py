"""The runtime's process, as far as it is not seen from outside."""

import socket
from contextlib import closing

import pytest

from heliograph_runtime.main import _listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_no_answer_waits_for_an_acknowledgement(host: str) -> None:
    with closing(_listen(host, 0)) as listener, closing(socket.create_connection(listener.getsockname()[:2])):
        accepted, _ = listener.accept()
        with closing(accepted):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
