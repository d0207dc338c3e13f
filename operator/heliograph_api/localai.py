"""The parts of LocalAI's model YAML that lie below its root, key by key.

All of them keep keys that they do not know: LocalAI's reader ignores those, so that a pasted file is a valid spec.
Source of the keys and of what LocalAI does with them: mudler/LocalAI `core/config/model_config.go`,
`core/schema/prediction.go`, `pkg/modelartifacts/types.go` and its docs.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from heliograph_api.fields import (
    MAX_INT,
    MAX_LIST,
    ClipSkip,
    GuidanceScale,
    LongText,
    RelativePath,
    Seed,
    Sha256,
    ShortText,
    WholeNumber,
)
from heliograph_api.rules import OpenModel, matching


class Parameters(OpenModel):
    """LocalAI's prediction options; the language-model ones among them are kept and have no effect."""

    model: RelativePath | None = None
    """Weights: a repository id, a path inside the model's folder, or a URI (hf://, https://, oci://, pvc://, ...)."""
    seed: Seed | None = None
    """Seed of a request that names none; -1 or absent means random."""
    negative_prompt: LongText | None = None
    """Negative prompt of a request that names none."""
    clip_skip: ClipSkip | None = None
    """CLIP layers to skip from the end; `diffusers.clip_skip` wins."""


class Diffusers(OpenModel):
    """Settings of the diffusers engine."""

    cuda: bool | None = None
    """Run on a GPU; the same as `cuda` at the top."""
    pipeline_type: (
        Annotated[
            str,
            StringConstraints(max_length=128),
            matching(r"[A-Za-z0-9_]*", "must be the name of a pipeline class, such as StableDiffusionXLPipeline"),
        ]
        | None
    ) = None
    """Class of the pipeline, such as StableDiffusionXLPipeline, in any case; found from the weights when absent."""
    scheduler_type: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Scheduler, such as euler_a or k_dpmpp_2m; the model's own when absent."""
    enable_parameters: ShortText | None = None
    """Comma-separated list of the request parameters that reach the pipeline; `none` for none, all when absent."""
    cfg_scale: GuidanceScale | None = None
    """Guidance scale; `cfg_scale` at the top wins."""
    img2img: bool | None = None
    """Prefer the image-to-image pipeline where `pipeline_type` is absent."""
    clip_skip: ClipSkip | None = None
    """CLIP layers to skip from the end."""
    clip_model: RelativePath | None = None
    """Accepted because LocalAI documents it; has no effect there or here."""
    clip_subfolder: RelativePath | None = None
    """Accepted because LocalAI documents it; has no effect there or here."""
    control_net: RelativePath | None = None
    """ControlNet weights: a repository id or a path inside the model's folder."""


class DownloadFile(OpenModel):
    """A file to fetch into the model's folder."""

    filename: RelativePath
    """Path of the file inside the model's folder."""
    uri: ShortText
    """Where the file comes from."""
    sha256: Sha256 | None = None
    """Digest of the file, in lower-case hex."""


class ArtifactSource(OpenModel):
    """Where an artifact comes from."""

    type: Literal["huggingface"]
    """Kind of the source."""
    repo: RelativePath
    """Repository of Hugging Face: `OWNER/NAME` or `hf://OWNER/NAME`."""
    revision: ShortText | None = None
    """Branch, tag or commit; the default branch when absent."""
    token_env: ShortText | None = None
    """Accepted for LocalAI's sake; use `serving.hfTokenSecretRef`."""
    allow_patterns: Annotated[list[RelativePath], Field(max_length=MAX_LIST)] | None = None
    """Globs of the files to fetch."""
    ignore_patterns: Annotated[list[RelativePath], Field(max_length=MAX_LIST)] | None = None
    """Globs of the files to leave out."""


class Artifact(OpenModel):
    """A snapshot of a repository that the model needs."""

    name: (
        Annotated[
            str,
            StringConstraints(max_length=64),
            matching(
                r"[a-z0-9][a-z0-9_-]*",
                "must begin with a-z or 0-9 and have only these, '_' and '-', such as text_encoder",
            ),
        ]
        | None
    ) = None
    """Name: `model`, also when absent, or of a companion the option that its path is passed as."""
    target: Literal["model", "companion"] | None = None
    """Whether this is the model itself, also when absent, or something beside it."""
    source: ArtifactSource
    """Where it comes from."""


class LocalAILimits(OpenModel):
    """LocalAI's admission limits; `serving.limits` wins."""

    max_concurrent: Annotated[int, Field(ge=0, le=10_000), WholeNumber] | None = None
    """Requests at work or queued in one replica; 0 means no limit of its own."""
    retry_after_seconds: Annotated[int, Field(ge=0, le=3600), WholeNumber] | None = None
    """Seconds named in Retry-After; at most 120 are sent."""


class GrpcOptions(OpenModel):
    """LocalAI's gRPC options; they have no effect here."""

    attempts: Annotated[int, Field(ge=0, le=MAX_INT), WholeNumber] | None = None
    """Connection attempts."""
    attempts_sleep_time: Annotated[int, Field(ge=0, le=MAX_INT), WholeNumber] | None = None
    """Seconds between attempts."""
