"""From a checked request to what answers it: modes, prompts, seeds and settings, refused where the model can't."""

from dataclasses import dataclass, replace

from heliograph_api.defaults import GenerationDefaults
from heliograph_api.errors import invalid_request
from heliograph_api.images.request import ImageRequest
from heliograph_api.prompt_tags import split_lora_tags
from heliograph_runtime.engines.protocol import Capabilities, Sampling
from heliograph_runtime.images.loras import lora_weights
from heliograph_runtime.images.modes import choose_mode, lacks, unsupported, without_control
from heliograph_runtime.images.sampling import choose_sampling
from heliograph_runtime.images.sizes import Size

MAX_SEED = 2**32
_PROMPTLESS = frozenset({"variation", "upscale"})
"""Operations for which OpenAI and LocalAI take no prompt, whatever draws them."""


@dataclass(frozen=True)
class PlannedPicture:
    """One picture or clip to draw.

    Attributes:
        sampling: How; that of a request's others differs at most in the LoRA weights, which prompts can name.
        prompt: What to draw.
        negative_prompt: What not to draw; None for no such prompt.
        seed: Its seed.
    """

    sampling: Sampling
    prompt: str
    negative_prompt: str | None
    seed: int


def plan_pictures(
    request: ImageRequest,
    *,
    written: ImageRequest,
    capabilities: Capabilities,
    defaults: GenerationDefaults,
    family_sampler: bool,
    random_seed: int,
    max_pixels: int,
    picture: Size | None = None,
    transparent: bool = False,
) -> tuple[PlannedPicture, ...]:
    """Return what to draw: the request's values, else the model's defaults, else the family's own.

    Each prompt is drawn `n` times; the picture at place i has the seed plus i.

    Args:
        request: The checked request, its prompts split at `|`.
        written: The same with its prompts as they were written, for a model that has no negative prompts.
        capabilities: What the model can do.
        defaults: The ImageModel's own defaults.
        family_sampler: Whether a sampler that nothing names is the family's rather than the one in the model's files.
        random_seed: Seed to use where neither the request nor the model has one.
        max_pixels: Most pixels of a picture.
        picture: Size of the picture whose aspect the result has unless a size is named.
        transparent: Whether the first picture has a transparent part.

    Raises:
        APIError: 400, the request asks for something that the model can't do.
    """
    sampling = choose_sampling(
        request,
        choose_mode(request, capabilities, transparent=transparent),
        capabilities=capabilities,
        defaults=defaults,
        family_sampler=family_sampler,
        max_pixels=max_pixels,
        picture=picture,
    )
    texts = _texts(request, written, capabilities, defaults, sampling)
    seed = _seed(request, defaults, random_seed)
    planned: list[PlannedPicture] = []
    for prompt, negative_prompt in texts:
        plain, weights = _weighed(prompt, request, capabilities)
        for _ in range(request.n):
            this_seed = (seed + len(planned)) % MAX_SEED
            planned.append(PlannedPicture(replace(sampling, loras=weights), plain, negative_prompt, this_seed))
    return tuple(planned)


def _texts(
    request: ImageRequest,
    written: ImageRequest,
    capabilities: Capabilities,
    defaults: GenerationDefaults,
    sampling: Sampling,
) -> list[tuple[str, str | None]]:
    """Return each prompt and its negative prompt."""
    mode = capabilities.modes[sampling.mode]
    needed = mode.prompt and request.operation not in _PROMPTLESS
    if needed and not all(prompt.strip() for prompt in request.prompts):
        raise invalid_request(
            "prompt", "is required: a string that says what to draw.", code="missing_required_parameter"
        )
    texts = zip(request.prompts, request.negative_prompts, strict=True)
    lacking = lacks(request, mode, "negative_prompt")
    # A pipeline with distilled guidance has no use for a negative prompt until it is asked for the true guidance too.
    if not lacking and (mode.negative_prompt or (sampling.true_cfg_scale or 0) > 1):
        return [(prompt, negative or defaults.negative_prompt) for prompt, negative in texts]
    if any(written.negative_prompts):
        if lacking:
            raise without_control("negative_prompt")
        raise unsupported("negative_prompt", f"{mode.pipeline} does not have it; leave the field out.")
    # Nothing was to be split off then: a `|` is part of what to draw.
    whole = [
        original if negative else prompt for (prompt, negative), original in zip(texts, written.prompts, strict=True)
    ]
    return [(prompt, None) for prompt in whole]


def _weighed(prompt: str, request: ImageRequest, capabilities: Capabilities) -> tuple[str, tuple[float, ...] | None]:
    """Return a prompt without its LoRA tags, and the weights that it and the request name; None if they name none."""
    plain, tags = split_lora_tags(prompt)
    if not tags and not request.loras:
        return plain, None
    named = lora_weights(request.loras, capabilities.loras, field="loras")
    tagged = lora_weights(tags, capabilities.loras, field="prompt")
    return plain, tuple(first + second for first, second in zip(named, tagged, strict=True))


def _seed(request: ImageRequest, defaults: GenerationDefaults, random_seed: int) -> int:
    """Return the first picture's seed; a negative one asks for a random one, whatever the model's default is."""
    if request.seed is not None and request.seed < 0:
        return random_seed
    return next(seed for seed in (request.seed, defaults.seed, random_seed) if seed is not None)
