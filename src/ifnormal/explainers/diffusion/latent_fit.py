"""The training of the latent generator G′, readable from top to bottom.

The objective is the pixel generator's (`ifnormal.objective`), with three differences. The cycle
acts on G′ alone: it leads back to what DiffEdit made, not through DiffEdit to the image. Asked for
the score that the image had, G′ is likewise to keep DiffEdit's output; were it asked for the score
of that output, which mostly is near 0 already, this would forbid what α = 0 asks of it. And
concepts are told apart by what can be seen: the pixels of the decoded images, in 8 bit, at half the
resolution and under noise; in latents, invisible differences would do.
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
from ifnormal.detectors.detector import Detector, device_of
from ifnormal.detectors.fingerprint import digest
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.diffedit import diffedit
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.latent_generator import LatentGenerator
from ifnormal.training import objective
from ifnormal.training.networks.concept_classifier import PixelConceptClassifier
from ifnormal.training.networks.discriminator import Discriminator
from ifnormal.training.stage import Player, Stage, train

_ENCODED = 128


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What is computed once: DiffEdit's latents of every training image, and their scores."""

    images: Tensor  # (N, C, H, W) uint8
    latents: Tensor  # (N, L, h, w) as encoded
    decoded: Tensor  # (N, 3, H', W') as decoded again, as edits will be in the training
    edited: Tensor  # (N, L, h, w) by DiffEdit
    mask: Tensor  # (N, 1, h, w)
    scores: Tensor  # (N,) of the image that DiffEdit made
    own: Tensor  # (N,) of the image
    normal: int  # the first of them are normal


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
    normal, outliers = _evenly(normal, config.images), _evenly(outliers, config.images)
    images, words = torch.cat([normal, outliers]), (prompt, source)
    ready = _prepare(backbone, detector, images, len(normal), words, config)
    torch.manual_seed(seed)
    channels, concepts, weights = ready.latents.shape[1], config.concepts, config.weights
    cells = max(ready.latents.shape[2:])
    generator = latent_generator(backbone, config)
    critic = Discriminator(channels, concepts, config.discriminator_width, cells)
    classifier = PixelConceptClassifier(3, concepts, config.concept_noise)
    nets = (generator, critic, classifier)
    generator, critic, classifier = (
        net.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for net in nets
    )
    told: dict[str, Tensor] = {}  # what the generator made, for the discriminator's step

    def generator_loss(random: torch.Generator) -> Tensor:
        rows = _draw(ready, config, random)
        repeated = rows.repeat_interleave(concepts)
        concept = torch.arange(concepts).repeat(len(rows)).to(fabric.device)
        target = _targets(ready.scores[rows], random).repeat_interleave(concepts)
        target = target.to(fabric.device)
        start, stay = ready.edited[repeated], ready.own[repeated].to(fabric.device)
        made = generator(channels_last(start.to(fabric.device)), target, concept)
        start = start.to(fabric.device)
        pictures = _canvas(backbone, ready, rows).paint(
            made.float().unflatten(0, (-1, concepts)), ready.mask[rows].to(fabric.device)
        )
        flat = pictures.flatten(0, 1)
        log_odds, _ = detector.inspect(channels_last(flat))
        modes = torch.full((len(made), concepts), 1 / concepts, device=fabric.device)
        critic.eval().requires_grad_(False)
        realness = critic(made, target, modes).float()
        critic.train().requires_grad_(True)
        told.update(made=made.detach(), target=target, modes=modes)
        both = torch.cat([made, start])
        back, same = generator(
            channels_last(both), torch.cat([stay, stay]), torch.cat([concept, concept])
        ).chunk(2)
        total = (
            weights.score * objective.score_loss(log_odds.float(), target)
            + weights.gan * objective.generator_loss(realness, "linear")
            + weights.cycle * objective.reconstruction_loss(start, back.float())
            + weights.reconstruction * objective.reconstruction_loss(start, same.float())
            + weights.minimality * objective.reconstruction_loss(start, made.float())
        )
        if concepts > 1:
            seen = _visible(pictures)
            before = _visible(to_float(ready.images[rows]).to(fabric.device)[:, None])
            logits = classifier(before.expand_as(seen).flatten(0, 1), seen.flatten(0, 1), random)
            total = total + weights.concept * objective.concept_loss(logits, concept)
            # Not rounded: images that round to the same would have nothing to lead them apart.
            small = _halved(pictures)
            pairs = list(combinations(range(concepts), 2))
            total = total + weights.diversity * objective.diversity_loss(
                torch.cat([small[:, a] for a, _ in pairs]),
                torch.cat([small[:, b] for _, b in pairs]),
                config.diversity_margin,
            )
        return total

    def critic_loss(random: torch.Generator) -> Tensor:
        real = torch.randint(len(ready.images), (len(told["made"]),), generator=random)
        normal_rows = real % ready.normal
        scores = ready.own[normal_rows].to(fabric.device)
        realness = critic(
            torch.cat([ready.latents[normal_rows].to(fabric.device), told["made"]]),
            torch.cat([scores, told["target"]]),
            torch.cat([told["modes"], told["modes"]]),
        ).float()
        first, second = realness.chunk(2)
        return objective.discriminator_loss(first, second)

    stage = Stage(
        "latent generator",
        (
            Player({"generator": generator, "classifier": classifier}, generator_loss, (0.5, 0.99)),
            Player({"critic": critic}, critic_loss, (0.5, 0.99)),
        ),
        config.steps,
        config.learning_rate,
        config.ema,
        config.checkpoint_every,
        {
            "seed": seed,
            "config": _comparable(config),
            "images": digest({"images": ready.images, "edited": ready.edited}),
            "detector": digest({"scores": ready.scores, "own": ready.own}),
        },
    )
    averaged = train(stage, fabric, seed, folder, resume)["generator"]
    assert isinstance(averaged, LatentGenerator)
    return averaged.cpu().eval()


