"""AttributeJudge: names what an image shows, and says "junk" where it shows nothing.

It is trained on the true attributes, independently of detector and generator, and neither ever
sees it. So it can tell what the detector's score cannot: whether a counterfactual really is normal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.errors import UserError
from ifnormal.metrics.judge_images import JUNK
from ifnormal.storage import load_tensors, save_tensors

FORMAT_VERSION = 1
BATCH = 512


def _convolution(channels: int, width: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


class JudgeNetwork(nn.Module):
    """Three convolutional stages, one penultimate layer, one linear head for each attribute.

    Args:
        shape: (C, H, W) of the images; H and W at least 16.
        answers: for each attribute, its number of values, junk included.
        width: channels of the first stage.
    """

    def __init__(
        self, shape: tuple[int, int, int], answers: Mapping[str, int], width: int = 24
    ) -> None:
        super().__init__()
        if min(shape[1:]) < 16:
            raise UserError(f"The judge needs images of at least 16 pixels, not {shape[1:]}.")
        # Strides come first: full resolution would cost most of the time and add nothing here.
        stages = [
            [_convolution(shape[0], width, 5, 2)],
            [_convolution(width, 2 * width, 3, 2), _convolution(2 * width, 3 * width, 3, 1)],
            [_convolution(3 * width, 4 * width, 3, 2)],
        ]
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)
        self.penultimate = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * 4 * width, 128), nn.ReLU()
        )
        self.width = width
        self.heads = nn.ModuleDict({name: nn.Linear(128, n) for name, n in answers.items()})

    def maps(self, images: Tensor) -> list[Tensor]:
        """Outputs of the three stages, (B, C', H', W') each, of (B, C, H, W) in [0, 1]."""
        outputs = []
        for stage in self.stages:
            images = stage(images)
            outputs.append(images)
        return outputs

    def features(self, images: Tensor) -> Tensor:
        """(B, 128) penultimate layer."""
        output: Tensor = self.penultimate(self.maps(images)[-1])
        return output

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Attribute -> (B, values + 1) logits; the last is junk."""
        features = self.features(images)
        return {name: head(features) for name, head in self.heads.items()}


@dataclass(frozen=True)
class AttributeJudge:
    """A trained judge. Images come in as (..., C, H, W) uint8, with any leading shape.

    Attributes:
        network: the weights, in evaluation mode.
        shape: (C, H, W) it was trained for.
        names: attribute -> what its values mean, junk not among them.
        confidence: an answer less certain than this counts as junk.
        facts: how it was trained; JSON-compatible.
    """

    network: JudgeNetwork
    shape: tuple[int, int, int]
    names: Mapping[str, tuple[str, ...]]
    confidence: float = 0.5
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def extractor(self) -> str:
        """The label of every figure measured in this judge's features, "digit-color-judge"."""
        return "-".join(self.names) + "-judge"

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Attribute -> (...) int64 values, or `JUNK` (-1)."""
        answers: dict[str, list[Tensor]] = {name: [] for name in self.names}

        def collect(batch: Tensor) -> Tensor:
            for name, logits in self.network(batch).items():
                certainty, value = logits.softmax(1).max(1)
                junk = (value == len(self.names[name])) | (certainty < self.confidence)
                answers[name].append(value.masked_fill(junk, JUNK).cpu())
            return batch.new_empty(len(batch), 0)

        self._run(collect, images)
        return {name: torch.cat(parts).view(images.shape[:-3]) for name, parts in answers.items()}

    def features(self, images: Tensor) -> Tensor:
        """(N, 128) float32 penultimate features; the leading shape is flattened to N."""
        return self._run(self.network.features, images)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Stage outputs of one batch, for a perceptual distance; the leading shape is flattened."""
        self._check(images)
        with torch.inference_mode():
            return self.network.maps(self._float(images.flatten(0, -4)))

    def _check(self, images: Tensor) -> None:
        if images.dtype != torch.uint8 or images.ndim < 4 or images.shape[-3:] != self.shape:
            raise ValueError(
                f"the judge reads (..., {self.shape}) uint8, got {images.shape} {images.dtype}"
            )

    def _float(self, images: Tensor) -> Tensor:
        return images.to(next(self.network.parameters()).device).float() / 255

    def _run(self, call: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        self._check(images)
        flat = images.reshape(prod(images.shape[:-3]), *self.shape)
        with torch.inference_mode():
            starts = range(0, max(len(flat), 1), BATCH)
            return torch.cat([call(self._float(flat[i : i + BATCH])).cpu() for i in starts])

    def save(self, folder: Path) -> None:
        """Write `judge.json` and its safetensors."""
        facts = {
            "format": "ifnormal.judge",
            "version": FORMAT_VERSION,
            "shape": self.shape,
            "names": self.names,
            "confidence": self.confidence,
            "width": self.network.width,
            "facts": self.facts,
        }
        save_tensors(Path(folder), "judge", self.network.state_dict(), facts)

    @classmethod
    def load(cls, folder: Path) -> AttributeJudge:
        """Read what `save` wrote.

        Raises:
            UserError: a file is missing, damaged, or of another version.
        """
        tensors, facts = load_tensors(Path(folder), "judge")
        if facts.get("format") != "ifnormal.judge" or facts.get("version") != FORMAT_VERSION:
            raise UserError(
                f"{folder}/judge.json is not a judge of format {FORMAT_VERSION}; train it again."
            )
        names = {name: tuple(values) for name, values in facts["names"].items()}
        shape = (facts["shape"][0], facts["shape"][1], facts["shape"][2])
        answers = {name: len(values) + 1 for name, values in names.items()}
        network = JudgeNetwork(shape, answers, facts["width"])
        network.load_state_dict(tensors)
        return cls(network.eval(), shape, names, facts["confidence"], facts["facts"])


def judge_accuracy(
    judge: AttributeJudge, images: Tensor, attributes: Mapping[str, Tensor]
) -> dict[str, float]:
    """Share of right answers in %, [0, 100], for each attribute; junk is never right.

    Args:
        judge: the judge.
        images: (N, C, H, W) uint8, N at least 1.
        attributes: attribute -> (N,) true values.
    """
    if len(images) == 0:
        raise ValueError("judge_accuracy needs at least one image")
    predicted = judge.predict(images)
    return {
        name: 100 * (predicted[name] == attributes[name].cpu()).double().mean().item()
        for name in judge.names
    }
