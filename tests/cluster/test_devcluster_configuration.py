"""What the development cluster's programs are told: their configuration, certificates, command lines and manifests."""

import json
import os
import ssl
import string
import tomllib
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from cryptography import x509

from cluster import programs
from cluster.addresses import free_port
from cluster.binaries import NODE_PROGRAMS, PROGRAMS
from cluster.control_plane import ControlPlane
from cluster.leash import Leash
from devcluster import configuration, credentials
from devcluster.installation import claim_and_pod
from devcluster.layout import DNS_ADDRESS, NODE_ADDRESS, Layout
from devcluster.node_programs import PORTS, Command, containerd_command, control_plane_commands, node_commands

FOLDER = Path(__file__).resolve().parents[2] / "scripts" / "devcluster"
MANIFESTS = sorted((FOLDER / "manifests").glob("*.yaml"))
VALUES = {
    "COREDNS": "example/coredns:1",
    "PROVISIONER": "example/provisioner:1",
    "BUSYBOX": "example/busybox:1",
    "DNS_ADDRESS": DNS_ADDRESS,
    "DNS_DOMAIN": "cluster.local",
    "FORWARD": "forward . /etc/resolv.conf",
    "RESOLVER": "nameserver 192.0.2.53",
    "VOLUMES": "/volumes",
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / 'cache "quoted"', run=tmp_path / "run")


def test_containerd_keeps_everything_in_the_clusters_folders(layout: Layout) -> None:
    text = configuration.containerd_config(layout, pause="example/pause:1", plugins=Path("/usr/lib/cni"))
    config = tomllib.loads(text)
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert config["version"] == 2
    assert config["root"] == str(layout.root / "containerd"), "quotes are escaped"
    assert config["state"].startswith(str(layout.run))
    assert config["grpc"]["address"] == str(layout.socket)
    assert cri["sandbox_image"] == "example/pause:1"
    assert cri["restrict_oom_score_adj"] is True
    assert cri["netns_mounts_under_state_dir"] is True
    assert cri["cni"] == {"bin_dir": "/usr/lib/cni", "conf_dir": str(layout.config / "networks")}


def test_pods_are_routed_and_their_addresses_are_kept_with_the_cluster(layout: Layout) -> None:
    network = configuration.network_config(layout, mtu=1400)
    first, *others = network["plugins"]
    assert (first["type"], first["mtu"], first["ipMasq"]) == ("ptp", 1400, True)
    assert first["ipam"]["type"] == "host-local"
    assert first["ipam"]["dataDir"] == str(layout.addresses)
    assert [plugin["type"] for plugin in others] == ["portmap", "firewall"]


def test_the_kubelet_is_open_to_nobody_but_the_api_server(layout: Layout) -> None:
    config = configuration.kubelet_config(layout, resolv_conf=layout.config / "resolv.conf")
    assert config["address"] == NODE_ADDRESS
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"] == {"mode": "Webhook"}
    assert "readOnlyPort" not in config, "which is off by default"
    assert config["clusterDNS"] == [DNS_ADDRESS]
    assert config["imageGCHighThresholdPercent"] == 100
    assert config["containerRuntimeEndpoint"] == f"unix://{layout.socket}"


def test_kube_proxy_publishes_nothing_to_other_machines(layout: Layout) -> None:
    config = configuration.proxy_config(layout)
    assert config["nodePortAddresses"] == ["primary"]
    assert all(config[key].startswith("127.0.0.1:") for key in ("healthzBindAddress", "metricsBindAddress"))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["nameserver 192.0.2.53\nsearch example.org\n"], "nameserver 192.0.2.53\n"),
        (["nameserver 192.0.2.1\n", "nameserver 127.0.0.53\n"], "nameserver 192.0.2.1\n"),
        (["nameserver 127.0.0.53\n", "nameserver 192.0.2.2\n"], "nameserver 192.0.2.2\n"),
        (["nameserver 127.0.0.1\nnameserver ::1\nnameserver 2001:db8::53\n"], "nameserver 2001:db8::53\n"),
        (["nameserver 127.0.0.53\n"], ""),
        ([], ""),
    ],
)
def test_pods_get_name_servers_that_they_can_reach(texts: list[str], expected: str) -> None:
    assert configuration.resolver_config(texts) == expected


def test_certificates_are_made_once_and_etcd_trusts_an_authority_of_its_own(layout: Layout) -> None:
    layout.config.mkdir(parents=True)
    credentials.make_certificates(layout)
    before = {path: path.read_bytes() for path in layout.pki.rglob("*") if path.is_file()}
    credentials.make_certificates(layout)
    assert {path: path.read_bytes() for path in layout.pki.rglob("*") if path.is_file()} == before
    assert not list(layout.pki.rglob("ca.key")), "an authority's key is kept nowhere"
    assert all(path.stat().st_mode & 0o077 == 0 for path in layout.pki.rglob("*.key"))

    served = x509.load_pem_x509_certificate(layout.pair("kube-apiserver")[0].read_bytes())
    names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {NODE_ADDRESS, "10.96.0.1"} <= addresses
    node = x509.load_pem_x509_certificate(layout.pair("node")[0].read_bytes())
    etcd = x509.load_pem_x509_certificate(layout.pair("etcd/client")[0].read_bytes())
    peer = x509.load_pem_x509_certificate(layout.pair("etcd/peer")[0].read_bytes())
    assert node.subject.rfc4514_string() == "CN=system:node:devcluster,O=system:nodes"
    assert etcd.issuer == peer.issuer != node.issuer


