"""Manifests of a tenant who means ill, and what becomes of each: refused in which words, or taken and harmless.

`VICTIM` stands for the namespace of another tenant, whose model `flux` is also called `black-forest-labs/FLUX.1` and
`dall-e-3`, and to whom the alias model `gpt-image-1` leads.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MODEL: dict[str, Any] = {"parameters": {"model": "weights/model.safetensors"}}


@dataclass(frozen=True)
class Hostile:
    """A manifest, by its spec and metadata or as it goes over the wire.

    Attributes:
        spec: The spec, if it is a manifest like any other.
        metadata: What its metadata has beside a name.
        text: The whole body instead.
        media_type: What the body is sent as.
        refused: Part of what the API server says; empty when it takes the manifest.
        reason: Reason of the condition Accepted when it does.
        says: Part of that condition's message.
    """

    spec: Any = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    media_type: str = "application/json"
    refused: str = ""
    reason: str = "Valid"
    says: str = ""

    def body(self, name: str, *, victim: str) -> str:
        """Return what is sent for an ImageModel `name`."""
        manifest = {
            "apiVersion": "heliograph.dev/v1alpha1",
            "kind": "ImageModel",
            "metadata": {"name": name, **self.metadata},
            "spec": self.spec,
        }
        return (self.text.replace("NAME", name) or json.dumps(manifest)).replace("VICTIM", victim)


def model(**parts: Any) -> dict[str, Any]:
    return {**MODEL, **parts}


def weights(source: str) -> dict[str, Any]:
    return {"parameters": {"model": source}}


def serving(**parts: Any) -> dict[str, Any]:
    return model(serving=parts)


def refused(spec: Any, message: str, **metadata: Any) -> Hostile:
    return Hostile(spec, metadata, refused=message)


def invalid(spec: Any, says: str) -> Hostile:
    return Hostile(spec, reason="InvalidSpec", says=says)


def written(unknown: str) -> str:
    """Return a manifest with an unknown key whose value is JSON that this test could not write itself."""
    kind = '"apiVersion": "heliograph.dev/v1alpha1", "kind": "ImageModel", "metadata": {"name": "NAME"}'
    return f'{{{kind}, "spec": {{"parameters": {{"model": "weights/x.safetensors"}}, "unknown": {unknown}}}}}'


_BOMB = "a: &a [" + ",".join(["x"] * 9) + "]\n"
for _letter, _before in zip("bcdefgh", "abcdefg", strict=True):
    _BOMB += f"{_letter}: &{_letter} [" + ",".join([f"*{_before}"] * 9) + "]\n"
_YAML_HEAD = "apiVersion: heliograph.dev/v1alpha1\nkind: ImageModel\nmetadata: {name: NAME}\n"

ABSOLUTE = "must not be an absolute path"
PARENT = "must not contain '..'"

NAMES = {
    "a path as a name": refused(MODEL, "a lowercase RFC 1123 subdomain", name="../evil"),
    "capitals": refused(MODEL, "a lowercase RFC 1123 subdomain", name="Evil"),
    "a letter that looks like another": refused(MODEL, "a lowercase RFC 1123 subdomain", name="fluх"),  # noqa: RUF001
    "a line break": refused(MODEL, "a lowercase RFC 1123 subdomain", name="evil\nmodel"),
    "too long": refused(MODEL, "must be no more than 253 ", name="a" * 254),
    "as long as can be": Hostile(MODEL, {"name": "e" * 253}),
    "dots": Hostile(MODEL, {"name": "e.v.i.l.kube-root-ca.crt"}),
    "of another's object": Hostile(MODEL, {"name": "kube-root-ca.crt"}),
    "in another namespace": refused(MODEL, "does not match the namespace", namespace="VICTIM"),
    "an unknown version": Hostile(
        text='{"apiVersion": "heliograph.dev/v9", "kind": "ImageModel", "metadata": {"name": "NAME"}, "spec": {}}',
        refused="does not match the expected API version",
    ),
    "another kind": Hostile(
        text='{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "NAME"}}',
        refused="does not match the expected",
    ),
}

ROUTES = {
    "the name of another's model": Hostile(MODEL, {"name": "flux"}),
    "its public id": Hostile(model(name="black-forest-labs/FLUX.1")),
    "its name as a public id": Hostile(model(name="flux")),
    "its alias as a public id": Hostile(model(name="dall-e-3")),
    "its alias as a name": Hostile(MODEL, {"name": "dall-e-3"}),
    "all its names as aliases": Hostile(
        serving(aliases=["flux", "dall-e-3", "black-forest-labs/FLUX.1", "gpt-image-1"])
    ),
    "its full name as a public id": Hostile(model(name="VICTIM/flux")),
    "the full name of what it may make one day": Hostile(model(name="VICTIM/next")),
    "full names as aliases": Hostile(serving(aliases=["VICTIM/flux", "VICTIM/next", "VICTIM/gpt-image-1"])),
    "the name of its alias model": Hostile(MODEL, {"name": "gpt-image-1"}),
    "an alias model of that name": Hostile({"alias": "weights-of-mine"}, {"name": "gpt-image-1.5"}, reason="Alias"),
    "an alias model with its public id": Hostile({"alias": "mine", "name": "black-forest-labs/FLUX.1"}, reason="Alias"),
    "an alias of another's model": Hostile({"alias": "VICTIM/flux"}, reason="Alias"),
    "an alias of itself": refused({"alias": "me", "name": "me"}, "an alias cannot name itself"),
    "a space of no width": Hostile(model(name="flux\u200b")),
    "letters from right to left": Hostile(model(name="\u202exulf")),
    "a control character": refused(model(name="flux\u0007"), "must not contain line breaks or control characters"),
    "a header in an alias": refused(serving(aliases=["x\r\nSet-Cookie: a"]), "must not contain line breaks"),
    "an empty alias": refused(serving(aliases=[""]), "at least 1 chars long"),
    "too many aliases": refused(serving(aliases=[str(number) for number in range(33)]), "must have at most 32 items"),
    "a name without end": refused(model(name="x" * 513), "may not be more than 512"),
}

FILES = {
    "an absolute path": refused(weights("/etc/passwd"), ABSOLUTE),
    "a path upwards": refused(weights("../../etc/passwd"), PARENT),
    "a path up and down": refused(weights("a/../../b.safetensors"), PARENT),
    "a path upwards in an option": refused(model(options=["vae_path:../../vae.safetensors"]), "must stay inside"),
    "an absolute path in an option": refused(model(options=["vae_path: /etc/shadow"]), "must stay inside"),
    "an option that names a folder": refused(model(options=["lora_model_dir:/"]), "must stay inside"),
    "an absolute LoRA": refused(model(lora_adapters=["/var/run/secrets"]), ABSOLUTE),
    "an absolute ControlNet": refused(model(diffusers={"control_net": "/proc/self"}), ABSOLUTE),
    "a download outside": refused(model(download_files=[{"filename": "../x", "uri": "hf://a/b/c"}]), PARENT),
    "a download to the root": refused(model(download_files=[{"filename": "/bin/sh", "uri": "hf://a/b/c"}]), ABSOLUTE),
    "a folder above the claim": refused(serving(cache={"existingClaim": "c", "subPath": "../.."}), PARENT),
    "the root of the node": refused(serving(cache={"existingClaim": "c", "subPath": "/"}), ABSOLUTE),
    "a claim of another namespace": refused(
        serving(cache={"existingClaim": "VICTIM/c"}), "name of a Kubernetes object"
    ),
    "a claim without a name": invalid(weights("pvc:///etc"), "are written pvc://CLAIM/PATH"),
    "a claim and a path upwards": refused(weights("pvc://claim/../../x"), PARENT),
    "a path upwards in percent": Hostile(weights("pvc://claim/%2e%2e/%2e%2e/x.safetensors")),
    "a path upwards in Windows' way": Hostile(weights("..\\..\\x.safetensors")),
    "a NUL in a path": refused(weights("x\u0000.safetensors"), "control characters"),
    "a shell in a path": Hostile(weights("$(touch hacked);`id`.safetensors")),
    "a template in a path": Hostile(weights("$(HF_TOKEN)/{{ .Values }}.safetensors")),
    "flags of a command": Hostile(weights("--host=0.0.0.0 --models-dir=.safetensors")),
}

SOURCES = {
    "a file of the node": invalid(weights("file:///etc/passwd"), "file:// is for `heliograph serve`"),
    "another's daemon": invalid(weights("ollama://x"), "ollama://"),
    "an unknown scheme": invalid(weights("gopher://host/x"), "gopher:// is not known"),
    "a password in a URL": invalid(weights("https://user:hunter2@host/x.gguf"), "must not have a name or password"),
    "the metadata of a cloud": Hostile(weights("http://169.254.169.254/latest/x.safetensors")),
    "the API server": Hostile(weights("https://kubernetes.default.svc/api/v1/x.safetensors")),
    "a URL without a file": invalid(weights("http://localhost:10250"), "names no file"),
    "a download from the node": invalid(
        model(download_files=[{"filename": "x", "uri": "file:///etc/shadow"}]), "file:// is for `heliograph serve`"
    ),
    "a bucket without a name": invalid(weights("s3:///key"), "s3://BUCKET/KEY"),
    "a digest that is none": refused(
        model(download_files=[{"filename": "x", "uri": "hf://a/b/c", "sha256": "../x"}]), "must be a SHA-256 digest"
    ),
}

SECRETS = {
    "a secret of another namespace": refused(
        serving(hfTokenSecretRef={"name": "VICTIM/token"}), "name of a Kubernetes object"
    ),
    "a namespace beside a secret": Hostile(
        {**weights("a/b"), "serving": {"hfTokenSecretRef": {"name": "mine", "namespace": "VICTIM"}}}
    ),
    "a path as a key": refused(serving(hfTokenSecretRef={"name": "mine", "key": "../x"}), "must be a key of a Secret"),
    "a variable of the fetcher's": Hostile(
        {"artifacts": [{"source": {"type": "huggingface", "repo": "a/b", "token_env": "AWS_SECRET_ACCESS_KEY"}}]}
    ),
    "a secret in the environment": Hostile(
        model(
            env=[{"name": "X", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "x"}}}],
            envFrom=[{"secretRef": {}}],
        )
    ),
    "a secret as a volume": Hostile(serving(volumes=[{"name": "x", "secret": {"secretName": "mine"}}])),
}

PODS = {
    "a pod template": Hostile(model(template={"spec": {"hostNetwork": True, "hostPID": True}}, podTemplate={"x": 1})),
    "a pod template under serving": Hostile(serving(podTemplate={"spec": {"hostNetwork": True}}, hostNetwork=True)),
    "a security context": Hostile(serving(securityContext={"privileged": True}, podSecurityContext={"runAsUser": 0})),
    "an image": Hostile(serving(image="evil:1") | {"image": "evil:1", "backend": "diffusers"}),
    "an image as the backend": refused(model(backend="quay.io/evil:1"), "Unsupported value"),
    "a command": Hostile(serving(command=["sh"], args=["-c", "id"]) | {"command": ["sh"]}),
    "a volume of the node": Hostile(serving(hostPath="/", volumes=[{"name": "x", "hostPath": {"path": "/"}}])),
    "a service account": Hostile(serving(serviceAccountName="default", automountServiceAccountToken=True)),
    "a runtime class": Hostile(serving(runtimeClassName="kata", schedulerName="evil", priorityClassName="system")),
    "a profile that is none": invalid(serving(profile="root"), "root is no profile of this cluster's"),
    "a path as a profile": refused(serving(profile="../root"), "name of a Kubernetes object"),
    "the control plane's nodes": Hostile(
        serving(
            nodeSelector={"node-role.kubernetes.io/control-plane": ""},
            tolerations=[{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
        )
    ),
    "every taint": Hostile(serving(tolerations=[{"operator": "Exists"}])),
    "too many tolerations": refused(serving(tolerations=[{"operator": "Exists"}] * 17), "must have at most 16 items"),
    "a label that is none": refused(serving(nodeSelector={"a b": "c"}), "each key must be a label key"),
    "huge pages": Hostile(serving(resources={"limits": {"hugepages-2Mi": "64Mi", "cpu": "1", "memory": "1Gi"}})),
    "huge pages alone": Hostile(serving(resources={"requests": {"hugepages-1Gi": "8Gi"}})),
    "another's devices": Hostile(serving(resources={"limits": {"smarter-devices/kvm": "1"}})),
    "a resource of Kubernetes' own": Hostile(serving(resources={"limits": {"kubernetes.io/evil": "1"}})),
    "a resource that is none": refused(serving(resources={"limits": {"pods": "9"}}), "each key must be cpu, memory"),
    "groups with odd names": Hostile(model(concurrency_groups=["a/b: {}", "\u0000", "../x", "x" * 1024, ""])),
}

NUMBERS = {
    "less than no replicas": refused(serving(replicas=-1), "should be greater than or equal to 0"),
    "replicas without end": refused(serving(replicas=2**31), "should be less than or equal to 1000"),
    "half a replica": refused(serving(replicas=1.5), "must be of type integer"),
    "replicas in letters": refused(serving(replicas="3"), "must be of type integer"),
    "more than all": refused(serving(gpus=17), "should be less than or equal to 16"),
    "more than the engine can use": invalid(serving(gpus=16), "the engine can use 8 at most"),
    "less than no GPU": refused(serving(gpus=-1), "should be greater than or equal to 0"),
    "less than no memory": refused(serving(resources={"limits": {"memory": "-1Gi"}}), "must be a resource quantity"),
    "memory in powers": refused(serving(resources={"limits": {"memory": "1e999"}}), "must be a resource quantity"),
    "memory without end": Hostile(serving(resources={"limits": {"memory": f"{'9' * 28}Ei"}})),
    "a priority above all": refused(serving(priority=2_000_000_000), "should be less than or equal to 1000"),
    "what is not a number": Hostile(text=written("NaN"), refused="invalid character 'N'"),
    "a number without end": Hostile(text=written("1e999"), refused="cannot unmarshal number"),
    "steps without end": refused(model(step=10**6), "should be less than or equal to 1000"),
    "time without end": refused(serving(scaling={"idleSeconds": 10**12}), "should be less than or equal to 604800"),
    "least above most": refused(serving(scaling={"min": 5, "max": 2}), "min must not be greater than max"),
}

SIZES = {
    "too many options": refused(model(options=["a:b"] * 65), "must have at most 64 items"),
    "an option without end": refused(model(options=["x" * 1025]), "may not be more than 1024"),
    "a prompt without end": refused(weights("x") | {"parameters": {"negative_prompt": "x" * 16_385}}, "16384"),
    "a description of a megabyte": refused(model(description="x" * 1024 * 1024), "16384"),
    "four megabytes": refused(model(unknown="x" * 4 * 1024 * 1024), "limit is 3145728"),
    "a megabyte that nobody knows": Hostile(model(unknown="x" * 1024 * 1024)),
    "a key without end": Hostile(model(**{"k" * 300_000: 1})),
    "keys without end": refused(model(**{f"k{number}": 1 for number in range(600)}), "more than 512 entries"),
    "keys that are almost right": Hostile(model(**{f"step{number}": 1 for number in range(400)})),
    "nested beyond reading": Hostile(text=written('{"a":' * 5000 + "1" + "}" * 5000), refused="deeper than 12 levels"),
    "lists beyond reading": Hostile(text=written("[" * 9000 + "]" * 9000), refused="deeper than 12 levels"),
    "nested beyond the API server": Hostile(text=written("[" * 20_000 + "]" * 20_000), refused="exceeded max depth"),
    "a bomb of YAML": Hostile(
        text=f"{_YAML_HEAD}spec:\n  {_BOMB.replace(chr(10), chr(10) + '  ')}",
        media_type="application/yaml",
        refused="excessive aliasing",
    ),
}

METADATA = {
    "labels of ours": Hostile(
        MODEL,
        {"labels": {"heliograph.dev/model": "flux", "app.kubernetes.io/managed-by": "heliograph", "evil": "yes"}},
    ),
    "annotations of ours": Hostile(
        MODEL,
        {"annotations": {"heliograph.dev/plan-hash": "0", "helm.sh/resource-policy": "keep", "a/b": "x" * 100_000}},
    ),
    "a status of its own": Hostile(
        text='{"apiVersion": "heliograph.dev/v1alpha1", "kind": "ImageModel", "metadata": {"name": "NAME"}, "spec": '
        '{"parameters": {"model": "weights/x.safetensors"}}, "status": {"selector": "app=flux", "url": "http://evil"}}',
    ),
}

NO_SPEC = {
    "no spec": Hostile(
        text='{"apiVersion": "heliograph.dev/v1alpha1", "kind": "ImageModel", "metadata": {"name": "NAME"}}',
        refused="spec: Required value",
    ),
    "an empty spec": refused({}, "parameters.model is required"),
    "a list as spec": refused([], "must be of type object"),
    "no serving": Hostile({**MODEL, "serving": None}),
    "null all over": Hostile({**MODEL, "options": None, "diffusers": None, "name": None, "alias": None}),
}

CASES: Mapping[str, Hostile] = {
    f"{area}: {what}": case
    for area, cases in {
        "name": NAMES,
        "route": ROUTES,
        "file": FILES,
        "source": SOURCES,
        "secret": SECRETS,
        "pod": PODS,
        "number": NUMBERS,
        "size": SIZES,
        "metadata": METADATA,
        "spec": NO_SPEC,
    }.items()
    for what, case in cases.items()
}
