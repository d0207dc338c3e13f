"""Every field of a request: its names, what it takes, what it does; docs/api.md and /openapi.json print the table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heliograph_api.errors import invalid_request
from heliograph_api.images import inputs
from heliograph_api.images.takes import LORAS, PICTURE, PICTURES, TRUTH, Takes, number, text, whole_number, words
from heliograph_api.values import given

MIN_SIDE = 16
MAX_SIDE = 16_000
"""Pixels; a WebP file has at most 16,383, and a size may be rounded up."""
MAX_STEPS = 1000
MAX_FRAMES = 1024
MAX_PROMPT = 32_000
MAX_PARTIAL_IMAGES = 3
SAMPLER_NAMES = ("sampler", "sample_method", "sampler_name", "scheduler_type")
SCHEDULE_NAMES = ("schedule", "schedule_method", "scheduler")
STREAM_OPTIONS = ("include_usage", "preview", "preview_faster", "chunk_result", "chunk_size")


@dataclass(frozen=True)
class Field:
    """One setting of a request.

    Attributes:
        name: Name in this project.
        also: Other names; two that are given and disagree are a 400 that names both.
        takes: What values it takes.
        meaning: What it does, for people.
        attribute: Attribute of `ImageRequest`, the name unless given.
    """

    name: str
    also: tuple[str, ...]
    takes: Takes
    meaning: str
    attribute: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Return all names."""
        return (self.name, *self.also)


def _input(attribute: str, takes: Takes, meaning: str) -> Field:
    names = inputs.FIELDS[attribute]
    return Field(names[0], names[1:], takes, meaning, attribute)


