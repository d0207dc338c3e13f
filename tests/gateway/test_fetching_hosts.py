"""Which hosts and addresses may be fetched from, and how a URL is read."""

import pytest

from heliograph_gateway.fetching.addresses import Standing, standing
from heliograph_gateway.fetching.errors import RefusedError
from heliograph_gateway.fetching.hosts import allows, parse_rule, parse_target


@pytest.mark.parametrize(
    ("rule", "host", "port", "expected"),
    [
        ("example.org", "example.org", 443, True),
        ("example.org", "example.org", 80, True),
        ("example.org", "example.org", 8080, False),
        ("example.org", "www.example.org", 443, False),
        ("example.org", "notexample.org", 443, False),
        ("example.org", "example.org.evil.test", 443, False),
        ("example.org:8080", "example.org", 8080, True),
        ("example.org:8080", "example.org", 443, False),
        ("example.org:80", "example.org", 80, True),
        ("example.org:80", "example.org", 443, False),
        ("*.example.org", "a.example.org", 443, True),
        ("*.example.org", "a.b.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "notexample.org", 443, False),
        ("*.example.org:9000", "a.example.org", 9000, True),
        ("*", "whatever.test", 443, True),
        ("*", "whatever.test", 8080, False),
        ("*:8080", "whatever.test", 8080, True),
        ("EXAMPLE.org.", "example.org", 443, True),
        ("bücher.example", "xn--bcher-kva.example", 443, True),
        ("10.1.2.3", "10.1.2.3", 80, True),
        ("[fd00::0:1]:80", "fd00::1", 80, True),
        ("[fd00::1]", "fd00::1", 443, True),
        ("minio_1.team-a:9000", "minio_1.team-a", 9000, True),
    ],
)
def test_rules(rule: str, host: str, port: int, expected: bool) -> None:
    assert allows([parse_rule("other.test"), parse_rule(rule)], host, port) is expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "http://example.org", "example.org/", "example.org/a", "*example.org", "a.*.org", "**", "*.", "*.*",
        ":80", "example.org:", "example.org:x", "example.org:0", "example.org:99999", "user@example.org", "a b", "a..b",
        "-a.org", "0x7f.1", "127.1", "2130706433", "[::1", "::1", "fe80::1%eth0", "[fe80::1%25eth0]", "example.org?x",
        "example.org#x", "*:", "*.:80", "[example.org]",
    ],
)  # fmt: skip
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no host; write HOST, \*\.DOMAIN or \*"):
        parse_rule(text)


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("http://example.org/a.png", "example.org", 80, "example.org"),
        ("https://example.org", "example.org", 443, "example.org"),
        ("HTTPS://EXAMPLE.org:443/", "example.org", 443, "example.org"),
        ("http://example.org:8080/?a=b&c", "example.org", 8080, "example.org:8080"),
        ("https://example.org.:80/", "example.org", 80, "example.org:80"),
        ("http://bücher.example/ä", "xn--bcher-kva.example", 80, "xn--bcher-kva.example"),
        ("http://93.184.216.34/", "93.184.216.34", 80, "93.184.216.34"),
        ("http://[2606:2800:0:0::1]:81/", "2606:2800::1", 81, "[2606:2800::1]:81"),
        ("http://a_b.example/", "a_b.example", 80, "a_b.example"),
        ("http://127。0。0。1/", "127.0.0.1", 80, "127.0.0.1"),
    ],
)
def test_targets(url: str, host: str, port: int, authority: str) -> None:
    target = parse_target(url)
    assert (target.host, target.port, target.authority) == (host, port, authority)


