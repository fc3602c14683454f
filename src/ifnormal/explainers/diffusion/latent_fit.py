"""The training of the latent generator G′, readable from top to bottom.

The objective is the pixel generator's (`ifnormal.training.objective`), with three differences:

- The cycle leads back to DiffEdit's edit of the image, not through DiffEdit to the image itself.
- G′ keeps DiffEdit's edit when it is asked for the score of the image. If it kept it for the score
  of the edit, which mostly is near 0 already, α = 0 would ask it to change nothing.
- Concepts are told apart by the pixels of the decoded images, in 8 bit, at half the resolution and
  under noise. Latents may differ in ways that nobody sees.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.compute import channels_last, make_fabric
from ifnormal.common.pixels import to_float
from ifnormal.config.diffusion import LatentConfig
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.latent_generator import LatentGenerator
from ifnormal.explainers.diffusion.latent_images import LatentImages
from ifnormal.training import objective
from ifnormal.training.networks.concept_classifier import PixelConceptClassifier
from ifnormal.training.networks.discriminator import Discriminator
from ifnormal.training.stage import Player, Stage, train


def fit_latent_generator(
    backbone: LatentBackbone,
    detector: Detector,
    normal: Tensor,
    outliers: Tensor,
    prompt: str,
    config: LatentConfig,
    seed: int,
    folder: Path | None = None,
    resume: bool = False,
    source: str = "",
) -> LatentGenerator:
    """Train G′ against a frozen detector and a frozen backbone.

    Args:
        backbone: encodes and decodes; its DiffEdit is what G′ starts from.
        detector: with a gradient.
        normal: (N, C, H, W) uint8 normal images.
        outliers: (M, C, H, W) uint8 images that the detector flags.
        prompt: what normal images are called.
        config: everything else.
        seed: makes the run repeatable.
        folder: losses and checkpoints go here.
        resume: go on from the checkpoint in `folder`.
        source: what the images to explain are called, if they have a name.

    Raises:
        DivergenceError: a loss became NaN or infinite.
        UserError: the checkpoint is damaged or of something else.
    """
    fabric = make_fabric()
    backbone = backbone.to(fabric.device)
    prompts = prompt, source
    images = LatentImages.prepare(backbone, detector, normal, outliers, prompts, config)
    torch.manual_seed(seed)
    losses = _Losses(backbone, detector, images, config)
    betas = (0.5, 0.99)
    learners = {"generator": losses.generator, "classifier": losses.classifier}
    stage = Stage(
        "latent generator",
        (
            Player(learners, losses.generator_loss, betas),
            Player({"critic": losses.discriminator}, losses.discriminator_loss, betas),
        ),
        config.steps,
        config.learning_rate,
        config.ema,
        config.checkpoint_every,
        {"seed": seed, "config": _comparable(config), **images.digests()},
    )
    averaged = train(stage, fabric, seed, folder, resume)["generator"]
    assert isinstance(averaged, LatentGenerator)
    return averaged.cpu().eval()


def latent_generator(backbone: LatentBackbone, config: LatentConfig) -> LatentGenerator:
    """An untrained G′ for the latents of a backbone."""
    return LatentGenerator(backbone.vae.config.latent_channels, config.concepts, config.width)


@dataclass(frozen=True, eq=False)
class _Edits:
    """What the generator made in a step, for the discriminator to learn from."""

    latents: Tensor  # (B·K, L, h, w)
    targets: Tensor  # (B·K,)
    modes: Tensor  # (B·K, K)


class _Losses:
    """The three networks, and the losses of the two players that take turns at a step.

    Rows of a batch run over images first: row i·K + k is image i in concept k.
    """

    def __init__(
        self,
        backbone: LatentBackbone,
        detector: Detector,
        images: LatentImages,
        config: LatentConfig,
    ) -> None:
        self._backbone, self._detector, self._images = backbone, detector, images
        self._config, self._device = config, backbone.device
        channels, cells = images.latents.shape[1], max(images.latents.shape[2:])
        concepts, width = config.concepts, config.discriminator_width
        generator = latent_generator(backbone, config)
        discriminator = Discriminator(channels, concepts, width, cells)
        classifier = PixelConceptClassifier(3, concepts, config.concept_noise)
        self.generator, self.discriminator, self.classifier = (
            net.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            for net in (generator, discriminator, classifier)
        )
        self._edits: _Edits | None = None

    def generator_loss(self, random: torch.Generator) -> Tensor:
        """The loss of G′ and the concept classifier R, on a batch that it draws."""
        images, weights, concepts = self._images, self._config.weights, self._config.concepts
        rows = images.draw(self._config.batch_size, self._config.moved_share, random)
        each = rows.repeat_interleave(concepts)
        concept = torch.arange(concepts).repeat(len(rows)).to(self._device)
        target = _targets(images.scores[rows], random).repeat_interleave(concepts)
        target, own = target.to(self._device), images.own[each].to(self._device)
        start = images.edited[each].to(self._device)
        made = self.generator(channels_last(start), target, concept)
        pictures = images.canvas(rows, self._backbone).paint(
            made.float().unflatten(0, (-1, concepts)), images.mask[rows].to(self._device)
        )
        log_odds, _ = self._detector.inspect(channels_last(pictures.flatten(0, 1)))
        modes = torch.full((len(made), concepts), 1 / concepts, device=self._device)
        self._edits = _Edits(made.detach(), target, modes)
        realness = self._realness(made, target, modes)
        back, same = self.generator(
            channels_last(torch.cat([made, start])),
            torch.cat([own, own]),
            torch.cat([concept, concept]),
        ).chunk(2)
        loss = (
            weights.score * objective.score_loss(log_odds.float(), target)
            + weights.gan * objective.generator_loss(realness, "linear")
            + weights.cycle * objective.reconstruction_loss(start, back.float())
            + weights.reconstruction * objective.reconstruction_loss(start, same.float())
            + weights.minimality * objective.reconstruction_loss(start, made.float())
        )
        if concepts == 1:
            return loss
        logits = self._concept_logits(to_float(images.images[rows]), pictures, random)
        loss = loss + weights.concept * objective.concept_loss(logits, concept)
        return loss + weights.diversity * self._diversity_loss(pictures)

    def discriminator_loss(self, random: torch.Generator) -> Tensor:
        """The loss of D, on latents of normal images and on the edits of the generator's step."""
        edits, images = self._edits, self._images
        assert edits is not None
        rows = torch.randint(len(images.images), (len(edits.latents),), generator=random)
        rows = rows % images.normal  # normal ones only
        realness = self.discriminator(
            torch.cat([images.latents[rows].to(self._device), edits.latents]),
            torch.cat([images.own[rows].to(self._device), edits.targets]),
            torch.cat([edits.modes, edits.modes]),
        ).float()
        real, generated = realness.chunk(2)
        return objective.discriminator_loss(real, generated)

    def _realness(self, made: Tensor, target: Tensor, modes: Tensor) -> Tensor:
        """D of edits, for the generator's step: no gradient to D's weights, no power iteration."""
        self.discriminator.eval().requires_grad_(False)
        realness: Tensor = self.discriminator(made, target, modes).float()
        self.discriminator.train().requires_grad_(True)
        return realness

    def _concept_logits(self, images: Tensor, pictures: Tensor, random: torch.Generator) -> Tensor:
        """R's logits (B·K, K) of the pairs of images (B, C, H, W) and their edits."""
        after = _visible(pictures)
        before = _visible(images.to(self._device)[:, None]).expand_as(after)
        logits: Tensor = self.classifier(before.flatten(0, 1), after.flatten(0, 1), random)
        return logits

    def _diversity_loss(self, pictures: Tensor) -> Tensor:
        """How alike edits (B, K, C, H, W) of the same image in two concepts are."""
        # Not rounded: no gradient would lead images apart that round to the same.
        small = _halved(pictures)
        pairs = list(combinations(range(self._config.concepts), 2))
        return objective.diversity_loss(
            torch.cat([small[:, a] for a, _ in pairs]),
            torch.cat([small[:, b] for _, b in pairs]),
            self._config.diversity_margin,
        )


def _targets(scores: Tensor, random: torch.Generator) -> Tensor:
    """(B,) targets α: 0 for half of the images, between 0 and DiffEdit's score for the others."""
    share = torch.rand(len(scores), generator=random)
    zero = torch.rand(len(scores), generator=random) < 0.5
    return torch.where(zero, 0.0, share * scores)


def _visible(images: Tensor) -> Tensor:
    """(N, K, C, H, W) images as R sees them: RGB, 8 bit, at half the resolution.

    Rounding lets the gradient through.
    """
    half = _halved(images)
    rounded = (half * 255).round() / 255
    return (half + (rounded - half).detach()).expand(-1, -1, 3, -1, -1)


def _halved(images: Tensor) -> Tensor:
    """(N, K, C, H, W) images at half the resolution."""
    return F.avg_pool2d(images.flatten(0, 1), 2).unflatten(0, images.shape[:2])


def _comparable(config: LatentConfig) -> dict[str, object]:
    """The configuration as JSON would give it back, without what does not change the result."""
    saved = asdict(config)
    del saved["checkpoint_every"]
    return saved
