"""URLs that lead to where nothing may be fetched from, in every spelling that one reader or another understands."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hostile.url_cases import HTTP, OTHERS

PUBLIC = "93.184.216.34"
META = "169.254.169.254"
INSIDE = "10.96.0.1"
NAMES: Mapping[str, Mapping[str, Sequence[Sequence[str]]]] = {
    "pictures.test": {"A": [[PUBLIC]]},
    "other.test": {"A": [["1.1.1.1"]], "AAAA": [["2606:4700::1111"]]},
    # Public at first.
    "rebinding.test": {"A": [[PUBLIC], [META]]},
    "rebinding-inside.test": {"A": [[PUBLIC], [INSIDE]]},
    "rebinding-redirect.test": {"A": [[PUBLIC], [META]]},
    "flapping.test": {"A": [[PUBLIC], [META], [PUBLIC], [INSIDE]] * 10 + [["127.0.0.1"]]},
    # One address of several.
    "mixed.test": {"A": [[PUBLIC, META]]},
    "mixed-last.test": {"A": [[INSIDE, PUBLIC]]},
    "mixed-kinds.test": {"A": [[PUBLIC]], "AAAA": [["fd00:ec2::254"]]},
    "mapped.test": {"AAAA": [[f"::ffff:{META}"]]},
    "nat64.test": {"AAAA": [["64:ff9b::a9fe:a9fe"]]},
    "sixtofour.test": {"AAAA": [["2002:a9fe:a9fe::1"]]},
    "local.test": {"A": [["127.0.0.1"]], "AAAA": [["::1"]]},
    "nobody.test": {"A": [["0.0.0.0"]], "AAAA": [["::"]]},
    f"{META}.nip.test": {"A": [[META]]},
    "10-96-0-1.nip.test": {"A": [[INSIDE]]},
    # What a cloud's and a cluster's name servers know.
    **{name: {"A": [[META]]} for name in ("metadata.google.internal", "metadata", "metadata.goog", "instance-data")},
    **{name: {"A": [[META]]} for name in ("instance-data.ec2.internal", "metadata.azure.internal")},
    **{
        f"{name}.svc.cluster.local": {"A": [[INSIDE]]}
        for name in ("kubernetes.default", "tiny.default", "etcd.kube-system", "kube-dns.kube-system")
    },
}
"""What the name server tells; of a list of lists one after the other."""

SPELLINGS = (
    # IPv4 as inet_aton reads it.
    "2852039166",
    "0xa9fea9fe",
    "0xA9FEA9FE",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "025177524776",
    "0251.254.169.254",
    "0xa9.254.169.254",
    "169.254.43518",
    "169.16689662",
    "0251.00376.000251.0000376",
    "169.0xfea9fe",
    "0x0a600001",
    "174063617",
    "012.0140.0.1",
    "10.6291457",
    "10.96.1",
    "192.168.257",
    "0300.0250.0.1",
    "3232235521",
    "0x7f.0.0.1",
    "0x7f.1",
    "017700000001",
    "127.0.1",
    "127.127.127.127",
    "127.0.0.0",
    "00.0.0.0",
    "0x0",
    "425.510.425.510",
    "169.254.169.254.",
    "169.254.169.254..",
    ".169.254.169.254",
    "4294967296",
    "169.254.169.0376",
    # Ranges.
    "169.254.170.2",
    "169.254.169.253",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "10.255.255.255",
    "172.31.0.1",
    "192.168.0.1",
    "100.127.255.254",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.251",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "0.1.2.3",
    INSIDE,
    # IPv4 in IPv6, and IPv6.
    "[::ffff:a9fe:a9fe]",
    "[::ffff:10.96.0.1]",
    "[0:0:0:0:0:FFFF:A9FE:A9FE]",
    "[::ffff:0:169.254.169.254]",
    "[::169.254.169.254]",
    "[::a9fe:a9fe]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b::a60:1]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[2002:0a60:0001::1]",
    "[2001:0:a9fe:a9fe::1]",
    "[2001::1]",
    "[fec0::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "[fd00:0ec2:0:0:0:0:0:0254]",
    "[fd20:ce::254]",
    "[fc00::1]",
    "[fdff::1]",
    "[fe80::1]",
    "[fe80::a9fe:a9fe%25eth0]",
    "[ff02::1]",
    "[ff0e::1]",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::1%25lo]",
    "[169.254.169.254]",
    "[::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    # Letters that some readers take for others.
    "\uff11\uff16\uff19.254.169.254",
    "169\u3002254\u3002169\u3002254",
    "169\uff0e254\uff0e169\uff0e254",
    "\u2460\u2465\u2468.254.169.254",
    "169.254.169.254\u200b",
    "\u0661\u0666\u0669.254.169.254",
    "loc\u0430lhost",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "%31%36%39.254.169.254",
    "169%2E254%2E169%2E254",
    "169.254.169.254%00",
    "169.254.169.254%2f",
    "169.254.169.254%23",
    "%5B::1%5D",
    "169.254.169.254%20",
    # Users, and what is made to look like one.
    f"user:secret@{META}",
    f"pictures.test@{META}",
    f"pictures.test:80@{META}",
    f"pictures.test%40{META}",
    f"@{META}",
    f":@{META}",
    f"{META}#@pictures.test",
    f"{META}?@pictures.test",
    f"{META}\\@pictures.test",
    f"pictures.test\\@{META}",
    f"pictures.test\\.{META}",
    f"{META};@pictures.test",
    f"pictures.test&@{META}#@pictures.test",
    f"{META}\t@pictures.test",
    f"pictures.test\n@{META}",
    f"a@b@{META}",
    # Ports.
    f"{META}:80",
    f"{META}:0080",
    f"{META}:65616",
    f"{META}:+80",
    f"{META}:8080",
    f"{META}:22",
    f"{META}:80:80",
    f"{META}: 80",
    f"{META}:\uff18\uff10",
    f"{INSIDE}:6443",
    f"{INSIDE}:10250",
    f"{INSIDE}:2379",
    "[::1]:8080",
    f"{META}:",
)
"""Authorities of URLs that no name server is asked for."""

HOSTNAMES = (
    "localhost",
    "LocalHost",
    "localhost.",
    "localhost:8080",
    "localhost.localdomain",
    "ip6-localhost",
    "ip6-loopback",
    "local.test",
    "nobody.test",
    "metadata.google.internal",
    "METADATA.google.internal.",
    "metadata",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
    f"{META}.nip.test",
    "10-96-0-1.nip.test",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "kubernetes.default.svc.cluster.local.",
    "kubernetes.default.svc:6443",
    "tiny:8080",
    "tiny.default:8080",
    "etcd.kube-system.svc:2379",
    "kube-dns.kube-system.svc",
    "mixed.test",
    "mixed-last.test",
    "mixed-kinds.test",
    "mapped.test",
    "nat64.test",
    "sixtofour.test",
    "unknown.test",
)
"""Authorities of URLs that one is asked for."""

SCHEMES = (
    f"hTTp://{META}/",
    f"http:/{META}/",
    f"http:///{META}/",
    f"http:{META}/",
    f"http:\\\\{META}/",
    f"http:/\\{META}/",
    f"https://{META}/",
    f"//{META}/",
    f"///{META}/",
    f" http://{META}/",
    f"http://{META}",
    f"url:http://{META}/",
    f"http+unix://{META}/",
    f"ws://{META}/",
    f"ftp://{META}/",
    f"gopher://{META}:6379/_INFO",
    f"sftp://{META}/",
    f"http;//{META}/",
)

NAMELESS = tuple(dict.fromkeys((*HTTP, *OTHERS, *SCHEMES, *(f"http://{text}/latest/meta-data" for text in SPELLINGS))))
"""Every URL that no name server is asked for, but for a few."""
NAMED = tuple(f"http://{text}/latest/meta-data" for text in HOSTNAMES)
"""Every URL of a name."""

PLACES = (f"http://{META}/", f"http://{INSIDE}/", "http://localhost:8080/", "http://[::ffff:a9fe:a9fe]/")
"""One URL of each kind, where every URL would be too many."""


def at_port(port: int) -> Iterator[str]:
    """Yield the spellings that name no port, at one."""
    for text in SPELLINGS:
        if re.fullmatch(r"\[.*\]|[^:]*", text):
            yield f"http://{text}:{port}/latest/meta-data"


def locations(urls: Iterable[str]) -> Iterator[str]:
    """Yield the URLs that fit a header."""
    for url in urls:
        if len(url) < 1000 and all(ord(letter) < 256 for letter in url) and not set(url) & set("\r\n\0"):
            yield url