_TEXTS = Takes(
    "text, or a list of texts", {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
)
_TRUTH = Takes("true or false", {"type": "boolean"})
_SAMPLING_NAME = Takes("a name of the table below", {"type": "string", "maxLength": 64})

PROMPT_FIELDS = (
    Field(
        "prompt", (), _TEXTS,
        "what to draw; each text of a list is drawn `n` times. `WHAT | NOT` splits off a negative prompt, unless "
        "`negative_prompt` is given or the ImageModel says `serving.splitPrompt: false`; `\\|` is a plain `|`. "
        "`(x)`, `(x:1.2)` and `[x]` weigh words, `<lora:NAME:0.8>` weighs a LoRA adapter, "
        "`<sd_cpp_extra_args>` holds settings as JSON; see below",
    ),
    Field("negative_prompt", (), Takes("text", {"type": "string", "maxLength": MAX_PROMPT}), "what not to draw"),
    Field(
        "model", (), text(512),
        "id, `metadata.name` or alias of a model, in a cluster also `namespace/name`; the default model when absent",
    ),
)  # fmt: skip

SAMPLING_FIELDS = (
    Field("n", (), whole_number(1, 1000), "pictures for each prompt; 1 unless given, and see below"),
    Field(
        "size", (), Takes("`WIDTHxHEIGHT`, one number for a square, or `auto`", {"type": "string"}),
        "size in pixels, rounded to what the model can draw; wins over `width` and `height`. When absent: the model's "
        "own, or the shape of the picture to change",
    ),
    Field(
        "width", (), Takes(f"{MIN_SIDE} to {MAX_SIDE}", {"type": "integer"}),
        "width in pixels; alone a square, or with the other side that `serving.compat` names",
    ),
    Field(
        "height", (), Takes(f"{MIN_SIDE} to {MAX_SIDE}", {"type": "integer"}),
        "height in pixels; alone a square, or with the other side that `serving.compat` names",
    ),
    Field(
        "steps", ("step", "sample_steps", "sampling_steps", "num_inference_steps"), whole_number(1, MAX_STEPS),
        "inference steps",
    ),
    Field("guidance_scale", ("cfg_scale",), number(0, 100), "classifier-free guidance"),
    Field(
        "guidance", ("distilled_guidance",), number(0, 100),
        "guidance of a model that was distilled with it, such as FLUX.1; others have no use for it",
    ),
    Field("true_cfg_scale", (), number(0, 100), "classifier-free guidance beside a distilled one"),
    Field("sampler", SAMPLER_NAMES[1:], _SAMPLING_NAME, "the sampler"),
    Field(
        "schedule", SCHEDULE_NAMES[1:], _SAMPLING_NAME, "the noise schedule; `scheduler` may name a sampler as well",
    ),
    Field(
        "seed", (), whole_number(-(2**63), 2**64 - 1, "a whole number"),
        "seed of the first picture, the next has the next; random when negative, or when neither the request nor the "
        "ImageModel has one",
    ),
    Field("clip_skip", (), whole_number(0, 24), "CLIP layers to skip from the end"),
    Field(
        "loras", ("lora",), LORAS, "weights of the ImageModel's own LoRA adapters; one that is not named has weight 0",
    ),
)  # fmt: skip

INPUT_FIELDS = (
    _input("images", PICTURES, "pictures to change, or that the prompt refers to, as the model can"),
    _input("reference_images", PICTURES, "pictures that the prompt refers to"),
    _input(
        "mask", PICTURE,
        "what to draw anew: the transparent part if there is one, else the white part; the transparent part of the "
        "first picture when absent",
    ),
    Field("invert_mask", (), TRUTH, "whether `mask` says what to keep instead"),
    Field(
        "opaque_mask", (), TRUTH,
        "whether the opaque part of a `mask` that has a transparent one is what to draw anew, as in AUTOMATIC1111",
    ),
    _input("control_image", PICTURE, "what the model's ControlNet follows"),
    Field(
        "strength", ("denoising_strength",), number(0, 1), "how much of the picture is drawn anew; 0.75 unless given",
    ),
    Field(
        "control_strength", ("controlnet_conditioning_scale",), number(0, 2),
        "weight of the control image; 0.9 unless given",
    ),
    Field("scale", ("upscale",), whole_number(2, 4), "factor of an enlargement; 2 unless given"),
)  # fmt: skip

VIDEO_FIELDS = (
    Field("num_frames", ("frames", "video_frames"), whole_number(1, MAX_FRAMES), "frames of a clip"),
    Field("fps", ("frame_rate",), whole_number(1, 60), "frames for each second"),
    Field("seconds", (), number(0.1, 60), "length of a clip; `num_frames` wins"),
    _input("last_image", PICTURE, "the last frame of a clip"),
)

ANSWER_FIELDS = (
    Field("response_format", (), words("url", "b64_json", "both"), "how the pictures come back; see below"),
    Field("output_format", (), words("png", "jpeg", "webp"), "file format; `png` unless given, any other is a 400"),
    Field(
        "output_compression", (), whole_number(0, 100),
        "quality of `jpeg` and `webp`: 100 is the best and largest, 95 unless given",
    ),
    Field("background", (), words("auto", "opaque"), "pictures have no transparent parts"),
    Field("stream", (), _TRUTH, "whether events tell of the progress; see below"),
    Field("stream_format", (), words("openai", "image.chunk"), "which events; see below"),
    Field(
        "partial_images", (),
        Takes(f"0 to {MAX_PARTIAL_IMAGES}", {"type": "integer", "minimum": 0, "maximum": MAX_PARTIAL_IMAGES}),
        "unfinished pictures in a stream",
    ),
    Field(
        "stream_options", (), Takes("an object", {"type": "object"}),
        f"GPUStack's: {', '.join(f'`{option}`' for option in STREAM_OPTIONS)}; in a form each is a field of its own, "
        "such as `stream_options_include_usage`",
    ),
    Field(
        "quality", (), Takes("any text", {"type": "string"}),
        "echoed if it is low, medium, high, xhigh or max; has no other effect",
    ),
)  # fmt: skip

FIELDS = (*PROMPT_FIELDS, *SAMPLING_FIELDS, *INPUT_FIELDS, *VIDEO_FIELDS, *ANSWER_FIELDS)

WITHOUT_EFFECT = (
    "style", "user", "safety_identifier", "moderation", "input_fidelity", "mode", "backend", "complexity", "params",
)  # fmt: skip
"""Accepted because clients send them to every server; they have no effect on a diffusion model."""

REFUSED = {
    "markup": "drawings over a picture are not understood; send the drawn picture itself, or a mask",
    "audio": "clips have no sound here; leave it out",
    "control_canny": "no edges are looked for here; send a picture of the edges as control_image",
    "apply_canny_preprocessor": "no edges are looked for here; send a picture of the edges as control_image",
}
"""Fields that would change the picture and can't be served, with the remedy; false and null are let pass."""

KNOWN = frozenset(
    {
        *(name for field in FIELDS for name in field.names),
        *WITHOUT_EFFECT,
        *REFUSED,
        *(f"stream_options_{option}" for option in STREAM_OPTIONS),
    }
)
"""Every key that has a meaning; any other is ignored, and reported."""


_ABSENT = {field.attribute or field.name: field.takes.read({}, field.name) for field in FIELDS if field.takes.read}


def read_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an `ImageRequest` that are read one by one; None, or an empty tuple, when absent.

    Raises:
        APIError: 400, a value can't be used, or two names of a setting disagree.
    """
    found = dict(_ABSENT)
    for field in FIELDS:
        if (read := field.takes.read) and (names := [name for name in field.names if given(content, name)]):
            found[field.attribute or field.name] = agreed({name: read(content, name) for name in names})
    return found


def agreed(values: Mapping[str, Any]) -> Any:
    """Return what all names of one setting say, None for none; raise `APIError` (400) naming two that disagree."""
    first = next(iter(values), "")
    for name, value in values.items():
        if value != values[first]:
            raise invalid_request(
                first,
                f"{first} and {name} name the same setting and disagree; send one of them.",
                code="conflicting_fields",
            )
    return values.get(first)
