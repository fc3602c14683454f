"""LatentImages: what the latent generator G′ is trained on, computed once before the training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ifnormal.common.pixels import to_float
from ifnormal.config.diffusion import LatentConfig
from ifnormal.detectors.detector import Detector, device_of
from ifnormal.detectors.fingerprint import digest
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.diffedit import diffedit
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone

_BATCH = 128


@dataclass(frozen=True, eq=False)
class LatentImages:
    """Normal images followed by outliers, what DiffEdit makes of them, and the scores of both.

    Attributes:
        images: (N, C, H, W) uint8.
        normal: how many of them, from the start, are normal.
        latents: (N, L, h, w), as encoded.
        decoded: (N, 3, H', W'), the latents as they are decoded during the training.
        edited: (N, L, h, w), the latents of DiffEdit's edits.
        mask: (N, 1, h, w) of these edits.
        scores: (N,) of DiffEdit's edits.
        own: (N,) of the images themselves.
    """

    images: Tensor
    normal: int
    latents: Tensor
    decoded: Tensor
    edited: Tensor
    mask: Tensor
    scores: Tensor
    own: Tensor

    @classmethod
    @torch.no_grad()
    def prepare(
        cls,
        backbone: LatentBackbone,
        detector: Detector,
        normal: Tensor,
        outliers: Tensor,
        prompts: tuple[str, str],
        config: LatentConfig,
    ) -> LatentImages:
        """Encode, edit by DiffEdit and score images.

        Args:
            backbone: encodes, edits and decodes.
            detector: scores.
            normal: (N, C, H, W) uint8; at most `config.images` of them are used.
            outliers: (M, C, H, W) uint8; likewise.
            prompts: what normal images are called, and what the images to explain are called.
            config: the settings of DiffEdit.
        """
        normal, outliers = _thinned(normal, config.images), _thinned(outliers, config.images)
        images = torch.cat([normal, outliers])
        found: dict[str, list[Tensor]] = {}
        device = device_of(detector)
        for part in images.split(min(_BATCH, backbone.limits.images)):
            canvas = Canvas.of(backbone, to_float(part))
            edit = diffedit(backbone, canvas.latents, *prompts, config.diffedit)
            painted = canvas.paint(edit.edited, edit.mask)[:, 0]
            for name, value in (
                ("latents", canvas.latents),
                ("decoded", canvas.draft().decoded),
                ("edited", edit.edited[:, 0]),
                ("mask", edit.mask),
                ("scores", detector.inspect(painted.to(device))[0].sigmoid()),
                ("own", detector.inspect(to_float(part).to(device))[0].sigmoid()),
            ):
                found.setdefault(name, []).append(value.float().cpu())
        return cls(images, len(normal), **{name: torch.cat(v) for name, v in found.items()})

    def digests(self) -> dict[str, str]:
        """What tells these images, and what the detector says of them, from others."""
        return {
            "images": digest({"images": self.images, "edited": self.edited}),
            "detector": digest({"scores": self.scores, "own": self.own}),
        }

    def draw(self, count: int, outlier_share: float, random: torch.Generator) -> Tensor:
        """Random rows (count,), each of an outlier with the chance `outlier_share`."""
        is_outlier = torch.rand(count, generator=random) < outlier_share
        place = torch.rand(count, generator=random)
        outlier = self.normal + (place * (len(self.images) - self.normal)).long()
        return torch.where(is_outlier, outlier, (place * self.normal).long())

    def canvas(self, rows: Tensor, backbone: LatentBackbone) -> Canvas:
        """Some of the images, for edits to be painted on with a gradient."""
        device = backbone.device
        return Canvas(
            backbone,
            to_float(self.images[rows]).to(device),
            self.latents[rows].to(device),
            self.decoded[rows].to(device),
            backbone.tiny is not None,
        )


def _thinned(images: Tensor, count: int) -> Tensor:
    """At most `count` of the images, evenly spaced."""
    return images[:: -(-len(images) // count)]
