"""What a runtime tells of its model and of itself: everything it tells of is taken as it says."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.waiting import eventually
from heliograph_api.capabilities import ModelCapabilities
from heliograph_api.defaults import generation_defaults
from heliograph_api.errors import APIError
from heliograph_api.images.fields import FIELDS
from heliograph_api.images.model_rules import apply_model
from heliograph_api.images.request import parse_image_request
from heliograph_api.manifest import ImageModel
from heliograph_runtime.capabilities import describe_model
from heliograph_runtime.engines.protocol import Capabilities, VideoCapabilities
from heliograph_runtime.images.planning import PlannedPicture
from runtime import miniature_sdcpp
from runtime.capable import ABLE, CHANGING, DISTILLED, FILMING, INPAINTING, REFERENCING, REFERRING, TEXT, UNABLE, plan
from runtime.conftest import StartRuntime
from runtime.runtimes import Runtime
from runtime.scripted_runtime import ScriptedRuntime, scripted_runtime
from runtime.scripted_worker import SLOW

VIDEO = VideoCapabilities(frames=33, frames_multiple=4, max_frames=81, fps=16, last_image=True)
KINDS: dict[str, tuple[Capabilities, dict[str, Any]]] = {
    "able": (ABLE, {}),
    "unable": (UNABLE, {}),
    "distilled": (DISTILLED, {}),
    "distilled, as stable-diffusion.cpp has it": (replace(DISTILLED, cfg_scale_is_true=True), {}),
    "with one true scale": (replace(ABLE, guidance_scale=None, true_cfg_scale=4.0), {}),
    "with references": (REFERENCING, {}),
    "an editor alone": (replace(ABLE, modes={"reference": REFERRING}), {}),
    "for inpainting alone": (replace(ABLE, modes={"inpaint": INPAINTING}), {}),
    "clips from text": (replace(FILMING, modes={"text": TEXT, "image": CHANGING}, video=VIDEO), {}),
    "clips from pictures": (FILMING, {}),
    "a small device": (replace(ABLE, max_pixels=256 * 256), {}),
    "with defaults of the spec": (
        ABLE,
        {
            "step": 12,
            "cfg_scale": 3.5,
            "parameters": {"model": "m", "seed": 5},
            "diffusers": {"clip_skip": 1, "scheduler_type": "k_dpmpp_2m"},
            "serving": {"limits": {"maxImages": 2, "maxPixels": 65536}},
        },
    ),
    "with defaults of another system": (ABLE, {"serving": {"compat": "localai"}}),
    "with the family's own sampler": (ABLE, {"serving": {"compat": "gpustack"}}),
}
PICTURE = "iVBORw0KGgo="
SETTINGS = (
    "n", "size", "width", "height", "steps", "guidance_scale", "guidance", "true_cfg_scale", "sampler", "schedule",
    "seed", "clip_skip", "strength", "control_strength", "num_frames", "fps",
)  # fmt: skip


class Described:
    """A model that is described, and asked by the rules that the runtime has for requests."""

    def __init__(self, kind: str) -> None:
        self.found, spec = KINDS[kind]
        self.model = ImageModel.from_object({"metadata": {"name": "m"}, "spec": {"parameters": {"model": "m"}, **spec}})
        self.is_family_s = self.model.spec.serving.compat == "gpustack"
        self.told = describe_model(
            self.model, self.found, generation_defaults(self.model.spec), family_sampler=self.is_family_s
        )
        self.parameters: dict[str, dict[str, Any]] = self.told.document()["parameters"]

    def plan(self, **body: Any) -> tuple[PlannedPicture, ...]:
        """Return what is drawn for a body, with the picture that the model draws nothing without."""
        if "text" not in self.found.modes:
            body.setdefault("image", PICTURE)
        if set(self.found.modes) == {"inpaint"}:
            body.setdefault("mask", PICTURE)
        request = parse_image_request({"prompt": "a circle", **body}, path="/v1/images/generations")
        limits = self.model.spec.request_limits
        return plan(
            apply_model(request, self.model.spec),
            capabilities=self.found,
            defaults=generation_defaults(self.model.spec),
            family_sampler=self.is_family_s,
            max_pixels=limits.max_pixels or 2048 * 2048,
            picture=(512, 512) if "image" in body and not generation_defaults(self.model.spec).width else None,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_the_defaults_are_what_a_request_without_them_gets(kind: str) -> None:
    model = Described(kind)
    plain = model.plan()
    told = {name: model.parameters[name].get("default") for name in SETTINGS if name in model.parameters}
    # They are for a picture that is sent, and with it its own shape is drawn.
    for_pictures = {
        "strength",
        "control_strength",
        *(() if "text" in model.found.modes else ("size", "width", "height")),
    }
    body = {name: default for name, default in told.items() if default is not None and name not in for_pictures}

    drawn = model.plan(**body)

    assert body["n"] == 1
    # None leaves the scale to the pipeline, whose own is the one that is told.
    expected = replace(plain[0].sampling, true_cfg_scale=drawn[0].sampling.true_cfg_scale)
    assert plain[0].sampling.true_cfg_scale in {None, drawn[0].sampling.true_cfg_scale}
    assert drawn == (replace(plain[0], sampling=expected),)


def test_the_defaults_of_pictures_are_what_a_request_without_them_gets() -> None:
    able = Described("able")
    for name, body in (("strength", {"image": PICTURE}), ("control_strength", {"control_image": PICTURE})):
        assert able.plan(**body, **{name: able.parameters[name]["default"]}) == able.plan(**body)


@pytest.mark.parametrize("kind", KINDS)
def test_each_bound_is_the_last_value_that_is_taken(kind: str) -> None:
    model = Described(kind)
    checked = 0
    for name in set(SETTINGS) & model.parameters.keys() - {"width", "height"}:
        schema = model.parameters[name]
        for bound, beyond in (("minimum", -1), ("maximum", 1)):
            if bound not in schema or name == "seed":
                continue
            body = {"strength": {"image": PICTURE}, "control_strength": {"control_image": PICTURE}}.get(name, {})
            if not (name == "strength" and bound == "minimum"):  # it takes no step then, which steps are to say
                model.plan(**body, **{name: schema[bound]})
            with pytest.raises(APIError) as caught:
                model.plan(**body, **{name: schema[bound] + beyond})
            assert (caught.value.status, caught.value.param) == (400, name)
            checked += 1
        for value in schema.get("enum", ()):
            model.plan(**{name: value})
    assert checked >= 2, "that of n at least"


@pytest.mark.parametrize("kind", KINDS)
def test_sides_in_steps_of_their_multiple_are_drawn_as_they_are(kind: str) -> None:
    model = Described(kind)
    width, height = model.parameters["width"], model.parameters["height"]
    least, most, multiple = width["minimum"], height["maximum"], width["multipleOf"]
    assert (least % multiple, most % multiple) == (0, 0)
    assert least * most <= model.told.max_pixels
    drawn = model.plan(width=least, height=most)[0].sampling
    assert (drawn.width, drawn.height) == (least, most)


@pytest.mark.parametrize("kind", KINDS)
def test_a_setting_that_is_not_told_of_is_refused(kind: str) -> None:
    model = Described(kind)
    plain = model.plan()
    lacking = {
        "negative_prompt": "a dog", "steps": 7, "sampler": "ddim", "schedule": "karras", "clip_skip": 1,
        "num_frames": 9, "fps": 9, "true_cfg_scale": 2.5, "loras": [{"id": "style", "scale": 1}],
        "control_image": PICTURE,
    }  # fmt: skip
    if model.found.cfg_scale_is_true:
        del lacking["true_cfg_scale"]  # another name of guidance_scale there
    checked = 0
    for name in lacking.keys() - model.parameters.keys():
        with pytest.raises(APIError) as caught:
            model.plan(**{name: lacking[name]})
        assert (caught.value.status, caught.value.param) == (400, name)
        checked += 1
    assert checked or kind == "clips from text"
    # Only a model that was distilled with a guidance has a use for it.
    if "guidance" not in model.parameters:
        assert model.plan(guidance=2.5) == plain


@pytest.mark.parametrize(
    ("kind", "operations"),
    [
        ("able", ("generate", "edit", "variation", "inpaint", "upscale")),
        ("unable", ("generate", "upscale")),
        ("with references", ("generate", "edit", "variation", "upscale")),
        ("an editor alone", ("edit", "variation", "upscale")),
        ("for inpainting alone", ("edit", "inpaint", "upscale")),
        ("clips from text", ("video",)),
    ],
)
def test_operations_are_those_that_its_modes_serve(kind: str, operations: tuple[str, ...]) -> None:
    assert Described(kind).told.operations == operations


def test_what_else_is_told() -> None:
    able, references, clips = (
        Described("able").told,
        Described("with references").told,
        Described("clips from text").told,
    )
    assert (able.family, able.engine, able.control, able.previews) == ("Able", "diffusers", True, True)
    assert (able.loras, able.max_images, able.max_pixels) == (("style", "detail"), 10, 2048 * 2048)
    assert (able.max_references, references.max_references) == (0, 3)
    assert able.video is None
    assert clips.video is not None
    assert (clips.video.frames, clips.video.fps, clips.video.last_image, clips.previews) == (33, 16, True, False)
    limited = Described("with defaults of the spec").told
    assert (limited.max_images, limited.max_pixels) == (2, 65536)
    assert limited.revision != able.revision
    loras = Described("able").parameters["loras"]["items"]["properties"]["id"]
    assert loras == {"type": "string", "enum": ["style", "detail"]}


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_a_field_of_the_contract(kind: str) -> None:
    model = Described(kind)
    assert model.told.parameters.keys() <= {field.name for field in FIELDS}
    assert model.told.parameters.keys() == model.parameters.keys()
    again = ModelCapabilities.model_validate_json(json.dumps(model.told.document()))
    assert again.document() == model.told.document(), "whoever passes it on says the same"


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedRuntime]:
    with scripted_runtime() as running:
        yield running


def test_a_replica_tells_of_its_queue_and_its_gpu(scripted: ScriptedRuntime) -> None:
    idle = {"ready": True, "busy": False, "requests": 0, "queue": 0, "most_requests": 64}
    gpu = {"name": "Scripted GPU", "count": 1, "memory_used": 3 * 2**30, "memory_total": 16 * 2**30}
    assert scripted.client.get("/status").json().items() >= {**idle, "gpu": gpu}.items()

    body = {"prompt": f"{SLOW} circle", "n": 3, "steps": 100, "size": "2048x2048"}
    drawing = threading.Thread(target=scripted.post, kwargs=body)
    drawing.start()

    def working() -> bool:
        found = httpx.get(f"{scripted.url}/status", trust_env=False).json()
        return (found["busy"], found["requests"], found["queue"]) == (True, 1, 2)

    eventually(working, what="one picture at work and two that wait")
    drawing.join(60)
    scripted.wait_idle()


def test_the_tiny_model_tells_what_it_can_do(runtime: Runtime) -> None:
    found = ModelCapabilities.model_validate_json(runtime.get("/capabilities").content)

    assert (found.engine, found.family, found.video, found.control) == ("diffusers", "StableDiffusion", None, False)
    assert found.operations == ("generate", "edit", "variation", "inpaint", "upscale")
    parameters = found.document()["parameters"]
    steps, sampler, size = parameters["steps"]["default"], parameters["sampler"]["enum"], parameters["size"]["default"]
    told = {"steps": steps, "size": size, "guidance_scale": parameters["guidance_scale"]["default"], "seed": 3}
    assert runtime.draw(seed=3)[0].tobytes() == runtime.draw(**told)[0].tobytes()
    assert "euler_a" in sampler
    status = runtime.get("/status").json()
    assert (status["ready"], status["busy"], status["requests"], status["gpu"]) == (True, False, 0, None)


def test_a_model_of_stable_diffusion_cpp_tells_what_it_can_do(tmp_path: Path, start_runtime: StartRuntime) -> None:
    miniature_sdcpp.save_flux(tmp_path)
    spec = {
        "parameters": {"model": "flux.gguf"},
        "options": ["clip_l_path:clip_l.safetensors", "taesd_path:taef1.safetensors"],
    }
    running = start_runtime(spec, base={}, models_dir=tmp_path)

    found = ModelCapabilities.model_validate_json(running.get("/capabilities").content)

    assert (found.engine, found.family, found.max_references) == ("sdcpp", "FLUX.1-dev", 10)
    parameters = found.document()["parameters"]
    assert (parameters["guidance"]["default"], parameters["guidance_scale"]["default"]) == (3.5, 1.0)
    assert parameters["steps"]["default"] == 20
    assert running.get("/status").json()["gpu"] is None
