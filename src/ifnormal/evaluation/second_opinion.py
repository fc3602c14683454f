"""SecondOpinion: another detector, which the generator never met.

Whether it accepts a counterfactual is a figure of its own; and where nobody has labelled images,
so that no judge can be trained, its features take the place of the judge's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.common.pixels import to_float
from ifnormal.config import DetectorConfig
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.detector import Detector, device_of, in_batches

OTHER_SEED = 100


@dataclass(frozen=True)
class SecondOpinion:
    """Another detector than the one that is explained, as somebody to ask.

    The generator was trained to please the first one, whose scores and features say little more
    than that it did.

    Attributes:
        detector: any; feature maps are of a PyTorch module only.
        extractor: the name of its features, "second-hsc-detector".
    """

    detector: Detector
    extractor: str

    def scores(self, images: Tensor) -> Tensor:
        """(...) scores in [0, 1] on the CPU."""
        device = device_of(self.detector)
        scores = in_batches(lambda part: self.detector(part.to(device)), _flat(images))
        return scores.view(images.shape[:-3])

    def features(self, images: Tensor) -> Tensor:
        """(N, F) penultimate features, float32 on the CPU."""
        device = device_of(self.detector)
        return in_batches(lambda part: self.detector.inspect(part.to(device))[1], _flat(images))

    def maps(self, images: Tensor) -> list[Tensor]:
        """What its last convolution at each resolution found, finest first; or its features alone.

        A network without convolutions has no maps: then its features are one of a single pixel.
        """
        flat = to_float(_flat(images)).to(device_of(self.detector))
        found: dict[tuple[int, int], Tensor] = {}

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and len(output) == len(flat):
                found[(output.shape[2], output.shape[3])] = output.float().relu()

        convolutions = _convolutions(self.detector)
        hooks = [convolution.register_forward_hook(keep) for convolution in convolutions]
        try:
            with torch.inference_mode():
                features = self.detector.inspect(flat)[1]
        finally:
            for hook in hooks:
                hook.remove()
        if not found:
            return [features.float().relu()[:, :, None, None]]
        return [found[size].cpu() for size in sorted(found, reverse=True)]


def second_config(config: DetectorConfig) -> DetectorConfig:
    """As a detector's, with another objective: HSC for BCE, BCE for all others."""
    return replace(config, objective="hsc" if config.objective == "bce" else "bce")


def second_opinion(detector: BuiltinDetector) -> SecondOpinion:
    """A built-in detector as a second opinion, named by its objective."""
    return SecondOpinion(detector, f"second-{detector.config.objective}-detector")


def _convolutions(detector: Detector) -> list[nn.Module]:
    network = detector.torch_module()
    modules = [] if network is None else network.modules()
    return [module for module in modules if isinstance(module, nn.Conv2d)]


def _flat(images: Tensor) -> Tensor:
    return images.reshape(prod(images.shape[:-3]), *images.shape[-3:])
