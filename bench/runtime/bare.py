"""The peer: what a script does that draws with diffusers and nothing else.

    python bench/runtime/bare.py '{"folder": ..., "pipeline": ..., "dtype": ..., "device": ..., ...}'

Each line of its input is an order: pictures to draw one call after the other, pictures in each call, and steps. It
answers each with a line of the seconds that drawing took, from the call until the last picture is a PNG file.
"""

import io
import json
import sys
import time

import diffusers
import torch


def main() -> None:
    settings = json.loads(sys.argv[1])
    pipeline = getattr(diffusers, settings["pipeline"]).from_pretrained(
        settings["folder"], dtype=getattr(torch, settings["dtype"]), local_files_only=True
    )
    pipeline.to(settings["device"])
    pipeline.set_progress_bar_config(disable=True)
    for order in sys.stdin:
        calls, pictures, steps = map(int, order.split())
        start = time.perf_counter()
        for seed in range(calls):
            generators = [torch.Generator().manual_seed(seed + number) for number in range(pictures)]
            images = pipeline(
                [settings["prompt"]] * pictures,
                num_inference_steps=steps,
                guidance_scale=settings["guidance"],
                width=settings["size"],
                height=settings["size"],
                generator=generators,
            ).images
            for image in images:
                image.save(io.BytesIO(), "PNG")
        print(time.perf_counter() - start, flush=True)


main()
