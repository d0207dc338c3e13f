"""`ImageModel.spec`: LocalAI's model YAML key by key, plus `serving`.

Source of the keys and of what LocalAI does with them: mudler/LocalAI `core/config/model_config.go` and its docs.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from heliograph_api.fields import (
    MAX_LIST,
    MAX_OPTIONS,
    ClipSkip,
    GuidanceScale,
    LongText,
    Option,
    RelativePath,
    Seed,
    Sha256,
    ShortText,
    Steps,
)
from heliograph_api.rules import OpenModel, Rule, SpecModel, first_error
from heliograph_api.serving import RequestLimits, Serving

_SDCPP_OPTION = "^([a-z0-9_]+_path:|diffusion_model(:|$))"
SDCPP_BACKENDS = ("stablediffusion", "stablediffusion-ggml", "sdcpp")

_HAS_SDCPP_OPTION = f"(has(self.options) && self.options.exists(o, o.matches('{_SDCPP_OPTION}')))"
_IS_SDCPP = "(has(self.backend) && self.backend in ['stablediffusion', 'stablediffusion-ggml', 'sdcpp'])"
_HAS_MODEL = "(has(self.parameters) && has(self.parameters.model) && self.parameters.model != '')"
_HAS_ALIAS = "(has(self.alias) && self.alias != '')"


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
    pipeline_type: Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z0-9_]*$")] | None = None
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


class DownloadFile(SpecModel):
    """A file to fetch into the model's folder."""

    filename: RelativePath
    """Path of the file inside the model's folder."""
    uri: ShortText
    """Where the file comes from."""
    sha256: Sha256 | None = None
    """Digest of the file, in lower-case hex."""


class ArtifactSource(SpecModel):
    """Where an artifact comes from."""

    type: Literal["huggingface"]
    """Kind of the source."""
    repo: ShortText
    """Repository id."""
    revision: ShortText | None = None
    """Branch, tag or commit; the default branch when absent."""
    token_env: ShortText | None = None
    """Accepted for LocalAI's sake; use `serving.hfTokenSecretRef`."""
    allow_patterns: Annotated[list[ShortText], Field(max_length=MAX_LIST)] | None = None
    """Globs of the files to fetch."""
    ignore_patterns: Annotated[list[ShortText], Field(max_length=MAX_LIST)] | None = None
    """Globs of the files to leave out."""


class Artifact(OpenModel):
    """A snapshot of a repository that the model needs."""

    name: ShortText
    """Name; a companion's snapshot path becomes the option of this name."""
    target: Literal["model", "companion"] | None = None
    """Whether this is the model itself or something beside it."""
    source: ArtifactSource | None = None
    """Where it comes from."""


class LocalAILimits(SpecModel):
    """LocalAI's admission limits; `serving.limits` wins."""

    max_concurrent: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Requests at work or queued; 0 means no limit."""
    retry_after_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    """Seconds named in Retry-After; at most 120 are sent."""


class GrpcOptions(SpecModel):
    """LocalAI's gRPC options; they have no effect here."""

    attempts: int | None = None
    """Connection attempts."""
    attempts_sleep_time: int | None = None
    """Seconds between attempts."""


def _names_weights(spec: "ImageModelSpec") -> bool:
    return bool(spec.alias or spec.model or spec.artifacts or spec.sdcpp_options)


def _sdcpp_backend(spec: "ImageModelSpec") -> bool:
    return (spec.backend or "") in SDCPP_BACKENDS