def commands(layout: Layout) -> dict[str, Command]:
    binaries = {name: Path("/programs") / name for name in (*PROGRAMS, *NODE_PROGRAMS)}
    found = [containerd_command(layout), *control_plane_commands(layout, binaries), *node_commands(layout, binaries)]
    return {command.name: command for command in found}


def test_programs_listen_where_no_other_machine_reaches_them(layout: Layout) -> None:
    found = commands(layout)
    assert list(found) == [
        "containerd",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
    ]
    apiserver = found["kube-apiserver"].arguments
    assert f"--bind-address={NODE_ADDRESS}" in apiserver
    assert f"--advertise-address={NODE_ADDRESS}" in apiserver
    assert "--client-cert-auth" in found["etcd"].arguments
    assert all("--bind-address=127.0.0.1" in found[name].arguments for name in list(found)[3:5])
    assert set(PORTS.values()) == {NODE_ADDRESS, "127.0.0.1"}


def test_etcd_answers_nobody_without_a_certificate_of_its_authority(
    layout: Layout, binaries: dict[str, Path], tmp_path: Path
) -> None:
    """Neither where clients ask, of which the API server is the only one, nor where peers would."""
    layout.config.mkdir(parents=True)
    credentials.make_certificates(layout)
    files = credentials.files(layout).etcd
    assert files
    port = free_port()
    flags = programs.etcd_flags(data=tmp_path / "etcd", port=port, files=files)
    with Leash([binaries["etcd"], *flags], log=tmp_path / "etcd.log", env={"PATH": os.defpath}, grace=0) as etcd:
        clients = trusting(files.ca, layout.pair("etcd/client"))
        health = f"https://{programs.HOST}:{port}/health"
        etcd.wait_until(lambda: answers(health, clients))
        assert not answers(health, trusting(files.ca))

        listening = psutil.Process(etcd.pid).net_connections(kind="tcp4")
        (peers,) = {found.laddr.port for found in listening if found.status == psutil.CONN_LISTEN} - {port}
        members = f"https://{programs.HOST}:{peers}/members"
        assert answers(members, trusting(files.ca, layout.pair("etcd/peer")))
        assert not answers(members, trusting(files.ca))
        assert not answers(members, trusting(files.ca, layout.pair("admin"))), "of another authority"
        assert not answers(members.replace("https", "http"), trusting(files.ca))


def trusting(ca: Path, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    if pair:
        context.load_cert_chain(*pair)
    return context


def answers(url: str, context: ssl.SSLContext) -> bool:
    try:
        return httpx.get(url, verify=context, trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_a_program_is_another_one_when_its_configuration_changes(layout: Layout) -> None:
    layout.config.mkdir(parents=True)
    for name in ("kubelet.json", "kube-proxy.json", "containerd.toml"):
        (layout.config / name).write_text("{}")
    before = {name: command.fingerprint for name, command in commands(layout).items()}
    assert {name: command.fingerprint for name, command in commands(layout).items()} == before
    (layout.config / "kubelet.json").write_text('{"maxPods": 5}')
    after = {name: command.fingerprint for name, command in commands(layout).items()}
    assert {name for name in before if before[name] != after[name]} == {"kubelet"}


def documents(manifest: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(string.Template(manifest.read_text()).substitute(VALUES)))


def pod_specs(manifest: Path) -> list[dict[str, Any]]:
    found = [
        document["spec"]["template"]["spec"] for document in documents(manifest) if document["kind"] == "Deployment"
    ]
    maps = [document["data"] for document in documents(manifest) if document["kind"] == "ConfigMap"]
    helpers = [yaml.safe_load(data["helperPod.yaml"])["spec"] for data in maps if "helperPod.yaml" in data]
    return [*found, *helpers]


def pod_that_fills_the_claim() -> dict[str, Any]:
    (spec,) = [
        item["spec"] for item in claim_and_pod("busybox:1", namespace="heliograph")["items"] if item["kind"] == "Pod"
    ]
    assert [container["image"] for container in spec["containers"]] == ["busybox:1"]
    return dict(spec)


def test_pods_run_imported_images_with_least_rights() -> None:
    specs = [spec for manifest in MANIFESTS for spec in pod_specs(manifest)]
    assert len(specs) > 2
    for spec in [*specs, pod_that_fills_the_claim()]:
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["imagePullPolicy"] == "Never"
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"]["drop"] == ["ALL"]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_the_api_server_takes_the_manifests(cluster: ControlPlane, manifest: Path) -> None:
    text = string.Template(manifest.read_text()).substitute(VALUES)
    said = cluster.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", input=text)
    assert said.stdout.count("serverside-applied") == len(documents(manifest))
    assert "Warning" not in said.stderr


def test_one_storage_class_is_the_default_and_waits_for_the_pod() -> None:
    classes = [item for path in MANIFESTS for item in documents(path) if item["kind"] == "StorageClass"]
    (storage,) = classes
    assert storage["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
    assert storage["volumeBindingMode"] == "WaitForFirstConsumer"


def test_the_provisioner_keeps_volumes_in_the_clusters_folder() -> None:
    maps = [item for item in documents(FOLDER / "manifests" / "local-path.yaml") if item["kind"] == "ConfigMap"]
    (data,) = [item["data"] for item in maps]
    assert json.loads(data["config.json"])["nodePathMap"][0]["paths"] == ["/volumes"]
    assert data["setup"] == '#!/bin/sh\nmkdir -m 0777 -p "$VOL_DIR"\n'
