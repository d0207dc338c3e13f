"""Input pictures by URL that nothing may be fetched from, and names that lead out of where they belong."""

from collections.abc import Iterator

from hostile.exchanges import EDITS, Case, json_case

HTTP = (
    "http://127.0.0.1/a.png",
    "http://localhost/a.png",
    "http://LOCALHOST:80/a.png",
    "http://localhost./a.png",
    "http://[::1]/a.png",
    "http://[::ffff:127.0.0.1]/a.png",
    "http://[::]/a.png",
    "http://0.0.0.0/a.png",
    "http://0/a.png",
    "http://127.1/a.png",
    "http://2130706433/a.png",
    "http://0x7f000001/a.png",
    "http://0177.0.0.1/a",
    "http://127.0.0.1.:80/a.png",
    "http://10.0.0.1/a.png",
    "http://172.16.0.1/a.png",
    "http://192.168.1.1/a.png",
    "http://100.64.0.1/a.png",
    "http://169.254.169.254/latest/meta-data/iam",
    "http://[fd00:ec2::254]/latest/meta-data",
    "http://[fe80::1%25eth0]/a.png",
    "http://[fc00::1]/a.png",
    "http://[64:ff9b::7f00:1]/a.png",
    "http://224.0.0.1/a.png",
    "http://[2002:7f00:1::]/a.png",
    "http://255.255.255.255/a.png",
    "http://user:secret@127.0.0.1/a.png",
    "http:///a.png",
    "http://user@localhost@example.org/a.png",
    "http://127.0.0.1:22/a.png",
    "http://127.0.0.1:6443/api",
    "http://:80/a",
    "http://127.0.0.1:99999/a.png",
    "http://127.0.0.1:-1/a.png",
    "http://127.0.0.1:0/a.png",
    "http://127.0.0.1:http/a",
    "http://①②⑦.⓪.⓪.①/a.png",
    "http://127。0。0。1/a.png",
    "http://ⓛocalhost/a.png",
    "http://%31%32%37.0.0.1/a.png",
    "http://127.0.0.1%00.example.org/a.png",
    "http://127.0.0.1\\@example.org/a.png",
    "http://a b/c.png",
    "http://[::1/a",
    "http://127.0.0.1#@example.org/a.png",
    "http://127.0.0.1?@example.org/a.png",
    "http://-/a.png",
    "http://a..b/c.png",
    "http://" + "a" * 254 + "/a.png",
    "http://" + "a." * 200 + "b/c.png",
    "http://x/" + "a" * 9000,
    "https://127.0.0.1/a",
    "http://127.0.0.1/\r\nHost: example.org",
    "http://127.0.0.1/\0",
    "http://[v1.a]/a.png",
    "https://[::1]:10250/pods",
    "http://kubernetes.default.svc:443/api",
    "http://127.0.0.1:2379/v2/keys",
    "HTTP://127.0.0.1/A.PNG",
    "http:127.0.0.1/a",
    "http://169.254.169.254.:80/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[0:0:0:0:0:ffff:169.254.169.254]/",
    "http://xn--/",
)

OTHERS = (
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "FILE:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "ftp://127.0.0.1/a.png",
    "dict://127.0.0.1:11211/stats",
    "ldap://127.0.0.1/a",
    "tftp://127.0.0.1/a",
    "jar:http://a!/b",
    "s3://bucket/a.png",
    "gs://bucket/a.png",
    "unix:///var/run/docker.sock",
    "data:text/html,<script>",
    "blob:http://a/b",
    "javascript:alert(1)",
    "//169.254.169.254/a.png",
    "\\\\169.254.169.254\\a",
    "netdoc:///etc/passwd",
    "phar://a.phar",
    "http//127.0.0.1/a.png",
    "hxxp://127.0.0.1/a.png",
    "https:/127.0.0.1/a.png",
    "expect://id",
    "php://filter/resource=a",
)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for url in (*HTTP, *OTHERS):
        yield json_case(f"picture by {url[:60]!r}", {"prompt": "a", "image": url}, target=EDITS, param="image")
    for url in ("http://169.254.169.254/latest", "file:///etc/passwd", "http://[::1]/a.png"):
        inside = {"prompt": "a", "images": [{"image_url": {"url": url}}]}
        yield json_case(f"{url} inside an object", inside, target=EDITS, param="images")
        for name in ("ref_images", "mask", "control_image", "end_image", "input_reference"):
            yield json_case(f"{url} as {name}", {"prompt": "a", "image": "http://10.0.0.1/a", name: url}, target=EDITS)
        yield json_case(f"{url} for a clip", {"prompt": "a", "image": url}, target="/v1/videos", param="image")
        yield json_case(
            f"{url} for AUTOMATIC1111's clients",
            {"prompt": "a", "init_images": [url]},
            target="/sdapi/v1/img2img",
            param="init_images",
        )
