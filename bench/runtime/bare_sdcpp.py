"""The peer for stable-diffusion.cpp: what a script does that draws with the binding's own class and nothing else.

    python bench/runtime/bare_sdcpp.py '{"paths": ..., "threads": ..., "prompt": ..., "size": ..., "guidance": ...}'

It takes the orders of `bare.py`, and answers them as that does. Several pictures in a call are the library's own batch.
"""

import io
import json
import sys
import time

from stable_diffusion_cpp import StableDiffusion


def main() -> None:
    settings = json.loads(sys.argv[1])
    model = StableDiffusion(**settings["paths"], n_threads=settings["threads"], verbose=False)
    for order in sys.stdin:
        calls, pictures, steps = map(int, order.split())
        start = time.perf_counter()
        for seed in range(calls):
            images = model.generate_image(
                settings["prompt"],
                width=settings["size"],
                height=settings["size"],
                cfg_scale=1.0,
                guidance=settings["guidance"],
                sample_method="euler",
                sample_steps=steps,
                seed=seed,
                batch_count=pictures,
            )
            for image in images:
                image.save(io.BytesIO(), "PNG")
        print(time.perf_counter() - start, flush=True)


main()
