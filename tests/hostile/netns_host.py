"""A host in a network namespace: serves HTTP, answers DNS, and tells each packet that reaches it. A program.

It takes one argument, a JSON object, and prints a JSON object on a line for each packet; `ready` comes first. Only the
standard library is imported, so that it starts fast.
"""

import http.server
import ipaddress
import json
import socket
import struct
import sys
import threading
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)
SECRET = b"canary-of-the-sink"

_TYPES = {1: (4, socket.AF_INET), 28: (16, socket.AF_INET6)}
_ALL_PACKETS = 3
_TCP, _UDP = 6, 17


class _Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 256


class _Sink(http.server.BaseHTTPRequestHandler):
    """Answers everything with a picture that holds a secret, and tells of it."""

    def do_GET(self) -> None:
        print(json.dumps({"read": self.path}), flush=True)  # noqa: T201 - what it is for
        self._answer(200, PNG + SECRET)

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args: object) -> None:
        """Keep quiet."""


class _Public(_Sink):
    """Answers with a picture, or with the redirect that the path asks for: /redirect/STATUS/LOCATION in hexadecimal."""

    def do_GET(self) -> None:
        _, kind, *rest = self.path.split("/")
        if kind == "redirect":
            self._answer(int(rest[0]), SECRET, Location=bytes.fromhex(rest[1]).decode("latin-1"))
        else:
            self._answer(200 if kind.endswith(".png") else 404, PNG)


def serve(port: int, handler: type[_Sink]) -> None:
    """Serve HTTP on every address, those that only a route makes this host's too."""
    threading.Thread(target=_Server(("::", port), handler).serve_forever, daemon=True).start()


def answer_names(names: dict[str, dict[str, list[list[str]]]]) -> None:
    """Answer DNS: for each name and type one list of addresses after the other, the last one for good."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO: the answer goes out from the address that was asked
    server.bind(("", 53))

    def work() -> None:
        while True:
            query, extra, _, client = server.recvmsg(1500, 256)
            server.sendmsg([_answer_to(query, names)], _from_same(extra), 0, client)

    threading.Thread(target=work, daemon=True).start()


def _from_same(extra: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    # in_pktinfo: interface, the address to answer from, the one that was asked.
    _, _, asked = struct.unpack("I4s4s", extra[0][2][:12])
    return [(socket.IPPROTO_IP, 8, struct.pack("I4s4s", 0, asked, bytes(4)))]


def _answer_to(query: bytes, names: dict[str, dict[str, list[list[str]]]]) -> bytes:
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
        at += 1 + query[at]
    question = query[12 : at + 5]
    (kind,) = struct.unpack(">H", query[at + 1 : at + 3])
    known = names.get(".".join(labels).lower())
    lists = (known or {}).get({1: "A", 28: "AAAA"}.get(kind, ""), [[]])
    found = lists.pop(0) if len(lists) > 1 else lists[0]
    records = b"".join(
        struct.pack(">HHHIH", 0xC00C, kind, 1, 0, _TYPES[kind][0]) + socket.inet_pton(_TYPES[kind][1], address)
        for address in found
    )
    code = 0x8580 if known is not None else 0x8583
    return query[:2] + struct.pack(">HHHHH", code, 1, len(found), 0, 0) + question + records


def sniff(interface: str, *, only_connections: bool) -> None:
    """Print what comes in at an interface: the beginnings of TCP connections, and any other packet unless told."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PACKETS))
    packets.bind((interface, _ALL_PACKETS))

    def work() -> None:
        while True:
            data, source = packets.recvfrom(65_536)
            told = None if source[2] == socket.PACKET_OUTGOING else _told(data, only_connections=only_connections)
            if told:
                print(json.dumps(told), flush=True)  # noqa: T201 - what it is for

    threading.Thread(target=work, daemon=True).start()


def _told(data: bytes, *, only_connections: bool) -> dict[str, Any] | None:
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        protocol, target, rest = data[9], data[16:20], data[(data[0] & 15) * 4 :]
    elif version == 6 and len(data) >= 40:
        protocol, target, rest = data[6], data[24:40], data[40:]
    else:
        return None
    if protocol == _TCP and len(rest) >= 14:
        begins = rest[13] & 0x12 == 2
        port = int.from_bytes(rest[2:4], "big")
        return {"to": str(ipaddress.ip_address(target)), "port": port} if begins else None
    if protocol == _UDP and not only_connections:
        return {"to": str(ipaddress.ip_address(target)), "port": int.from_bytes(rest[2:4], "big")}
    return None


def run(wanted: dict[str, Any]) -> None:
    """Do what is wanted until standard input ends."""
    for port in wanted.get("sink", ()):
        serve(port, _Sink)
    for port in wanted.get("public", ()):
        serve(port, _Public)
    if "names" in wanted:
        answer_names(wanted["names"])
    for interface in wanted.get("sniff", ()):
        sniff(interface, only_connections=interface == "lo")
    print("ready", flush=True)  # noqa: T201 - who started it waits for this
    threading.Event().wait()


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