class ImageModelSpec(OpenModel):
    """The wanted model: LocalAI's model YAML word for word, plus `serving`."""

    RULES = (
        Rule(
            cel=f"{_HAS_MODEL} || {_HAS_ALIAS} || has(self.artifacts) || {_HAS_SDCPP_OPTION}",
            message="parameters.model is required: name the weights by a repository id, a path or a URI",
            check=_names_weights,
            field="parameters",
        ),
        Rule(
            cel=f"!{_HAS_ALIAS} || !(has(self.backend) || has(self.parameters) "
            "|| has(self.diffusers) || has(self.options))",
            message="an alias is a route to another model: only name and alias may be set beside serving",
            check=lambda spec: (
                not spec.alias
                or not any(part is not None for part in (spec.backend, spec.parameters, spec.diffusers, spec.options))
            ),
            field="alias",
        ),
        Rule(
            cel=f"!({_IS_SDCPP} && has(self.diffusers) && has(self.diffusers.pipeline_type) "
            "&& self.diffusers.pipeline_type != '')",
            message="pipeline_type belongs to the diffusers engine, but backend names stable-diffusion.cpp; remove one",
            check=lambda spec: not (_sdcpp_backend(spec) and spec.diffusers and spec.diffusers.pipeline_type),
            field="diffusers",
        ),
        Rule(
            cel=f"!(has(self.backend) && self.backend == 'diffusers' && {_HAS_SDCPP_OPTION})",
            message="*_path and diffusion_model options belong to stable-diffusion.cpp, not to diffusers; remove one",
            check=lambda spec: not (spec.backend == "diffusers" and spec.sdcpp_options),
            field="options",
        ),
        Rule(
            cel=f"!({_IS_SDCPP} && ((has(self.tensor_parallel_size) && self.tensor_parallel_size > 1) "
            "|| (has(self.serving) && has(self.serving.gpus) && self.serving.gpus > 1)))",
            message="stable-diffusion.cpp uses one GPU: set tensor_parallel_size and serving.gpus to at most 1",
            check=lambda spec: (
                not (_sdcpp_backend(spec) and max(spec.tensor_parallel_size or 0, spec.serving.gpus or 0) > 1)
            ),
            field="backend",
        ),
        Rule(
            cel="!has(self.lora_scales) "
            "|| (has(self.lora_adapters) && size(self.lora_scales) <= size(self.lora_adapters))",
            message="lora_scales must not have more entries than lora_adapters: each scale belongs to one adapter",
            check=lambda spec: len(spec.lora_scales or ()) <= len(spec.lora_adapters or ()),
            field="lora_scales",
        ),
    )

    name: ShortText | None = None
    """Public id of the model in any spelling; metadata.name when absent."""
    alias: ShortText | None = None
    """Name of the model that requests for this one go to; makes a route and no Deployment."""
    description: LongText | None = None
    """What the model is, for people."""
    usage: LongText | None = None
    """How to use the model, for people."""
    disabled: bool | None = None
    """Scale to zero and answer requests with 403."""
    pinned: bool | None = None
    """Never scale down for idleness or to hand the GPU over."""
    backend: Literal["", "diffusers", "stablediffusion", "stablediffusion-ggml", "sdcpp"] | None = None
    """Engine: diffusers, or stablediffusion-ggml (also stablediffusion, sdcpp); decided from the rest when absent."""
    parameters: Parameters | None = None
    """Weights and the defaults of a request."""
    step: Steps | None = None
    """Inference steps of a request that names none; 0 or absent means the model family's own."""
    cfg_scale: GuidanceScale | None = None
    """Guidance scale of a request that names none; absent means the model family's own."""
    f16: bool | None = None
    """Load half-precision weights; full precision is loaded on a CPU, with a warning."""
    cuda: bool | None = None
    """Run on a GPU of the administrator's default profile."""
    low_vram: bool | None = None
    """Keep parts of the model in main memory while they are not needed."""
    tensor_parallel_size: Annotated[int, Field(ge=0, le=16)] | None = None
    """Number of GPUs to spread the model over."""
    threads: Annotated[int, Field(ge=0, le=1024)] | None = None
    """CPU threads; as many as there are CPUs when 0 or absent."""
    options: Annotated[list[Option], Field(max_length=MAX_OPTIONS)] | None = None
    """Engine options, each `key:value`."""
    diffusers: Diffusers | None = None
    """Settings of the diffusers engine."""
    lora_adapter: RelativePath | None = None
    """LoRA weights: a path inside the model's folder."""
    lora_adapters: Annotated[list[RelativePath], Field(max_length=MAX_LIST)] | None = None
    """LoRA weights, several."""
    lora_scales: Annotated[list[float], Field(max_length=MAX_LIST)] | None = None
    """Strength of each of `lora_adapters`; 1 where absent."""
    lora_scale: float | None = None
    """Strength of `lora_adapter`; 1 when absent."""
    lora_base: RelativePath | None = None
    """Accepted because LocalAI documents it; has no effect there or here."""
    mmproj: RelativePath | None = None
    """Accepted because LocalAI documents it; has no effect on image models."""
    download_files: Annotated[list[DownloadFile], Field(max_length=MAX_OPTIONS)] | None = None
    """Files to fetch into the model's folder."""
    artifacts: Annotated[list[Artifact], Field(max_length=MAX_LIST, min_length=1)] | None = None
    """Repository snapshots to fetch."""
    concurrency_groups: Annotated[list[ShortText], Field(max_length=MAX_LIST)] | None = None
    """Models of one group never share a node."""
    limits: LocalAILimits | None = None
    """Limits of the requests that the model takes; `serving.limits` wins."""
    known_usecases: Annotated[list[ShortText], Field(max_length=MAX_LIST)] | None = None
    """What the model is for, such as image or video."""
    known_input_modalities: Annotated[list[ShortText], Field(max_length=MAX_LIST)] | None = None
    """Kinds of input: text, image, audio, video."""
    known_output_modalities: Annotated[list[ShortText], Field(max_length=MAX_LIST)] | None = None
    """Kinds of output: text, image, audio, video."""
    grpc: GrpcOptions | None = None
    """Accepted because LocalAI documents it; has no effect here."""
    serving: Serving = Serving()
    """How Kubernetes runs the model."""

    @property
    def model(self) -> str:
        """Return `parameters.model`, or an empty string."""
        return (self.parameters and self.parameters.model) or ""

    @property
    def sdcpp_options(self) -> list[str]:
        """Return the options that only stable-diffusion.cpp reads."""
        return [option for option in self.options or () if re.match(_SDCPP_OPTION, option)]

    @property
    def wants_cuda(self) -> bool:
        """Return whether `cuda` is set in either of its two places."""
        return bool(self.cuda or (self.diffusers and self.diffusers.cuda))

    @property
    def request_limits(self) -> RequestLimits:
        """Return `serving.limits` completed from LocalAI's `limits`."""
        own = self.serving.limits or RequestLimits()
        localai = self.limits or LocalAILimits()
        given = localai.retry_after_seconds
        return own.model_copy(
            update={
                "max_concurrent": localai.max_concurrent if own.max_concurrent is None else own.max_concurrent,
                "retry_after_seconds": own.retry_after_seconds or (min(given, 120) if given else None),
            }
        )


def parse_spec(raw: Any) -> ImageModelSpec:
    """Return the typed form of a `spec` mapping; raise `SpecError` naming the first field at fault."""
    try:
        return ImageModelSpec.model_validate(raw)
    except ValidationError as error:
        raise first_error(error) from None