@pytest.mark.parametrize(
    "url",
    [
        # Not HTTP.
        "", "example.org/a.png", "//example.org/a.png", "ftp://example.org/", "file:///etc/passwd", "gopher://example.org/",
        "data:image/png;base64,AAAA", "javascript:alert(1)", "unix:/var/run/docker.sock", "dict://127.0.0.1:11211/",
        "jar:http://example.org!/", "http:example.org", "http+unix://x/", "ws://example.org/",
        # User names, and what is made to look like one.
        "http://user@example.org/", "http://user:password@example.org/", "http://example.org@127.0.0.1/",
        "http://example.org\\@127.0.0.1/", "http://127.0.0.1\\@example.org/", "http://example.org:80@127.0.0.1/",
        "http://:@example.org/", "http://example.org%40@127.0.0.1/", "http:\\\\127.0.0.1\\",
        # IPv4 addresses as inet_aton reads them.
        "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://127.1/", "http://127.0.1/", "http://0177.0.0.1/",
        "http://017700000001/", "http://0/", "http://0x0/", "http://127.0.0.0x1/", "http://127.000.000.001/",
        "http://0x7F.0.0.0x1/", "http://169.254.43518/", "http://1.2.3.4.5/", "http://1.2.3.256/", "http://127.0.0.1./",
        "http://0xa9fea9fe/", "http://2852039166/", "http://025177524776/",
        # Hosts that are none.
        "http://", "http:///a.png", "http://a..b/", "http://.example.org/", "http://example.org../", "http://-a.example/",
        "http://a-.example/", "http://ex%61mple.org/", "http://example.org%00.evil.test/", "http://exa mple.org/",
        "http://[::1", "http://[::1]x/", "http://[fe80::1%25eth0]/", "http://[::g]/", "http://\u24d4xample.org/",
        "http://\uff11\uff12\uff17.0.0.1/", "http://ex\u200bample.org/", f"http://{'a' * 64}.example/",
        f"http://{'a.' * 130}example/", "http://*/", "http://exa<mple.org/", "http://a,b/", "http://\u2460\u2461.example/",
        # Ports.
        "http://example.org:0/", "http://example.org:65536/", "http://example.org:99999/", "http://example.org:-1/",
        "http://example.org:8O/", "http://example.org:80:80/",
        # Line breaks and the like.
        "http://example.org/\r\nHost: x", "http://example.org/\n", "http://example.org/\t", "http://example.org/\x00",
        "http://example.org/a b", " http://example.org/", "http://example.org/\x7f", "http://example.org/\u2028",
        "http://example.org\u00a0/",
    ],
)  # fmt: skip
def test_urls_that_are_refused_before_anything_is_looked_up(url: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_target(url)
    assert caught.value.reason == "invalid"


@pytest.mark.parametrize(
    ("expected", "addresses"),
    [
        ("public", ("93.184.216.34", "1.1.1.1", "172.15.0.1", "172.32.0.1", "192.167.1.1", "100.63.0.1")),
        ("public", ("100.128.0.1", "11.0.0.1", "9.255.255.255", "128.0.0.1", "223.255.255.254")),
        ("public", ("2606:2800:220:1::1", "2a00:1450:4001::1", "::ffff:1.1.1.1", "64:ff9b::101:101")),
        ("private", ("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1")),
        ("private", ("100.64.0.1", "::1", "fd12:3456::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:7f00:1")),
        ("private", ("64:ff9b::7f00:1", "64:ff9b::a00:1")),
        ("barred", ("0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0")),
        ("barred", ("169.254.169.254", "169.254.170.2", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe")),
        ("barred", ("fe80::1", "fe80::1%eth0")),
        ("barred", ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.0.1")),
        ("barred", ("224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1", "255.255.255.255", "240.0.0.1")),
        ("barred", ("192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "2001:db8::1", "3fff::1", "100::1")),
        ("barred", ("192.88.99.1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2001::1", "2001:0:7f00:1::", "2001:10::1")),
        ("barred", ("::127.0.0.1", "::1.1.1.1", "64:ff9b:1::1", "fec0::1", "5f00::1", "4000::1", "::2")),
    ],
)  # fmt: skip
def test_addresses(expected: Standing, addresses: tuple[str, ...]) -> None:
    assert {address: standing(address) for address in addresses} == dict.fromkeys(addresses, expected)
