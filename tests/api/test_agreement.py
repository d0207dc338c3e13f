"""pydantic and the API server agree on specs that nobody thought of: random ones, from values at every rule's edge."""

import json
import random
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from heliograph_api.errors import SpecError
from heliograph_api.manifest import read_manifests
from heliograph_api.schema import structural_schema
from heliograph_api.spec import ImageModelSpec

SCHEMA = structural_schema(ImageModelSpec)
PATH = "/apis/heliograph.dev/v1alpha1/namespaces/default/imagemodels"

TEXTS = [
    "", "a", "a/b", "x.gguf", "X.GGUF", "/a", "..", "a/..", "../a", "a..b", "a\nb", "a\n", "\x7f", "é", "\u2028", "a b",
    "-a", "a-", "a.b", ".a", "A_b.C", "nvidia.com/gpu", "cpu", "a/", "4", "4Gi", "1.", "100m", "5 GB", "1e3", "f" * 64,
    "F" * 64, "x" * 63, "x" * 253, "x" * 254, "x" * 317, "x" * 318, "x" * 512, "x" * 513, "x" * 1024, "x" * 1025,
    "\N{SUN WITH FACE}" * 512, "sampler:euler", "vae_path:a", "vae_path:/a", "VAE_PATH:/a", "vae_path: ../a",
    "my dir :/x", "diffusion_model", "diffusion_model_path:", "diffusion_model_path:x", "diffusion_models",
    "cfg_scale", "cfg_scale:", "cfg_scale: 7.", "cfg_scale:.", "cfg_scale:100.0", "cfg_scale:100.1", "cfg_scales:x",
    "path:a/..b",
    "guidance_scale:nan", "Exists", "NoExecute", "model", "companion",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 2, 16, 17, 24, 25, 64, 65, 100, 100.5, 120, 121, 1000, 1001, -1000, -1001, 4095, 4096, 0.5, -0.5, 3600,
    3601, 10_000, 10_001, 604_800, 604_801, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 10**25, 1e300,
]  # fmt: skip
OF_ANOTHER_TYPE = [None, True, [], {}, [None], {"a": 1}, ["a"], 1, "a", ""]


def value(chance: random.Random, schema: dict[str, Any], depth: int = 0) -> Any:
    """Return a value that the schema may or may not allow."""
    if chance.random() < 0.04:
        return chance.choice(OF_ANOTHER_TYPE)
    if "enum" in schema and chance.random() < 0.9:
        return chance.choice(schema["enum"])
    if schema["type"] == "object":
        return mapping(chance, schema, depth)
    if schema["type"] == "array":
        count = chance.choice([0, 3, 33, 65] if chance.random() < 0.1 else [1, 2])
        return [value(chance, schema["items"], depth + 1) for _ in range(count)]
    scalars: dict[str, Any] = {
        "string": TEXTS if chance.random() < 0.6 else ["a", "a/b"],
        "integer": NUMBERS if chance.random() < 0.5 else [0, 1, 2],
        "number": NUMBERS if chance.random() < 0.5 else [0.5, 1],
        "boolean": [True, False],
    }
    return chance.choice(scalars[schema["type"]])


def mapping(chance: random.Random, schema: dict[str, Any], depth: int) -> dict[str, Any]:
    if "additionalProperties" in schema:
        names = chance.sample(TEXTS, chance.choice([1, 2]))
        return {name: value(chance, schema["additionalProperties"], depth + 1) for name in names}
    often = set(schema.get("required", ()))
    rarely = 0.1 if depth == 0 else 0.3
    found = {
        name: value(chance, child, depth + 1)
        for name, child in schema["properties"].items()
        if chance.random() < (0.95 if name in often else rarely)
    }
    return {**found, "stepp": 1} if chance.random() < 0.02 else found


def random_manifest(seed: int) -> str:
    chance = random.Random(seed)
    spec = value(chance, SCHEMA)
    if isinstance(spec, dict) and "alias" not in spec and chance.random() < 0.8:
        spec["parameters"] = {"model": chance.choice(["a/b", "x.gguf", "x.safetensors"])}
    return json.dumps(
        {"apiVersion": "heliograph.dev/v1alpha1", "kind": "ImageModel", "metadata": {"name": "a"}, "spec": spec}
    )


def complaint(text: str) -> str:
    try:
        read_manifests(text, default_name="a")
    except SpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("batch", range(4))
def test_both_take_and_refuse_the_same(imagemodels: ControlPlane, batch: int) -> None:
    taken = 0
    for seed in range(batch * 250, (batch + 1) * 250):
        text = random_manifest(seed)
        answer = imagemodels.admin.post(
            PATH,
            params={"dryRun": "All", "fieldValidation": "Strict"},
            content=text,
            headers={"content-type": "application/json"},
        )
        ours, theirs = complaint(text), "" if answer.is_success else answer.json()["message"]
        assert bool(ours) == bool(theirs), f"ours: {ours!r}, the API server's: {theirs!r}, of {text}"
        taken += not ours
    assert 50 <= taken <= 200  # Neither all good nor all bad, which would show little.
