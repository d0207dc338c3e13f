"""Sets of values that the charts are rendered with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

CHARTS = Path(__file__).resolve().parents[2] / "charts"
SHARED = (
    *("--set", "gateway.database.urlSecret.name=database,gateway.signingKeySecret.name=links"),
    *("--set", "gateway.files.url=s3://pictures/kept,gateway.files.secretRef=bucket"),
)
"""What several gateways take."""

VARIANTS = {
    "default": (),
    "clusterWide": ("--set", "clusterWide=true"),
    "namespaces": ("--set", "namespaces={default,kube-public}", "--set", "operator.replicas=2"),
    "gpu": ("--set", "runtime.gpuProfile.gpuResource=nvidia.com/gpu", "--set", "gateway.apiKeySecret.name=keys"),
    "tenants": (
        "--set",
        "clusterWide=true,tenants.a.namespaces={x,y},tenants.a.maxReplicas=2,tenants.a.sources={hf://a/}",
    ),
    "network": (
        *("--set", "runtime.network.scraperPodLabels.app=prometheus,runtime.network.scraperNamespaceLabels.team=ops"),
        *("--set", "runtime.network.probeRanges={10.0.0.0/8,fd00::/64}", "--set", "runtime.requestSeconds=900"),
        *("--set", "runtime.network.fetcherBlockedRanges={10.0.0.0/8,192.168.0.0/16}"),
        *("--set", "runtime.network.fetcherReachesPods=false"),
    ),
    "registry": (
        *("--set", "image.registry=registry.example.org/team"),
        *("--set", "imagePullSecrets[0].name=registry,imagePullSecrets[1].name=mirror"),
    ),
    "claim": (
        *("--set", "gateway.data.existingClaim=kept", "--set", "gateway.data.size=2Gi"),
        *("--set", "gateway.signingKeySecret.name=links", "--set", "gateway.externalUrl=https://images.example.org"),
        *(
            "--set",
            "gateway.imageUrl.hosts={*.example.org,cdn.test:8443}",
            "--set",
            "gateway.imageUrl.privateHosts={minio}",
        ),
    ),
    "replicas": ("--set", "gateway.replicas=3", *SHARED),
    "autoscaled": ("--set", "gateway.autoscaling.enabled=true,gateway.autoscaling.minReplicas=1", *SHARED),
    "exposed": (
        "--set-json",
        """gateway.service={
            "type": "LoadBalancer", "port": 443, "nodePort": 30443, "annotations": {"example.org/internal": "true"},
            "loadBalancerClass": "example.org/internal", "loadBalancerSourceRanges": ["203.0.113.0/24"],
            "externalTrafficPolicy": "Local"
        }""",
        "--set-json",
        """gateway.ingress={
            "enabled": true, "className": "nginx", "hosts": ["images.example.org", "*"],
            "tls": [{"secretName": "images-tls", "hosts": ["images.example.org"]}],
            "annotations": {
                "cert-manager.io/cluster-issuer": "ours", "nginx.ingress.kubernetes.io/proxy-body-size": "8m"
            }
        }""",
        *("--set", "gateway.tls.secretName=web"),
    ),
    "placed": (
        *("--set", "operator.replicas=2"),
        *(
            part
            for component in ("operator", "gateway")
            for part in (
                "--set-json",
                f"""{component}={{
                    "podAnnotations": {{"example.org/team": "1"}}, "podLabels": {{"example.org/cost": "2"}},
                    "priorityClassName": "system-cluster-critical", "nodeSelector": {{"disk": "ssd"}},
                    "tolerations": [{{"key": "images", "operator": "Exists", "effect": "NoSchedule"}}],
                    "topologySpreadConstraints": [{{
                        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": {{"matchLabels": {{"app.kubernetes.io/component": "{component}"}}}}
                    }}],
                    "affinity": {{
                        "nodeAffinity": {{"requiredDuringSchedulingIgnoredDuringExecution": {{"nodeSelectorTerms": [
                            {{"matchExpressions": [{{"key": "arch", "operator": "In", "values": ["amd64"]}}]}}
                        ]}}}},
                        "podAntiAffinity": {{"requiredDuringSchedulingIgnoredDuringExecution": [{{
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {{"matchLabels": {{"app.kubernetes.io/component": "{component}"}}}}
                        }}]}}
                    }}
                }}""",
            )
        ),
    ),
    "environment": (
        "--set-json",
        """gateway.env={"HELIOGRAPH_GATEWAY_MAX_BODY_BYTES": "134217729", "HTTPS_PROXY": "http://proxy.example.org:3128",
        "HELIOGRAPH_GATEWAY_MAX_SPOOLED_BYTES": "8589934592"}""",
    ),
    "cloud": (
        *("--set", "gateway.caConfigMap.name=authorities,gateway.caConfigMap.key=trust-bundle.pem"),
        *("--set", "gateway.env.AWS_CA_BUNDLE=/etc/heliograph/ca/ca.crt"),
        *("--set", "weights.caConfigMap.name=authorities,weights.caConfigMap.key=trust-bundle.pem"),
        *("--set", r"gateway.serviceAccountAnnotations.eks\.amazonaws\.com/role-arn=arn:aws:iam::1:role/images"),
    ),
    "sharedClaim": (
        *("--set", "gateway.replicas=2", "--set", "gateway.database.urlSecret.name=database"),
        *("--set", "gateway.data.existingClaim=kept", "--set", "gateway.data.readWriteMany=true"),
        *("--set", "gateway.signingKeySecret.name=links"),
    ),
}

Render = Callable[..., list[dict[str, Any]]]
"""Returns what a chart makes with the given options of helm."""


def only(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Return the object of a kind and name, of which there is one."""
    (found,) = (item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name))
    return found


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of a pod's first container; None stands for what comes from elsewhere."""
    return {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
