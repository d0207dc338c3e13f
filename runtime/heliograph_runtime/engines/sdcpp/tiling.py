"""Tiles that the VAE works in: LocalAI documents them in pixels, and the library counts places of the latents."""

from dataclasses import dataclass

_OWN = 32
"""Places along the side of a tile where no option says (`get_tile_sizes` in `vae.hpp`)."""
_SMALLEST = 4
"""Places along the side of the smallest tile; of a smaller one the library takes its own instead."""
_PIXELS_FROM = 128
"""A side from which a size must be in pixels: so many latents are a tile of 1024 pixels at least."""
_MOST = 65_536


@dataclass(frozen=True)
class Tiling:
    """The VAE's tiles.

    Attributes:
        size: Width and height as the option has them; None for the library's own.
        overlap: Part of a tile that overlaps the next, 0 to 0.5.
    """

    size: tuple[int, int] | None
    overlap: float

    def latents(self, latent_pixels: int) -> tuple[int, int]:
        """Return the width and the height of a tile in places of the latents.

        Args:
            latent_pixels: Pixels along the side of such a place.
        """
        if self.size is None:
            return _OWN, _OWN
        unit = latent_pixels if max(self.size) >= _PIXELS_FROM else 1
        width, height = self.size
        return max(width // unit, _SMALLEST), max(height // unit, _SMALLEST)

    def pixels(self, latent_pixels: int) -> tuple[int, int]:
        """Return them in pixels; see `latents`."""
        width, height = self.latents(latent_pixels)
        return width * latent_pixels, height * latent_pixels


def read_tile_size(text: str) -> tuple[int, int]:
    """Return the size that `512` or `512x384` says; raise `ValueError` for any other text."""
    width, x, height = text.partition("x")
    size = int(width), int(height if x else width)
    if not all(1 <= side <= _MOST for side in size):
        raise ValueError(text)
    return size
