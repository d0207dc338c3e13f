"""`ImageModel.spec`: LocalAI's model YAML key by key, plus `serving`."""

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from heliograph_api.complaints import first_error
from heliograph_api.fields import (
    MAX_LIST,
    MAX_OPTIONS,
    Gpus,
    GuidanceScale,
    LongText,
    ModelName,
    Option,
    RelativePath,
    ShortText,
    Steps,
    WholeNumber,
)
from heliograph_api.localai import Artifact, Diffusers, DownloadFile, GrpcOptions, LocalAILimits, Parameters
from heliograph_api.rules import OpenModel
from heliograph_api.serving import MAX_RETRY_AFTER, RequestLimits, Serving
from heliograph_api.spec_rules import SPEC_RULES, is_sdcpp_option, uses_sdcpp


class ImageModelSpec(OpenModel):
    """The wanted model: LocalAI's model YAML word for word, plus `serving`."""

    RULES = SPEC_RULES

    name: ModelName | None = None
    """Public id of the model in any spelling; metadata.name when absent."""
    alias: ModelName | None = None
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
    tensor_parallel_size: Gpus | None = None
    """Number of GPUs to spread the model over."""
    threads: Annotated[int, Field(ge=0, le=1024), WholeNumber] | None = None
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
        return [option for option in self.options or () if is_sdcpp_option(option)]

    @property
    def uses_sdcpp(self) -> bool:
        """Return whether stable-diffusion.cpp serves the model; `engine.choose_engine` says why."""
        return uses_sdcpp(
            backend=self.backend,
            model=self.model,
            options=self.options or (),
            has_diffusers=self.diffusers is not None,
        )

    @property
    def wants_cuda(self) -> bool:
        """Return whether `cuda` is set in either of its two places."""
        return bool(self.cuda or (self.diffusers and self.diffusers.cuda))

    @cached_property
    def request_limits(self) -> RequestLimits:
        """Return `serving.limits` completed from LocalAI's `limits`."""
        own = self.serving.limits or RequestLimits()
        localai = self.limits or LocalAILimits()
        given = localai.retry_after_seconds
        return own.model_copy(
            update={
                "max_concurrent": localai.max_concurrent if own.max_concurrent is None else own.max_concurrent,
                "retry_after_seconds": own.retry_after_seconds or (min(given, MAX_RETRY_AFTER) if given else None),
            }
        )


def parse_spec(raw: Any) -> ImageModelSpec:
    """Return the typed form of a `spec` mapping; raise `SpecError` naming the first field at fault."""
    try:
        return ImageModelSpec.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        raise first_error(error) from None
