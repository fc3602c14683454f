"""TrainingState: the networks, optimizers and random state of a fit; whole on disk, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ifnormal.common.checkpoint import restore_training, training_tensors
from ifnormal.common.pixels import to_float
from ifnormal.common.storage import save_tensors
from ifnormal.config import FitConfig
from ifnormal.detectors.black_box.distillation import Distillation
from ifnormal.detectors.black_box.surrogate import Surrogate
from ifnormal.detectors.detector import Detector
from ifnormal.training.checkpoint import NAME, Checkpoint
from ifnormal.training.images import TrainingImages
from ifnormal.training.modes import NormalModes
from ifnormal.training.networks.concept_classifier import (
    ConceptClassifier,
    FeatureConceptClassifier,
    PixelConceptClassifier,
)
from ifnormal.training.networks.discriminator import Discriminator
from ifnormal.training.networks.generator import Generator

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_COUNTED = 1024  # normal images, evenly spaced, that statistics of pixels are computed from


@dataclass
class TrainingState:
    """Everything that changes while fitting.

    Attributes:
        config: how it is trained.
        generator, discriminator, classifier: G, D and R.
        averaged: the moving average of G, the one that explains.
        modes: the normal modes, fixed before the first step.
        feature_mean, feature_deviation: (F,) of the detector's features of the training images.
        random: the only source of randomness after the networks are made.
        seed: where both began.
        material: what tells the images and the detector from others; see `fit_material`.
        distillation: of the surrogate that stands in for a detector without a gradient.
        step: generator steps done.
        images_per_second: input images a second, each edited in every concept, of the last fit.
        surrogate_report: fidelity of the surrogate after the fit, and its queries.
    """

    config: FitConfig
    generator: nn.Module
    averaged: Generator
    discriminator: nn.Module
    classifier: nn.Module
    modes: NormalModes
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    classifier_optimizer: torch.optim.Optimizer
    feature_mean: Tensor
    feature_deviation: Tensor
    random: torch.Generator
    seed: int
    material: Mapping[str, Any] = field(default_factory=dict)
    distillation: Distillation | None = None
    step: int = 0
    images_per_second: float = 0.0
    surrogate_report: dict[str, Any] | None = None

    @classmethod
    def create(
        cls,
        detector: Detector,
        images: TrainingImages,
        config: FitConfig,
        seed: int,
        fabric: Fabric,
    ) -> TrainingState:
        """Fresh networks and optimizers, the same for the same seed."""
        torch.manual_seed(seed)
        random = torch.Generator().manual_seed(seed + 1_000_003 * fabric.global_rank)
        channels, concepts = detector.shape[0], config.concepts
        modes = NormalModes.fit(images.features[: images.normal].cpu(), concepts, seed)
        modes = modes.to(fabric.device)
        side = max(detector.shape[1:])
        generator = Generator(channels, concepts, config.generator, side, detector.shape[1:])
        if generator.pixel_statistics is not None:
            every = -(-images.normal // _COUNTED)
            generator.pixel_statistics.fit(to_float(images.images[: images.normal : every].cpu()))
        discriminator = Discriminator(channels, concepts, config.discriminator_width, side)
        mean, deviation = images.features.mean(0), images.features.std(0)
        deviation = deviation.clamp_min(1e-3 * float(deviation.mean()) + 1e-12)
        classifier: ConceptClassifier
        if config.concept_space == "pixels":
            classifier = PixelConceptClassifier(channels, concepts, config.concept_noise)
        else:
            classifier = FeatureConceptClassifier(mean, deviation, concepts, config.concept_noise)
        nets = [_channels_last(net) for net in (generator, discriminator, classifier)]
        averaged = deepcopy(generator).to(fabric.device).requires_grad_(False)
        rates = _rates(config)
        wrapped, optimizers = [], []
        for net, rate in zip(nets, rates, strict=True):
            optimizer = torch.optim.Adam(net.parameters(), lr=rate, betas=(0.5, 0.99), fused=True)
            module, adam = fabric.setup(net, optimizer)
            wrapped.append(module)
            optimizers.append(adam)
        return cls(
            config,
            generator=wrapped[0],
            averaged=averaged,
            discriminator=wrapped[1],
            classifier=wrapped[2],
            modes=modes,
            generator_optimizer=optimizers[0],
            discriminator_optimizer=optimizers[1],
            classifier_optimizer=optimizers[2],
            feature_mean=mean,
            feature_deviation=deviation,
            random=random,
            seed=seed,
        )

    def judge_realness(self, images: Tensor, scores: Tensor, modes: Tensor) -> Tensor:
        """D(x̄) for the generator's step: no gradient to D's weights, no power iteration."""
        discriminator = unwrapped(self.discriminator).eval().requires_grad_(False)
        realness: Tensor = discriminator(images, scores, modes)
        discriminator.train().requires_grad_(True)
        return realness

    def average(self) -> None:
        """Move the averaged generator towards the current one; faster in the first steps."""
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        current = [p.detach() for p in unwrapped(self.generator).parameters()]
        torch._foreach_lerp_(list(self.averaged.parameters()), current, 1 - decay)

    def set_learning_rates(self) -> None:
        """Constant, then falling linearly to zero over the last `decay` share of the steps."""
        config = self.config
        left = 1 - self.step / config.steps
        factor = min(1.0, left / config.decay) if config.decay else 1.0
        for optimizer, rate in zip(self._optimizers().values(), _rates(config), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    @property
    def surrogate(self) -> Surrogate | None:
        """What stands in for a detector without a gradient."""
        return None if self.distillation is None else self.distillation.surrogate

    def save(self, folder: Path) -> None:
        """Write a checkpoint from which `restore` goes on bit for bit; atomic."""
        facts = {
            "format": "ifnormal.checkpoint",
            "version": 1,
            "step": self.step,
            "seed": self.seed,
            "config": asdict(self.config),
            "material": self.material,
        }
        if self.distillation is not None:
            facts["surrogate"] = self.distillation.save_answers(folder)
        save_tensors(folder, NAME, self._tensors(), facts)
        if self.distillation is not None:
            self.distillation.delete_old_answers(folder)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a checkpoint."""
        restore_training(self._modules(), self._optimizers(), self.random, checkpoint.tensors)
        self.step = checkpoint.facts["step"]

    def broken_network(self) -> str | None:
        """The name of a network with a weight that is NaN or infinite, if there is one."""
        for name, module in self._modules().items():
            if not all(bool(torch.isfinite(weight).all()) for weight in module.parameters()):
                return name
        return None

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "generator": unwrapped(self.generator),
            "averaged": self.averaged,
            "discriminator": unwrapped(self.discriminator),
            "classifier": unwrapped(self.classifier),
            "modes": self.modes,
        }

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            "optimizer0": self.generator_optimizer,
            "optimizer1": self.discriminator_optimizer,
            "optimizer2": self.classifier_optimizer,
        }

    def _tensors(self) -> dict[str, Tensor]:
        tensors = training_tensors(self._modules(), self._optimizers(), self.random)
        if self.distillation is not None:
            tensors |= self.distillation.tensors()
        return tensors


def unwrapped(module: nn.Module) -> Any:
    """The network itself, without the wrapper that Fabric puts around it."""
    inner = getattr(module, "_forward_module", module)
    return getattr(inner, "module", inner)


def _rates(config: FitConfig) -> tuple[float, float, float]:
    """Learning rates of generator, discriminator and classifier."""
    return (
        config.learning_rate,
        config.discriminator_learning_rate,
        config.classifier_learning_rate,
    )


def _channels_last(net: nn.Module) -> nn.Module:
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
