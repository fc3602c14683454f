"""Canvas: between the images of a detector and the latents of a backbone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone

# The latents of a soft mask are edited in part already; painted in part again, two images would
# shine through each other.
_OPEN = 4


@dataclass(frozen=True, eq=False)
class Canvas:
    """Some images, and their latents; edits of the latents are painted back onto the images.

    What the autoencoder loses of an image is not lost in its edit: only the difference between the
    decoded edit and the decoded original is added, and only where the mask allows.

    Attributes:
        backbone: encodes and decodes.
        images: (N, C, H, W) float in [0, 1], of any size, grey or RGB.
        latents: (N, L, h, w).
        decoded: (N, 3, H', W') what the backbone makes of the unedited latents.
        is_draft: whether it is the backbone's tiny decoder that decodes.
    """

    backbone: LatentBackbone
    images: Tensor
    latents: Tensor
    decoded: Tensor
    is_draft: bool = False

    @classmethod
    @torch.no_grad()
    def of(cls, backbone: LatentBackbone, images: Tensor) -> Canvas:
        """Encode images at the size that the backbone was trained with."""
        images = images.to(backbone.device)
        given = _resized(images.expand(-1, 3, -1, -1), backbone.size).clamp(0, 1)
        latents = backbone.encode(given)
        return cls(backbone, images, latents, backbone.decode(latents))

    def __getitem__(self, rows: slice | Tensor) -> Canvas:
        """The same of some of the images."""
        chosen = (self.images[rows], self.latents[rows], self.decoded[rows])
        return Canvas(self.backbone, *chosen, self.is_draft)

    @torch.no_grad()
    def draft(self) -> Canvas:
        """The same by the tiny decoder, for gradients alone; itself where there is none."""
        if self.backbone.tiny is None:
            return self
        drafted = self.backbone.draft(self.latents)
        return Canvas(self.backbone, self.images, self.latents, drafted, True)

    def paint(self, edited: Tensor, mask: Tensor) -> Tensor:
        """(N, K, C, H, W) images in [0, 1] of edited latents (N, K, L, h, w); with a gradient.

        Args:
            edited: the latents.
            mask: (N, 1, h, w) in [0, 1]; where it is 0, an image stays exactly as it is.
        """
        count, concepts = edited.shape[:2]
        decode = self.backbone.draft if self.is_draft else self.backbone.decode
        decoded = decode(edited.flatten(0, 1))
        change = decoded.unflatten(0, (count, concepts)) - self.decoded[:, None]
        open_to = F.interpolate(
            (_OPEN * mask).clamp_max(1), change.shape[-2:], mode="bilinear", align_corners=False
        )
        change = (change * open_to[:, None]).flatten(0, 1)
        change = _resized(change, self.images.shape[-2:])
        if self.images.shape[1] == 1:
            change = change.mean(1, keepdim=True)
        return (self.images[:, None] + change.unflatten(0, (count, concepts))).clamp(0, 1)


def _resized(images: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, tuple(size), mode="bilinear", align_corners=False, antialias=True)
