"""The commands of the source systems' documentation, as it prints them.

LocalAI's docs/content/features/image-generation.md, GPUStack's docs/user-guide/image-generation-apis.md (v0.6) and
sd-api-server's README.md, ENDPOINTS.md and examples/. Prompts differ where the documentation's is no good example.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A documented command that draws pictures.

    Attributes:
        title: Which one it is.
        text: The command.
        size: Size of the pictures.
        errors: What the shell says on standard error.
    """

    title: str
    text: str
    size: tuple[int, int]
    errors: str = ""


LOCALAI = [
    Command(
        "minimal",
        """\
curl http://localhost:8080/v1/images/generations -H "Content-Type: application/json" -d '{
  "prompt": "A cute baby sea otter",
  "size": "256x256"
}'
""",
        (256, 256),
    ),
    Command(
        "negative prompt",
        """\
curl http://localhost:8080/v1/images/generations -H "Content-Type: application/json" -d '{
  "prompt": "((a cute baby sea otter)), [water], (((best quality))), colorful|((part of the head)), malformed, blurry",
  "size": "256x256"
}'
""",
        (256, 256),
    ),
    Command(
        "mode and step",
        """\
curl http://localhost:8080/v1/images/generations -H "Content-Type: application/json" -d '{
  "prompt": "A cute baby sea otter",
  "mode": 0,
  "step": 5,
  "size": "256x256"
}'
""",
        (256, 256),
    ),
    Command(
        "image upscaling",
        """\
curl http://localhost:8080/v1/images/upscale \\
  -F model=stable-diffusion-x4-upscaler \\
  -F scale=4 \\
  -F image=@input.png
""",
        (256, 256),
    ),
    Command(
        "text to image",
        """\
curl http://localhost:8080/v1/images/generations \\
    -H "Content-Type: application/json" \\
    -d '{
      "prompt": "<positive prompt>|<negative prompt>",
      "model": "animagine-xl",
      "step": 51,
      "size": "1024x1024"
    }'
""",
        (1024, 1024),
    ),
    Command(
        "image to image",
        """\
IMAGE_PATH=/path/to/your/image
(echo -n '{"file": "'; base64 $IMAGE_PATH; echo '", "prompt": "a sky background","size": "512x512","model":"stablediffusion-edit"}') |
curl -H "Content-Type: application/json" -d @-  http://localhost:8080/v1/images/generations
""",  # noqa: E501 - as it is printed
        (512, 512),
    ),
    Command(
        "image to image, line breaks and all",
        """\
IMAGE_PATH=/path/to/your/image
(echo -n '{"file": "'; base64 $IMAGE_PATH; echo '", "prompt": "a sky background","size": "512x512","model":"stablediffusion-edit"}') |
curl -H "Content-Type: application/json" --data-binary @-  http://localhost:8080/v1/images/generations
""",  # noqa: E501 - as it is printed
        (512, 512),
    ),
    Command(
        "depth to image",
        """\
(echo -n '{"file": "'; base64 ~/path/to/image.jpeg; echo '", "prompt": "a sky background","size": "512x512","model":"stablediffusion-depth"}') |
curl -H "Content-Type: application/json" -d @-  http://localhost:8080/v1/images/generations
""",  # noqa: E501 - as it is printed
        (512, 512),
    ),
]

KONTEXT = Command(
    "Flux Kontext",
    """\
curl http://localhost:8080/v1/images/generations -H "Content-Type: application/json" -d '{
  "model": "flux.1-kontext-dev",
  "prompt": "change 'flux.cpp' to 'LocalAI'",
  "size": "256x256",
  "ref_images": [
  \t"https://raw.githubusercontent.com/leejet/stable-diffusion.cpp/master/assets/flux/flux1-dev-q8_0.png"
  ]
}'
""",
    (256, 256),
)

ESRGAN = Command(
    "ESRGAN image upscaling",
    """\
curl http://localhost:8080/v1/images/upscale \\
  -F model=realesrgan-x4plus-anime-6b \\
  -F scale=4 \\
  -F image=@input.png
""",
    (256, 256),
)

IMG2VID = """\
(echo -n '{"file": "https://huggingface.co/datasets/huggingface/documentation-images/resolve/main/diffusers/svd/rocket.png?download=true","size": "512x512","model":"img2vid"}') |
curl -H "Content-Type: application/json" -X POST -d @- http://localhost:8080/v1/images/generations
"""  # noqa: E501 - as it is printed

TXT2VID = """\
(echo -n '{"prompt": "spiderman surfing","size": "512x512","model":"txt2vid"}') |
curl -H "Content-Type: application/json" -X POST -d @- http://localhost:8080/v1/images/generations
"""

