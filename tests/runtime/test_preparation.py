"""From a body to a plan, with the service of a model that is not there."""

import asyncio
import base64
import json
import threading
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from heliograph_api.errors import APIError
from heliograph_api.manifest import read_manifests
from heliograph_runtime.engines.protocol import Capabilities
from heliograph_runtime.images.decoding import decode_picture
from heliograph_runtime.images.preparation import Preparation
from heliograph_runtime.images.prepared import Prepared
from heliograph_runtime.service import Service
from heliograph_runtime.settings import RuntimeSettings
from runtime.capable import ABLE, FILMING, UNABLE, UPSCALING, check_refusal
from runtime.picture_files import as_file, b64, quarters
from runtime.runtimes import EXAMPLES
from runtime.sketches import run

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"
UPSCALE = "/v1/images/upscale"


def service(capabilities: Capabilities | None = ABLE, spec: dict[str, Any] | None = None, **settings: int) -> Service:
    (model,) = read_manifests(json.dumps({"name": "m", "parameters": {"model": "m"}, **(spec or {})}), default_name="m")
    made = Service(model, RuntimeSettings.model_validate({"manifest": EXAMPLES / "tiny.yaml", **settings}))
    made.supervisor.capabilities = capabilities
    return made


def prepare(path: str = GENERATIONS, *, to: Service | None = None, **body: Any) -> Prepared:
    async def test() -> Prepared:
        return await Preparation(to or service()).prepare(
            json.dumps({"prompt": "a cat", **body}).encode(), content_type="application/json", path=path
        )

    return run(test())


def refusal(path: str = GENERATIONS, *, to: Service | None = None, **body: Any) -> APIError:
    with pytest.raises(APIError) as caught:
        prepare(path, to=to, **body)
    return caught.value


def test_a_request_is_checked_and_planned() -> None:
    prepared = prepare(prompt=["a cat | a dog", "a cow"], n=2, seed=5, steps=8)

    assert [(it.prompt, it.negative_prompt, it.seed) for it in prepared.planned] == [
        ("a cat", "a dog", 5), ("a cat", "a dog", 6), ("a cow", None, 7), ("a cow", None, 8),
    ]  # fmt: skip
    assert (prepared.count, prepared.size, prepared.steps, prepared.file_format) == (4, "512x512", 8, "png")
    assert prepared.inputs is None


def test_seeds_are_random_where_nothing_says_otherwise() -> None:
    first, second = (prepare().planned[0].seed for _ in range(2))

    assert first != second


def test_a_form_is_read_like_json() -> None:
    form = (
        b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na cat\r\n'
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.bmp"\r\n\r\n'
        + as_file(quarters(), "GIF")
        + b'\r\n--x\r\nContent-Disposition: form-data; name="seed"\r\n\r\nnull\r\n--x--\r\n'
    )

    async def test() -> Prepared:
        return await Preparation(service()).prepare(
            form, content_type="multipart/form-data; boundary=x", path="/v1-openai/image/edit"
        )

    prepared = run(test())

    assert prepared.planned[0].sampling.mode == "image"
    assert prepared.inputs
    assert (prepared.inputs.images[0].width, prepared.size) == (512, "512x512")


def test_the_models_spec_has_its_say() -> None:
    strict = service(spec={"serving": {"limits": {"maxImages": 1}}, "diffusers": {"enable_parameters": "image"}})

    check_refusal(refusal(to=strict, n=2), param="n", says="at most 1")
    check_refusal(refusal(to=strict, clip_skip=1), param="clip_skip", says="enable_parameters")


def test_before_the_model_is_loaded_nothing_is_planned() -> None:
    unloaded = service(None)

    assert refusal(to=unloaded, steps=0).status == 400
    error = refusal(to=unloaded)
    assert (error.status, error.code) == (503, "model_loading")


def test_unknown_keys_are_counted() -> None:
    counted = service()
    prepare(to=counted, hires=True, tiling=1, style="vivid")

    assert counted.metrics.registry.get_sample_value("heliograph_runtime_ignored_keys_total") == 2


