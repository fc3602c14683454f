"""The convolutional network that the autoencoder and the VAE share."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_COARSE = 96  # from this side on, cells of 4x4 instead of 2x2 pixels
_SLOPE, _SCALE = 0.1, 4.0
_GRID = 7  # the largest side of the grid before the code


class ConvolutionalAutoencoder(nn.Module):
    """Encodes images as `2 * width` numbers, too few to restore what no normal image shows.

    It reads and writes cells of 2x2 pixels, of 4x4 in larger images, and halves its grid of cells
    until at most 7 are left on a side. Images of sides that are no multiple of a cell are padded.
    What is encoded and decoded is the difference from the mean of normal images.

    Args:
        shape: (C, H, W) of the images.
        width: channels of the first stage; later ones have up to four times as many.
        parts: how many tensors of the shape of the code the encoder returns.
        maps: how many tensors of the shape of the images the decoder returns.
    """

    mean: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int,
        parts: int = 1,
        maps: int = 1,
    ) -> None:
        super().__init__()
        channels, height, width_of_image = shape
        self.parts, self.maps, self.size = parts, maps, (height, width_of_image)
        cell = self.cell = 2 if max(self.size) < _COARSE else 4
        grid, wide, pixels = [ceil(side / cell) for side in self.size], width, cell**2 * channels
        down: list[nn.Module] = [nn.PixelUnshuffle(cell), nn.Conv2d(pixels, wide, 3, 1, 1), _bent()]
        up: list[nn.Module] = [nn.Conv2d(wide, maps * pixels, 3, 1, 1)]
        while max(grid) > _GRID and min(grid) > 1:
            wider = min(4 * width, 2 * wide)
            down += [nn.Conv2d(wide, wider, 4, 2, 1), _bent()]
            up = [nn.Upsample(tuple(grid)), nn.Conv2d(wider, wide, 3, 1, 1), _bent(), *up]
            grid, wide = [side // 2 for side in grid], wider
        numbers, code = wide * grid[0] * grid[1], 2 * width
        self.down = nn.Sequential(*down, nn.Flatten(), nn.Linear(numbers, parts * code))
        unflatten = nn.Unflatten(1, (wide, grid[0], grid[1]))
        self.up = nn.Sequential(nn.Linear(code, numbers), _bent(), unflatten, *up)
        self.register_buffer("mean", torch.zeros(shape))
        self.apply(_initialise)
        nn.init.zeros_(self.up[-1].weight)  # type: ignore[arg-type]

    def fit_statistics(self, normal: Tensor) -> None:
        """Set the mean image, of normal images (N, C, H, W) in [0, 1]."""
        self.mean = normal.mean(0)

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) images in [0, 1] to `parts` codes (N, 2 width)."""
        height, width = (-side % self.cell for side in self.size)
        scaled = _SCALE * (images - self.mean)
        padded = F.pad(scaled, (0, width, 0, height), mode="replicate")
        codes: Tensor = self.down(padded)
        return codes.chunk(self.parts, 1)

    def decode(self, codes: Tensor) -> tuple[Tensor, ...]:
        """(N, 2 width) codes to `maps` tensors (N, C, H, W), the first of which is the image."""
        decoded = F.pixel_shuffle(self.up(codes), self.cell)
        first, *others = decoded[..., : self.size[0], : self.size[1]].chunk(self.maps, 1)
        return self.mean + first, *others


def _bent() -> nn.Module:
    return nn.LeakyReLU(_SLOPE)


def _initialise(module: nn.Module) -> None:
    """He et al. 2015; the default of torch lets signals fade in a network without normalisation."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, _SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