def latent_generator(backbone: LatentBackbone, config: LatentConfig) -> LatentGenerator:
    """An untrained G′ for the latents of a backbone."""
    return LatentGenerator(backbone.vae.config.latent_channels, config.concepts, config.width)


@torch.no_grad()
def _prepare(
    backbone: LatentBackbone,
    detector: Detector,
    images: Tensor,
    normal: int,
    words: tuple[str, str],
    config: LatentConfig,
) -> _Prepared:
    """Encode, DiffEdit and score all training images; `words` are what shall be and what is."""
    found: dict[str, list[Tensor]] = {}
    device = device_of(detector)
    for part in images.split(min(_ENCODED, backbone.bounds.images)):
        canvas = Canvas.of(backbone, to_float(part))
        edit = diffedit(backbone, canvas.latents, *words, config.diffedit)
        made = canvas.paint(edit.edited, edit.mask)[:, 0]
        for name, value in (
            ("latents", canvas.latents),
            ("decoded", canvas.draft().decoded),
            ("edited", edit.edited[:, 0]),
            ("mask", edit.mask),
            ("scores", detector.inspect(made.to(device))[0].sigmoid()),
            ("own", detector.inspect(to_float(part).to(device))[0].sigmoid()),
        ):
            found.setdefault(name, []).append(value.float().cpu())
    return _Prepared(images, normal=normal, **{k: torch.cat(v) for k, v in found.items()})


def _evenly(images: Tensor, count: int) -> Tensor:
    """At most so many of the images, from everywhere."""
    return images[:: -(-len(images) // count)]


def _canvas(backbone: LatentBackbone, ready: _Prepared, rows: Tensor) -> Canvas:
    device = backbone.device
    return Canvas(
        backbone,
        to_float(ready.images[rows]).to(device),
        ready.latents[rows].to(device),
        ready.decoded[rows].to(device),
        backbone.tiny is not None,
    )


def _draw(ready: _Prepared, config: LatentConfig, random: torch.Generator) -> Tensor:
    """(B,) rows: outliers mostly."""
    moved = torch.rand(config.batch_size, generator=random) < config.moved_share
    outliers = len(ready.images) - ready.normal
    spot = torch.rand(config.batch_size, generator=random)
    return torch.where(moved, ready.normal + (spot * outliers).long(), (spot * ready.normal).long())


def _targets(scores: Tensor, random: torch.Generator) -> Tensor:
    """(B,) targets α: 0 for a half, between 0 and the score there is for the rest."""
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
