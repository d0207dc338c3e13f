"""What a runtime says that a request used, with the tiny model's real weights."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from heliograph_api.usage import COMMENT_START, USAGE_HEADER, Usage, parse_comment, parse_usage
from runtime.conftest import StartRuntime
from runtime.runtimes import DRAWING_SECONDS, LONG, Runtime, pictures

PROMPT = "a red circle on a white background"


@pytest.fixture(scope="module")
def own(start_runtime: StartRuntime) -> Runtime:
    """A runtime whose metrics nobody else's requests change."""
    return start_runtime()


def used(response: httpx.Response) -> Usage:
    assert response.status_code == 200, response.text
    usage = parse_usage(response.headers[USAGE_HEADER])
    assert usage
    return usage


def test_a_picture_is_told_with_the_steps_that_it_took(runtime: Runtime) -> None:
    response = runtime.post(prompt=PROMPT, steps=7, size="64x64")
    usage = used(response)
    assert (usage.images, usage.pixels, usage.steps, usage.gpu_seconds) == (1, 64 * 64, 7, 0.0)
    assert 0 < usage.seconds < response.elapsed.total_seconds()


def test_several_pictures_add_up(runtime: Runtime) -> None:
    response = runtime.post(prompt=PROMPT, n=3, steps=4, size="64x128")
    usage = used(response)
    assert (usage.images, usage.pixels, usage.steps) == (3, 3 * 64 * 128, 12)
    assert 0 < usage.seconds < response.elapsed.total_seconds()
    assert len(pictures(response)) == 3


def test_a_part_of_the_steps_is_what_a_changed_picture_takes(runtime: Runtime) -> None:
    start = runtime.post(prompt=PROMPT, steps=4, size="64x64").json()["data"][0]["b64_json"]
    usage = used(runtime.post(prompt=PROMPT, image=start, strength=0.5, steps=8, size="64x64"))
    assert (usage.images, usage.steps) == (1, 4)


def test_an_enlargement_takes_no_step(runtime: Runtime) -> None:
    start = runtime.post(prompt=PROMPT, steps=4, size="64x64").json()["data"][0]["b64_json"]
    response = runtime.post_to("/v1/images/upscale", json={"image": start, "upscale": 2})
    (picture,) = pictures(response)
    assert used(response) == Usage(images=1, pixels=picture.width * picture.height)


@pytest.mark.parametrize("dialect", [{}, {"stream_format": "image.chunk"}])
def test_a_stream_tells_before_each_picture_what_was_used_so_far(runtime: Runtime, dialect: dict[str, str]) -> None:
    response = runtime.post(prompt=PROMPT, n=2, steps=4, size="64x64", stream=True, **dialect)
    blocks = response.content.split(b"\n\n")
    told = [parse_comment(block) for block in blocks if block.startswith(COMMENT_START)]
    assert [usage and (usage.images, usage.steps) for usage in told] == [(1, 4), (2, 8)]
    assert USAGE_HEADER not in response.headers
    places = [number for number, block in enumerate(blocks) if block.startswith(COMMENT_START)]
    for place in places:
        assert b"b64_json" in blocks[place + 1]


def test_requests_that_are_drawn_together_share_the_time(own: Runtime) -> None:
    before = own.metric("work_seconds_total")
    with ThreadPoolExecutor(9) as executor:
        # What is sent while the first is at work waits, and is drawn in one call.
        first = own.start(executor, prompt=PROMPT, steps=200, size="64x64", seed=1)
        others = [executor.submit(own.post, prompt=PROMPT, steps=20, size="64x64", seed=number) for number in range(4)]
        usages = [used(answer.result()) for answer in (first, *others)]
    worked = own.metric("work_seconds_total") - before
    assert sum(usage.seconds for usage in usages) == pytest.approx(worked, rel=0.02)
    assert own.metric("batch_images_sum") - own.metric("batch_images_count") > 0
    assert [usage.steps for usage in usages] == [200, 20, 20, 20, 20]


def test_what_nobody_waits_for_is_counted_by_the_runtime_alone(own: Runtime) -> None:
    before = {name: own.metric(f"{name}_total") for name in ("work_seconds", "steps", "images", "pixels")}
    with own.left(**LONG):
        pass
    own.wait_busy(False)
    assert own.metric("work_seconds_total") > before["work_seconds"]
    assert own.metric("steps_total") > before["steps"]
    assert own.metric("images_total") == before["images"]
    assert own.metric("gpu_seconds_total") == 0
    used(own.post(prompt=PROMPT, steps=4, size="64x64"))
    assert own.metric("pixels_total") == before["pixels"] + 64 * 64


def test_a_refused_request_tells_no_usage(runtime: Runtime) -> None:
    response = httpx.post(
        f"{runtime.url}/v1/images/generations", json={"prompt": ""}, timeout=DRAWING_SECONDS, trust_env=False
    )
    assert response.status_code == 400
    assert USAGE_HEADER not in response.headers
