"""A row for every field of a request: a value, another one, and what else a request needs for them to show."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from contract.stack import EDITS, GENERATIONS, SMALL
from pictures import draw
from runtime.picture_files import b64

SIDE = 32
"""Of all pictures, in pixels."""
SILENT: Mapping[str, Any] = {"prompt": "a red circle", "seed": 7, "response_format": "b64_json", **SMALL}
"""A request that says nothing but this; a row takes its own field out."""


def _half(left: int) -> Image.Image:
    """Return a picture that is white in one half and black in the other."""
    image = Image.new("L", (SIDE, SIDE))
    image.paste(255, (left, 0, left + SIDE // 2, SIDE))
    return image


CIRCLE, STAR = (b64(draw(colour, shape, "white", size=SIDE)) for colour, shape in (("red", "circle"), ("blue", "star")))
LEFT, RIGHT = b64(_half(0)), b64(_half(SIDE // 2))
PAINTED_LEFT = b64(Image.merge("LA", (Image.new("L", (SIDE, SIDE), 255), _half(0))))
"""White on a transparent ground."""


@dataclass(frozen=True)
class Row:
    """A field and two values of it that must show in the answer, each in its way.

    Attributes:
        value: A value, well-formed JSON.
        other: Another one; None where there is no second, or where any is refused.
        refused: Whether what shows is that the value is refused.
        disagree: Two values that one request can't have under two names; `value` and `other` unless given.
        given: What else the request has.
        without: What it does not have, beside the field itself.
        path: Where it goes.
        model: The fixture that answers it.
    """

    value: Any
    other: Any = None
    refused: bool = False
    disagree: tuple[Any, Any] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    path: str = GENERATIONS
    model: str = "plain"

    @property
    def rivals(self) -> tuple[Any, Any]:
        """Return two values that one request can't have under two names."""
        return self.disagree or (self.value, self.other)

    def asks(self, name: str, value: Any = None) -> dict[str, Any]:
        """Return a request in which a name of the field has a value; None leaves the field out."""
        request = {key: said for key, said in {**SILENT, **self.given}.items() if key not in (name, *self.without)}
        named = request if self.model == "plain" else {"model": self.model, **request}
        return named if value is None else {**named, name: value}


_STREAMED = {"stream": True}
CHANGED = {"image": CIRCLE}
CONTROLLED = {"control_image": LEFT}

ROWS: Mapping[str, Row] = {
    "prompt": Row("a blue star", "a green square"),
    "model": Row("linked", "nowhere", without=("response_format",)),
    "n": Row(2, 3),
    "width": Row(48, 64, given={"height": SIDE}, without=("size",)),
    "height": Row(48, 64, given={"width": SIDE}, without=("size",)),
    "steps": Row(4, 2),
    "guidance_scale": Row(2.5, 8),
    "schedule": Row("karras", "exponential", given={"sampler": "euler", "steps": 3}),
    "seed": Row(8, 9),
    "ref_images": Row(CIRCLE, STAR),
    "mask": Row(LEFT, RIGHT, given=CHANGED, path=EDITS),
    "invert_mask": Row(True, given=CHANGED | {"mask": LEFT}, path=EDITS),
    "opaque_mask": Row(True, given=CHANGED | {"mask": PAINTED_LEFT}, path=EDITS),
    "strength": Row(0.5, 1, given=CHANGED | {"steps": 4}),
    "num_frames": Row(8, refused=True, disagree=(8, 9)),
    "fps": Row(8, refused=True, disagree=(8, 9)),
    "seconds": Row(2, refused=True),
    "end_image": Row(CIRCLE, refused=True, disagree=(CIRCLE, STAR)),
    "response_format": Row("url", "b64_json"),
    "output_format": Row("jpeg", "webp"),
    "output_compression": Row(10, 40, given={"output_format": "jpeg"}),
    # Opaque is what pictures are anyway.
    "background": Row("transparent", refused=True),
    "stream": Row(True),
    "stream_format": Row("image.chunk", given=_STREAMED),
    "partial_images": Row(1, 2, given=_STREAMED | {"steps": 4}),
    "stream_options": Row({"include_usage": True}, {"preview": True}, given=_STREAMED | {"steps": 4}),
    "quality": Row("low", "high"),
}
"""Those that are the same for every engine; `differences` has the others."""
DOCUMENTED: Mapping[str, tuple[str, ...]] = {
    "steps": ("step", "sample_steps", "sampling_steps", "num_inference_steps"),
    "guidance_scale": ("cfg_scale",),
    "sampler": ("sample_method", "sampler_name", "scheduler_type"),
    "schedule": ("schedule_method", "scheduler"),
    "loras": ("lora",),
    "image": ("images", "file", "files", "init_images", "input_reference"),
    "ref_images": ("reference_images",),
    "control_image": ("control",),
    "strength": ("denoising_strength",),
}
"""Names that LocalAI, GPUStack, sd-api-server, AUTOMATIC1111 and OpenAI have for a field."""
