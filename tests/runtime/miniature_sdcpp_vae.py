"""The autoencoder of Stable Diffusion and of FLUX.1 for stable-diffusion.cpp: real sizes, and most layers empty."""

from runtime.miniature_sdcpp_files import Weights
from runtime.miniature_sdcpp_layers import Layers

_WIDTHS = (128, 256, 512, 512)
_PREFIX = "first_stage_model."


def vae(latent_channels: int, *, quantizes: bool = True) -> Weights:
    """Return an autoencoder of which only the layers are not empty that residual connections do not lead around.

    With `quantizes`, it has the convolutions next to the latents that Stable Diffusion has and FLUX.1 has not.
    """
    layers = Layers(seed=10, drawn=("coder.conv_", "sample.", "nin_shortcut.", "quant_conv."))
    _encoder(layers, f"{_PREFIX}encoder", latent_channels)
    _decoder(layers, f"{_PREFIX}decoder", latent_channels)
    if quantizes:
        layers.conv(f"{_PREFIX}quant_conv", 2 * latent_channels, 2 * latent_channels, 1)
        layers.conv(f"{_PREFIX}post_quant_conv", latent_channels, latent_channels, 1)
    return layers.weights


def _encoder(layers: Layers, name: str, latent_channels: int) -> None:
    layers.conv(f"{name}.conv_in", 3, _WIDTHS[0])
    width = _WIDTHS[0]
    for level, outputs in enumerate(_WIDTHS):
        for index in range(2):
            _resnet(layers, f"{name}.down.{level}.block.{index}", width, outputs)
            width = outputs
        if level < len(_WIDTHS) - 1:
            layers.conv(f"{name}.down.{level}.downsample.conv", width, width)
    _middle(layers, name)
    layers.norm(f"{name}.norm_out", width)
    layers.conv(f"{name}.conv_out", width, 2 * latent_channels)


def _decoder(layers: Layers, name: str, latent_channels: int) -> None:
    width = _WIDTHS[-1]
    layers.conv(f"{name}.conv_in", latent_channels, width)
    _middle(layers, name)
    for level in reversed(range(len(_WIDTHS))):
        for index in range(3):
            _resnet(layers, f"{name}.up.{level}.block.{index}", width, _WIDTHS[level])
            width = _WIDTHS[level]
        if level:
            layers.conv(f"{name}.up.{level}.upsample.conv", width, width)
    layers.norm(f"{name}.norm_out", width)
    layers.conv(f"{name}.conv_out", width, 3)


def _middle(layers: Layers, name: str) -> None:
    width = _WIDTHS[-1]
    _resnet(layers, f"{name}.mid.block_1", width, width)
    layers.norm(f"{name}.mid.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        layers.conv(f"{name}.mid.attn_1.{part}", width, width, 1)
    _resnet(layers, f"{name}.mid.block_2", width, width)


def _resnet(layers: Layers, name: str, inputs: int, outputs: int) -> None:
    layers.norm(f"{name}.norm1", inputs)
    layers.conv(f"{name}.conv1", inputs, outputs)
    layers.norm(f"{name}.norm2", outputs)
    layers.conv(f"{name}.conv2", outputs, outputs)
    if inputs != outputs:
        layers.conv(f"{name}.nin_shortcut", inputs, outputs, 1)