def test_pictures_are_decoded_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when a client has left: its picture is still being decoded."""
    at_work: list[str] = []
    most = 0
    decoding = threading.Event()
    go_on = threading.Event()

    def watched(*args: Any, **kwargs: Any) -> Any:
        nonlocal most
        at_work.append(threading.current_thread().name)
        most = max(most, len(at_work))
        decoding.set()
        assert go_on.wait(30)
        at_work.pop()
        return decode_picture(*args, **kwargs)

    monkeypatch.setattr("heliograph_runtime.images.inputs.decode_picture", watched)
    body = json.dumps({"prompt": "a cat", "image": b64(quarters())}).encode()

    async def test() -> None:
        preparation = Preparation(service())
        requests = [
            asyncio.create_task(preparation.prepare(body, content_type="application/json", path=EDITS))
            for _ in range(3)
        ]
        await asyncio.to_thread(decoding.wait, 30)
        requests[0].cancel()
        await asyncio.sleep(0.05)
        go_on.set()
        done = await asyncio.gather(*requests, return_exceptions=True)
        assert [isinstance(it, Prepared) for it in done] == [False, True, True]

    run(test())
    assert most == 1


def test_pictures_are_bounded_by_a_setting_and_reduced_to_what_the_model_draws() -> None:
    small = service(max_input_pixels=64 * 64)
    check_refusal(refusal(EDITS, to=small, image=b64(Image.new("RGB", (65, 64)))), param="image", says="at most 4096")
    limited = service(replace(ABLE, modes=ABLE.modes, max_pixels=32 * 32))
    prepared = prepare(EDITS, to=limited, image=b64(quarters()))
    assert prepared.inputs
    assert (prepared.size, prepared.inputs.images[0].width) == ("32x32", 32)


def test_what_can_be_refused_without_its_pictures_is() -> None:
    damaged = base64.b64encode(as_file(quarters())[:60]).decode()

    assert refusal(EDITS, image=damaged).code == "invalid_image"
    assert refusal(EDITS, to=service(UNABLE), image=damaged).code == "unsupported"
    assert refusal(EDITS, image=[damaged] * 2).code == "unsupported"


@pytest.mark.parametrize(
    ("body", "steps"),
    [
        ({"stream": True}, ()),
        ({"stream": True, "partial_images": 0}, ()),
        ({"stream": True, "partial_images": 1}, (10,)),
        ({"stream": True, "partial_images": 3}, (5, 10, 15)),
        ({"stream": True, "partial_images": 3, "steps": 3}, (1, 2)),
        ({"stream": True, "partial_images": 3, "steps": 1}, ()),
        ({"partial_images": 3}, ()),
        ({"stream": True, "stream_options": {"preview": True}}, (2, 4, 7, 9, 11, 13, 16, 18)),
        ({"stream": True, "stream_options": {"preview": True}, "steps": 4}, (1, 2, 3)),
    ],
)
def test_unfinished_pictures_are_spaced_evenly(body: dict[str, Any], steps: tuple[int, ...]) -> None:
    assert prepare(**body).preview_steps == steps


def test_unfinished_pictures_of_what_is_changed_in_part_or_cannot_be_shown() -> None:
    streamed: dict[str, Any] = {"stream": True, "partial_images": 1, "image": b64(quarters())}

    assert prepare(EDITS, strength=0.5, **streamed).preview_steps == (5,)
    assert prepare(EDITS, to=service(replace(ABLE, previews=False)), **streamed).preview_steps == ()
    assert prepare("/video", to=service(FILMING), **streamed).preview_steps == ()


def test_a_clip_is_an_mp4() -> None:
    prepared = prepare("/video", to=service(FILMING), image=b64(quarters()), output_format="webp")

    assert (prepared.file_format, prepared.planned[0].sampling.frames) == ("mp4", 25)


def test_an_enlargement_without_the_models_help() -> None:
    prepared = prepare(UPSCALE, prompt=None, image=b64(quarters()), scale=3)

    assert prepared.enlarged
    assert (prepared.size, prepared.count, prepared.steps, prepared.planned) == ("192x192", 1, 0, ())
    enlarged = Image.frombytes("RGB", (192, 192), prepared.enlarged.pixels)
    assert enlarged.getpixel((24, 24)) == (200, 30, 30)
    assert enlarged.getpixel((168, 168)) == (240, 220, 40)
    assert list(prepared.entry(0, prepared.enlarged)) == ["b64_json"]


def test_the_model_enlarges_if_it_can() -> None:
    prepared = prepare(UPSCALE, to=service(replace(ABLE, modes={"upscale": UPSCALING})), image=b64(quarters()))

    assert prepared.enlarged is None
    assert prepared.planned[0].sampling.upscale == 2
    assert prepared.inputs
    assert prepared.inputs.images[0].pixels == quarters().tobytes()


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"scale": 5}, "scale", "from 2 to 4"),
        ({"n": 2}, "n", "ask for one"),
        ({"image": [b64(quarters())] * 2}, "image", "one picture is enlarged at a time"),
        ({"image": b64(Image.new("L", (2049, 2049)))}, "image", "send at most 2048x2048"),
        ({"image": b64(Image.new("L", (1025, 1025))), "scale": 4}, "image", "send at most 1024x1024"),
    ],
)
def test_enlargements_have_bounds(fields: dict[str, Any], param: str, says: str) -> None:
    check_refusal(refusal(UPSCALE, **{"image": b64(quarters()), **fields}), param=param, says=says)


def test_a_models_own_limit_bounds_enlargements_too() -> None:
    limited = service(spec={"serving": {"limits": {"maxPixels": 10_000}}})

    check_refusal(refusal(UPSCALE, to=limited, image=b64(quarters())), param="image", says="send at most 50x50")