SD_API_SERVER = [
    Command(
        "README: image generation",
        """\
  curl -X POST 'http://localhost:8080/v1/images/generations' \\
    --header 'Content-Type: application/json' \\
    --data '{
        "model": "sd-v1.4",
        "prompt": "A cute baby sea otter"
    }'
""",
        (256, 256),
    ),
    Command(
        "README: image editing",
        """\
  curl --location 'http://localhost:8080/v1/images/edits' \\
    --form 'image=@"otter.png"' \\
    --form 'prompt="A cute baby sea otter with blue eyes"'
""",
        (256, 256),
    ),
    Command(
        "ENDPOINTS: text to image",
        """\
  curl -X POST http://localhost:8080/v1/images/generations \\
  --header 'Content-Type: application/json' \\
  --data '{
    "model": "sd",
    "prompt": "A painting of a beautiful sunset over a calm lake.",
    "negative_prompt": "No people or animals in the image.",
    "n": 1,
    "cfg_scale": 7.0,
    "sample_method": "euler_a",
    "steps": 20,
    "size": "512x512",
    "seed": 42
  }'
""",
        (512, 512),
    ),
    Command(
        "ENDPOINTS: control net",
        """\
  curl --location 'http://localhost:10086/v1/images/generations' \\
  --form 'control_image=@"/path/control_image.png"' \\
  --form 'prompt="a person"' \\
  --form 'cfg_scale="7.0"' \\
  --form 'sample_method="euler_a"' \\
  --form 'steps="20"' \\
  --form 'size="512x512"' \\
  --form 'control_strength="0.9"' \\
  --form 'seed="42"'
""",
        (512, 512),
    ),
    Command(
        "ENDPOINTS: edit, whose last two lines are a command of their own",
        """\
curl --location 'http://localhost:8080/v1/images/edits' \\
--form 'image=@"/path/to/image.png"' \\
--form 'prompt="modern disney style"' \\
--form 'negative_prompt="no animals"' \\
--form 'n="1"' \\
--form 'height=512' \\
--form 'width=512' \\
--form 'cfg_scale=7.0' \\
--form 'sample_method="euler_a"' \\
--form 'steps="20"' \\
--form 'control_strength="0.9"' \\
--form 'seed="42"'
--form 'strength="0.75"' \\
--form 'response_format="url"'
""",
        (512, 512),
        errors="--form",
    ),
    Command(
        "examples: control net",
        """\
  curl --location 'http://localhost:10086/v1/images/generations' \\
  --form 'control_image=@"control_2.png"' \\
  --form 'prompt="a person, high quality, masterpiece, white dress, sun hat"' \\
  --form 'cfg_scale="7"' \\
  --form 'sample_method="euler_a"' \\
  --form 'steps="20"' \\
  --form 'seed="-1"'
""",
        (256, 256),
    ),
    Command(
        "examples: FLUX.1",
        """\
  curl -X POST 'http://localhost:8080/v1/images/generations' \\
    --header 'Content-Type: application/json' \\
    --data '{
        "model": "flux1-schnell",
        "prompt": "a lovely cat holding a sign says '\\''flux.cpp'\\''",
        "cfg_scale": 1.0,
        "sample_method": "euler",
        "steps": 20
    }'
""",
        (256, 256),
    ),
    Command(
        "examples: LoRA",
        """\
  curl -X POST 'http://localhost:8080/v1/images/generations' \\
    --header 'Content-Type: application/json' \\
    --data '{
        "model": "flux1-dev",
        "prompt": "4 marbles on a table each containing a a different element ,1 with soil and plants, 1 with sea waves, 1 with a raging fire, 1 with a tornado<lora:realism_lora_comfy_converted:1>",
        "cfg_scale": 1.0,
        "sample_method": "euler",
        "steps": 20
    }'
""",  # noqa: E501 - as it is printed
        (256, 256),
    ),
]

GPUSTACK_CREATE = """\
export GPUSTACK_API_KEY=your_api_key
curl http://your_gpustack_server_url/v1-openai/image/generate \\
    -H "Content-Type: application/json" \\
    -H "Authorization: Bearer $GPUSTACK_API_KEY" \\
    -d '{
        "n": 1,
        "response_format": "b64_json",
        "size": "512x512",
        "prompt": "A lovely cat",
        "quality": "standard",
        "stream": true,
        "stream_options": {
        "include_usage": true
        }
    }'
"""

GPUSTACK_ADVANCED = """\
curl http://your_gpustack_server_url/v1-openai/image/generate \\
    -H "Content-Type: application/json" \\
    -d '{
  "n": 1,
  "response_format": "b64_json",
  "size": "512x512",
  "prompt": "A lovely cat",
  "sampler": "euler",
  "schedule": "default",
  "seed": null,
  "cfg_scale": 4.5,
  "sample_steps": 20,
  "negative_prompt": "",
  "stream": true,
  "stream_options": {
    "include_usage": true
  }
}'
"""

GPUSTACK_EDIT = Command(
    "edit",
    """\
export GPUSTACK_API_KEY=your_api_key
curl http://your_gpustack_server_url/v1-openai/image/edit \\
    -H "Authorization: Bearer $GPUSTACK_API_KEY" \\
    -F image="@otter.png" \\
    -F mask="@mask.png" \\
    -F prompt="A lovely cat" \\
    -F n=1 \\
    -F size="512x512"
""",
    (512, 512),
)

GPUSTACK_EDIT_FIELDS = """\
curl http://your_gpustack_server_url/v1-openai/image/edit \\
    -F n=1 \\
    -F response_format=b64_json \\
    -F size=512x512 \\
    -F prompt="A lovely cat" \\
    -F image=@otter.png \\
    -F mask=@mask.png \\
    -F sampler=euler \\
    -F schedule=default \\
    -F seed=null \\
    -F cfg_scale=4.5 \\
    -F sample_steps=20 \\
    -F negative_prompt="" \\
    -F stream=true \\
    -F stream_options_include_usage=true
"""
